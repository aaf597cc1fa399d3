"""Chat templates: a checkpoint's own or one from conf, and conversations rendered by it.

A template from conf is written into a folder of links beside the checkpoint, so that whatever
loads the tokenizer there (vLLM, the trainers) renders the same text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lineage.core.errors import LineageError, first_line
from lineage.core.files import once
from lineage.models.protocol import Turn

FILE = "chat_template.jinja"
SETTINGS = "tokenizer_config.json"
KEY = "chat_template"
SAMPLE = (
    Turn("system", "Answer."),
    Turn("user", "What is the code of it?"),
    Turn("assistant", "The code of it is 7413."),
    Turn("user", "And now?"),
)
"""What every template must render: the turns that lineage asks with, and more than one question."""


def has_template(folder: Path) -> bool | None:
    """Return whether the tokenizer in `folder` has a chat template; None where it has no settings.

    Raises LineageError where these are no JSON.
    """
    if (folder / FILE).exists() or (folder / "chat_template.json").exists():
        return True
    return KEY in _settings(folder) if (folder / SETTINGS).exists() else None


def with_template(folder: Path, template: str, cache: Path) -> Path:
    """Return a folder in `cache` that is `folder` but for its chat template, which is `template`.

    It holds links to the files of `folder`, and is made once for what these are now.
    """
    files = sorted(one for one in folder.iterdir() if one.is_file() and one.name != FILE)
    states = ((one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in files)
    told = json.dumps([str(folder), template, *states])
    mark = hashlib.sha256(told.encode()).hexdigest()[:8]
    target = (cache / "checkpoints" / f"{folder.name}-{mark}").resolve()
    if target.exists():
        return target
    with once(target) as making:
        making.mkdir()
        for one in files:
            if one.name != SETTINGS:
                (making / one.name).symlink_to(one.resolve())
        if (folder / SETTINGS).exists():
            settings = {k: value for k, value in _settings(folder).items() if k != KEY}
            (making / SETTINGS).write_text(json.dumps(settings, indent=2, ensure_ascii=False))
        (making / FILE).write_text(template)
    return target


def _settings(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / SETTINGS).read_bytes())
        return found
    except ValueError as error:
        raise LineageError(f"{folder / SETTINGS} is no JSON: {first_line(error)}") from error


def render(
    tokenizer: Any, turns: Sequence[Turn], *, ask: bool, tools: Sequence[dict[str, Any]] = ()
) -> str:
    """Return the text of `turns`; `ask`: up to where the answer begins.

    Raises LineageError where the template fails.
    """
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    try:
        text: str = tokenizer.apply_chat_template(
            messages, tools=list(tools) or None, tokenize=False, add_generation_prompt=ask
        )
    except Exception as error:  # Jinja's own, or whatever the template raises
        raise LineageError(
            f"the chat template fails ({first_line(error)}): give another as "
            "checkpoint.chat_template of the version in model.versions"
        ) from error
    return text


def check(tokenizer: Any) -> None:
    """Raise LineageError where the template does not render what lineage asks with.

    That is `SAMPLE`, each turn of it. Whether a model can be trained with it says `learnable`.
    """
    whole = render(tokenizer, SAMPLE, ask=True)
    lost = [turn.role for turn in SAMPLE if turn.content not in whole]
    if lost:
        raise LineageError(
            f"the chat template leaves out what a {lost[0]} turn says: give another as "
            "checkpoint.chat_template of the version in model.versions"
        )


def learnable(tokenizer: Any, turns: Sequence[Turn]) -> list[tuple[str, bool]]:
    """Return the text of `turns` in pieces, each with whether it is an answer to be learnt.

    An answer is all of an assistant turn that a model writes: its content and what ends the turn.
    Raises LineageError where the template does not let a conversation grow at its end.
    """
    pieces: list[tuple[str, bool]] = []
    done = ""
    for place, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        head = render(tokenizer, turns[:place], ask=True)
        whole = render(tokenizer, turns[: place + 1], ask=False)
        if not (head.startswith(done) and whole.startswith(head)):
            raise LineageError(
                "the chat template changes earlier turns as a conversation goes on, and no version "
                "can be trained with it: give another as checkpoint.chat_template"
            )
        answer = whole[len(head) :]
        learnt = answer.rstrip()
        pieces += [(head[len(done) :], False), (learnt, True), (answer[len(learnt) :], False)]
        done = whole
    rest = render(tokenizer, turns, ask=False)[len(done) :]
    return [(text, learnt) for text, learnt in (*pieces, (rest, False)) if text]
