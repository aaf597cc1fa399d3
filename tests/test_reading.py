"""Search and open as steps of an episode: unasked, by constrained choice, by tool calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import answering, run, steps, surrogate

from lineage.agent.echo import echoed
from lineage.core.knowledge import Memory, Origin
from lineage.models.protocol import Completion, Request

ORIGIN = Origin(0, "m@r0", "h000")
DOCS = (
    *("experiment=tiny", "experiment.lineages=1", "experiment.episodes=4"),
    *("arms.names=[docs,cold]", "arms.ceiling=docs"),
    *(f"experiment.probes.{of}" for of in ("same=4", "similar=2", "dissimilar=1")),
)


def episodes(folder: Path) -> dict[tuple[str, int, str], list[dict[str, Any]]]:
    """Return the steps of each episode of arm docs that had docs to search."""
    found: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for row in steps(folder):
        if row["arm"] == "docs" and row["phase"] in ("work", "probe"):
            found.setdefault((row["lineage"], row["generation"], row["episode"]), []).append(row)
    searched = {key for key, rows in found.items() if any(r["kind"] == "search" for r in rows)}
    return {key: found[key] for key in searched}


def test_a_search_precedes_an_open_and_only_what_was_found_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "docs"
    run(surrogate(tmp_path, *DOCS, "agent.opening=choice"), folder)
    opened = 0
    for rows in episodes(folder).values():
        kinds = [r["kind"] for r in rows if r["kind"] != "feedback"]
        assert kinds in (
            ["search", "open", "act"],
            ["search", "open", "probe"],
            ["search", "act"],
            ["search", "probe"],
        )
        search, answer = rows[0], next(r for r in rows if r["kind"] in ("act", "probe"))
        assert len(search["results"]) <= 3
        for row in rows:
            if row["kind"] == "open" and row["entry"]:
                opened += 1
                assert row["entry"] in search["results"]
                assert "<doc " in answer["prompt"]
                assert answer["doc_tokens"] > 0
    assert opened


@pytest.mark.parametrize("opening", ["first", "choice"])
def test_no_more_docs_are_opened_than_allowed(opening: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "two"
    run(surrogate(tmp_path, *DOCS, "agent.docs_opened=2", f"agent.opening={opening}"), folder)
    counts = {
        sum(r["kind"] == "open" and bool(r["entry"]) for r in rows)
        for rows in episodes(folder).values()
    }
    assert max(counts) == 2
    for rows in episodes(folder).values():
        opened = [r["entry"] for r in rows if r["kind"] == "open" and r["entry"]]
        assert len(opened) == len(set(opened))


def test_the_best_result_is_opened_unasked(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    run(surrogate(tmp_path, *DOCS, "agent.opening=first"), folder)
    found = episodes(folder)
    assert found
    for rows in found.values():
        search, *opened = (r for r in rows if r["kind"] in ("search", "open"))
        assert [r["entry"] for r in opened] == search["results"][:1]
        assert not any(r["prompt"] for r in (search, *opened)), "the model is not asked"


def test_a_model_with_tool_calls_searches_and_opens_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "native"
    run(surrogate(tmp_path, *DOCS, "agent.opening=native"), folder)
    found = episodes(folder)
    assert found
    scores = []
    for rows in found.values():
        kinds = [r["kind"] for r in rows if r["kind"] != "feedback"]
        assert kinds[0] == "search"
        assert kinds[-1] in ("act", "probe")
        assert all(r["completion"] for r in rows if r["kind"] in ("search", "open"))
        if any(r["kind"] == "open" and r["entry"] for r in rows) and rows[0]["family"] == "same":
            scores.append(next(r["score"] for r in rows if r["kind"] == "probe"))
    assert sum(scores) / len(scores) > 0.5


def test_a_tool_call_for_an_id_that_is_not_there_opens_nothing(tmp_path: Path) -> None:
    def wrong(request: Request, answer: Completion) -> Completion:
        if not answer.calls or answer.calls[0].name != "open":
            return answer
        return Completion(
            text="x", prompt=answer.prompt, calls=(type(answer.calls[0])("open", {"id": "../d1"}),)
        )

    folder = tmp_path / "runs" / "wrong"
    with answering(wrong):
        run(surrogate(tmp_path, *DOCS, "agent.opening=native"), folder)
    tried = [r for r in steps(folder) if r["kind"] == "open"]
    assert tried
    assert not [r for r in tried if r["entry"]]
    assert {r["detail"] for r in tried} == {"open: unknown id"}


def test_the_memory_that_an_answer_repeats_is_named() -> None:
    memories = [
        Memory("m1", "The code of pump Birch is 7413.", ORIGIN, ORIGIN),
        Memory("m2", "The code of pump Cedar is 2086. It is far away.", ORIGIN, ORIGIN),
        Memory("m3", "The code of pump Cedar is 2086.", ORIGIN, ORIGIN),
    ]
    assert echoed(memories, "The code of pump Birch is 7413.") == "m1"
    assert echoed(memories, "The code of pump Cedar is 2086.\nMore.") == "m3"
    assert echoed(memories, "I do not know.") == ""
    assert echoed(memories, "") == ""
    assert echoed([], "The code.") == ""
