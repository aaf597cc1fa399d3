"""Headless Chromium over its own pipe: no driver, no port, only the standard library."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

PATIENCE = 120
"""Seconds that one answer may take; the machine may be busy with other things."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = 0.3
"""Seconds without an event after which a page has said all it will."""


def chromium() -> str | None:
    """Return the browser of this machine, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
"""The browser reads from file 3 and writes to file 4."""


def _pipe() -> tuple[int, int]:
    """Return a pipe whose ends are neither file 3 nor 4."""
    ends = os.pipe()
    moved = (
        fcntl.fcntl(ends[0], fcntl.F_DUPFD_CLOEXEC, 10),
        fcntl.fcntl(ends[1], fcntl.F_DUPFD_CLOEXEC, 10),
    )
    for end in ends:
        os.close(end)
    return moved


class Browser:
    """One page in a browser of its own. `events` are all that the page and the network did."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="lineage-chromium-")
        theirs_in, self._out = _pipe()
        self._in, theirs_out = _pipe()
        # A browser may not sandbox what root runs.
        unsafe = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-SEc", LAUNCH, str(theirs_in), str(theirs_out), program),
                *("--headless", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run"),
                *("--hide-scrollbars", "--disable-background-networking", "--disable-sync"),
                *("--disable-dev-shm-usage", f"--user-data-dir={self._profile}", *unsafe),
                "about:blank",
            ],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._left, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(Exception):
            self.call("Browser.close")
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return what the browser answers; raises RuntimeError where it refuses."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._next(deadline - time.monotonic())
            if answer is None:
                raise TimeoutError(f"{method}: no answer in {PATIENCE} s")
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message, which is kept where it is an event; None after `seconds`."""
        while b"\0" not in self._left:
            if not select.select([self._in], [], [], max(0.0, seconds))[0]:
                return None
            got = os.read(self._in, 1 << 20)
            if not got:
                raise EOFError("the browser ended")
            self._left += got
        message, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        if "method" in found:
            self.events.append(found)
        return found

    def open(self, page: Path, width: int, height: int = 900, dark: bool = False) -> None:
        """Open a file in a window of `width` pixels, and wait until it is drawn."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + PATIENCE
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            if self._next(deadline - time.monotonic()) is None:
                raise TimeoutError(f"{page} is not there after {PATIENCE} s")
        self.settle()

    def settle(self) -> None:
        """Wait until no event has come for a moment."""
        while self._next(QUIET) is not None:
            pass

    def value(self, expression: str) -> Any:
        """Return the value of `expression`; ours, so the page's policy does not bind it."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """Press and let go the mouse in the middle of the first element that matches."""
        x, y = self.value(
            f"(() => {{const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', inline: 'center'});"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]"
            "})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def requests(self) -> list[str]:
        """Return the addresses asked for since the page was opened, but for the page itself."""
        asked = [e["params"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [p["request"]["url"] for p in asked if p.get("type") != "Document"]

    def complaints(self) -> list[str]:
        """Return what the console says: errors, warnings, refusals of the policy, exceptions."""
        said = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [json.dumps(e["params"]) for e in self.events if e["method"] in said]

    def screenshot(self, file: Path, whole: bool = False) -> None:
        """Write what is shown, or the `whole` page, as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))
