"""The profile of an instance for models of 7B and up: that it fits their windows, and runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers import run, surrogate

from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.log.views.open import open_log
from lineage.runs.plan import prepare

WINDOW = 32768


def windowed(config: Config, window: int) -> Config:
    versions = config.model.versions.items()
    wide = {name: replace(one, context_window=window) for name, one in versions}
    return replace(config, model=replace(config.model, versions=wide))


def test_all_that_a_prompt_may_hold_fits_the_window(tmp_path: Path) -> None:
    config = surrogate(tmp_path, "agent=large", "experiment=tiny", "arms=all-but-weights")
    job = prepare(windowed(config, WINDOW))
    assert job.config.agent.budget(WINDOW) == 3276
    with pytest.raises(LineageError, match=r"context window of .* is 16384 tokens.*lower agent"):
        prepare(windowed(config, WINDOW // 2))


def test_a_run_writes_more_and_searches_again(tmp_path: Path) -> None:
    more = ("experiment=tiny", "experiment.lineages=1", "experiment.episodes=5")
    config = windowed(surrogate(tmp_path, "agent=large", "arms=docs", *more), WINDOW)
    run(config, tmp_path / "runs" / "one")
    log = open_log(tmp_path / "runs" / "one")
    counts = """SELECT max(len(string_split(completion, '"op"')) - 1) FILTER (kind = 'handoff'),
        count(*) FILTER (kind = 'open' AND completion LIKE '{"name"%'),
        count(*) FILTER (error <> '') FROM steps"""
    ((edits, called, errors),) = log.sql(counts).fetchall()
    assert edits > 1, "of one handoff that read several episodes"
    assert called > 0, "by tool calls"
    assert errors == 0
