"""Both pages in headless Chromium: what a hostile model wrote is read there, and nothing runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import Browser, chromium
from helpers import answering, reported, surrogate
from test_training_report import LOG, training

from lineage.core.plaintext import clean
from lineage.models.protocol import Completion, Request
from lineage.report.training_page import write_training

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")

EVIL = (
    "The code is 7.</pre></details></section></style><script>window.hurt = 1</script>"
    "<img src='http://127.0.0.1:9/i' onerror='window.hurt = 2'><svg onload='window.hurt = 3'>"
    "<base href='http://127.0.0.1:9/'><style>body { display: none }</style>"
    '" onmouseover="window.hurt = 4 javascript:hurt \x1b[31mred\x07 \ud800 \u202e &lt;b&gt;'
)
NOTE = "</style><script>window.hurt = 1</script> \x1b[31mred \ud800"
"""Short enough for one edit."""
SHOWN = "</style><script>window.hurt = 1</script>"
PHONE, DESK = 390, 1280
WIDTH = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.open = true })"
TARGET = "document.querySelector(':target')"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run whose model writes nothing but mischief."""
    tmp = tmp_path_factory.mktemp("evil")

    def spoil(request: Request, answer: Completion) -> Completion:
        if request.schema is None:
            return replace(answer, text=EVIL)
        if '"write"' in json.dumps(request.schema):
            edit = {"op": "write", "title": NOTE, "body": [NOTE]}
        else:
            edit = {"op": "add", "text": NOTE}
        return replace(answer, text=json.dumps({"edits": [edit]}))

    folder = tmp / "runs" / "evil"
    with answering(spoil):
        reported(surrogate(tmp, "experiment.lineages=2"), folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a training whose errors are as bad."""
    # The log itself holds no lone surrogate: `log.schema.clean` sees to it.
    folder = training(tmp_path_factory.mktemp("trained"), clean(EVIL))
    write_training(folder, folder / "cache", LOG)
    return folder / "training.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    assert program is not None
    with Browser(program) as started:
        yield started


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("which", ["report", "trained"])
def test_a_page_is_quiet_loads_nothing_and_fits(
    browser: Browser, request: pytest.FixtureRequest, which: str, width: int, dark: bool
) -> None:
    browser.open(request.getfixturevalue(which), width, dark=dark)
    assert browser.value(WIDTH) <= width
    browser.value("location.hash = 'all'")
    browser.value(OPEN_ALL)
    browser.settle()
    assert browser.value(WIDTH) <= width
    assert browser.complaints() == []
    assert browser.requests() == []
    assert browser.value("typeof window.hurt") == "undefined"
    assert browser.value("document.scripts.length") == 0
    assert browser.value("getComputedStyle(document.body).display") == "block"


def test_the_test_would_hear_a_page_that_is_not_quiet(browser: Browser, report: Path) -> None:
    browser.open(report, DESK)
    browser.value(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s); document.body.insertAdjacentHTML('beforeend',"
        "'<img src=\"http://127.0.0.1:9/x\">') })()"
    )
    browser.settle()
    assert browser.value("typeof window.ran") == "undefined", "the policy forbids scripts"
    assert "script" in browser.complaints()[0]
    assert any("127.0.0.1:9/x" in complaint for complaint in browser.complaints())


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_click_on_a_generation_shows_what_it_left(
    browser: Browser, report: Path, width: int
) -> None:
    browser.open(report, width)
    shown = "[...document.querySelectorAll('.generation')].filter(s => s.offsetHeight).length"
    assert browser.value(shown) == 0
    browser.click("svg a")
    assert browser.value(shown) == 1
    told = browser.value(f"{TARGET}.innerText")
    assert told.startswith("000-inherit, generation 0")
    assert SHOWN in told
    assert "Memories" in told and "Docs" in told and "Edits" in told and "Episodes (4 of" in told
    # A pixel at most is hidden: places are fractions of one.
    assert browser.value(f"{TARGET}.getBoundingClientRect().top") > -1
    browser.value(OPEN_ALL)
    told = browser.value(f"{TARGET}.innerText")
    assert "\N{REPLACEMENT CHARACTER}[31mred" in told
    assert "add: applied" in told and "write: applied" in told
    assert "Answer the question in one short sentence." in told, "the prompts are there"
    browser.click(".generation:target nav a:last-child")
    assert browser.value(f"{TARGET}.innerText").startswith("000-inherit, generation 1")
    assert browser.value(shown) == 1


def test_each_panel_is_drawn_and_no_wider_than_a_phone(browser: Browser, report: Path) -> None:
    browser.open(report, PHONE)
    widths = browser.value(
        "[...document.querySelectorAll('.panels svg')].map(s => s.getBoundingClientRect().width)"
    )
    assert len(widths) > 5
    assert all(200 < width <= PHONE for width in widths)
    drawn = browser.value(
        "[...document.querySelectorAll('.panels svg > *')]"
        ".map(drawing => drawing.getBoundingClientRect().width)"
    )
    assert len(drawn) == len(widths) and all(width > 200 for width in drawn)
