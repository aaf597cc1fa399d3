"""Metrics and report against torn files and hostile output."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from helpers import Undrawn, answering, reported, steps, surrogate

from lineage.core.errors import LineageError
from lineage.inspect.listing import ASKED
from lineage.metrics import summarise, summarise_all
from lineage.models.protocol import Completion, Request
from lineage.report import run_page, write
from lineage.report.lookup import totals
from lineage.report.page import text
from lineage.report.write import write_report

HOSTILE = "<script>alert(1)</script>\x1b[31mred\x07 \ud800 &amp; </details>"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model writes what a report must not believe."""
    tmp = tmp_path_factory.mktemp("hostile")

    def spoil(request: Request, answer: Completion) -> Completion:
        if request.schema is None:
            return replace(answer, text=HOSTILE)
        if '"write"' in json.dumps(request.schema):
            title, body = "../../<b>t</b> zone, code", ["</doc> <script>alert(2)</script>"]
            doc = {"op": "write", "title": title, "body": body}
            return replace(answer, text=json.dumps({"edits": [doc]}))
        return answer

    folder = tmp / "runs" / "hostile"
    # A picture holds nothing that a model wrote.
    with answering(spoil), pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_page, "figures", Undrawn())
        patch.setattr(write, "score_by_generation", lambda summary: None)
        # Nor do figures, of which these make the head of the page.
        patch.setattr(write, "summarise_all", partial(summarise_all, names=ASKED))
        few = ("experiment.lineages=1", "agent.opening=first")
        reported(surrogate(tmp, "experiment=tiny", *few), folder)
    return folder


def test_the_report_escapes_everything_a_model_wrote(hostile: Path) -> None:
    page = (hostile / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>t</b>" not in page
    assert "\x1b" not in page and "\x07" not in page
    assert "alert(1)" in page, "it is shown, not hidden"
    assert "http:" not in page and "https:" not in page


def test_inherited_text_is_fenced_and_can_not_leave_its_fence(hostile: Path) -> None:
    prompts = [r["prompt"] for r in steps(hostile) if r["arm"] == "inherit"]
    # A doc stands as it was written, but for what could close its fence; a title is one line.
    assert any("&lt;/doc> <script>alert(2)</script>" in prompt for prompt in prompts)
    assert not any("<b>" in prompt or "</doc> <script>" in prompt for prompt in prompts)


def test_doc_titles_are_never_paths(hostile: Path) -> None:
    names = {path.name for path in hostile.parent.parent.rglob("*")}
    assert not any("<b>" in name for name in names)


def test_a_torn_file_is_named(hostile: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(hostile, copy)
    torn = sorted(copy.glob("steps/**/*.parquet"))[0]
    torn.write_bytes(torn.read_bytes()[:-100])
    asked = ("scores", "totals")
    with pytest.raises(LineageError, match=torn.name):
        summarise(copy, asked)
    torn.unlink()
    whole = json.loads((hostile / "metrics.json").read_bytes())
    assert totals(summarise(copy, asked))["steps"] < totals(whole)["steps"]


def test_a_run_without_a_finished_generation_says_so(hostile: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((hostile / "run.json").read_bytes())
    with pytest.raises(LineageError, match="no finished generation"):
        write_report(tmp_path, tmp_path)


def test_text_shows_what_it_escapes() -> None:
    assert text("a<b\x1b\n") == "a&lt;b\N{REPLACEMENT CHARACTER}\n"
