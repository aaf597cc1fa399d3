"""Live progress: generations, episodes, tokens a second, time left; lines where no terminal is."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lineage.core.console import on_terminal, spinner

LINE_SECONDS = 15.0
"""Between two lines of progress where there is no terminal."""


class Display:
    """Shows how far a run is. A context manager; `note` and `advance` may be called at any time."""

    def __init__(self, console: Console, total: int, what: str = "generations") -> None:
        self.console, self.total, self.what = console, total, what
        self.watched = on_terminal(console)
        self.finished = self.requests = self.tokens = 0
        self.began = self.said = time.monotonic()
        self.bars = Progress(
            SpinnerColumn(spinner(console)),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.bar = self.bars.add_task(what, total=total, rate="")

    def __enter__(self) -> Display:
        if self.watched:
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.watched:
            self.bars.stop()

    def note(self, text: str) -> None:
        """Say one line."""
        self.console.print(text, highlight=False, markup=False)

    def work_begins(self) -> None:
        """Start the clock of rates and time left: start-up is not work."""
        self.began = self.said = time.monotonic()
        self.bars.reset(self.bar, total=self.total)

    def generation_done(self) -> None:
        """Count one finished generation."""
        self.finished += 1
        self._show()

    def completed(self, tokens: int, requests: int = 1) -> None:
        """Count so many completions, of `tokens` tokens together."""
        self.requests += requests
        self.tokens += tokens
        self._show()

    def part(self, label: str) -> Display:
        """Return the display of one of several runs: its lines begin with `label`."""
        return _Part(self, label)

    def _show(self) -> None:
        now = time.monotonic()
        spent = max(now - self.began, 1e-9)
        rate = f"{self.requests} completions, {self.tokens / spent:,.0f} tok/s"
        self.bars.update(self.bar, completed=self.finished, rate=rate)
        if not self.watched and now - self.said >= LINE_SECONDS:
            self.said = now
            guess = ""
            if self.finished:
                left = spent / self.finished * (self.total - self.finished)
                guess = f", about {left:,.0f} s left"
            self.note(f"{spent:5.0f} s  {self.what} {self.finished}/{self.total}, {rate}{guess}")


class _Part(Display):
    """What one of several runs shows: all of them advance one bar."""

    def __init__(self, whole: Display, label: str) -> None:
        self.whole, self.label, self.console = whole, label, whole.console

    def note(self, text: str) -> None:
        self.whole.note(f"{self.label} {text}")

    def work_begins(self) -> None:
        """Nothing: the clock is that of all."""

    def generation_done(self) -> None:
        self.whole.generation_done()

    def completed(self, tokens: int, requests: int = 1) -> None:
        self.whole.completed(tokens, requests)
