"""The experiments over two bases on the stand-in: the matrix, releases, budgets by the reader."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import FULL, measured, run, steps, surrogate, timeless

from lineage import compose
from lineage.cli import main
from lineage.core.config_engine import SurrogateConfig
from lineage.models.surrogate import count_tokens
from lineage.report import figures
from lineage.report.answer import answer
from lineage.report.lookup import cells, rows_of
from lineage.report.tables import matrix
from lineage.report.tables_release import SHOWN, releases

R0, R1, G0, G1 = "smollm2-135m@r0", "smollm2-135m@r1", "gemma3-270m@g0", "gemma3-270m@g1"
LETTERS = 3
"""Of a token of the stand-in's second base here: a third of what is usual."""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of `release` whose notes just fit the first base, and the metrics of it."""
    tmp = tmp_path_factory.mktemp("release")
    small = (
        "agent.memory_budget=70",
        "agent.compress_edits=1",
        "run.lineages_in_flight=3",
        "experiment.lineages=2",
        "experiment.probes={same: 2, similar: 1, dissimilar: 1}",
    )
    few = () if FULL else ("arms.names=[verbatim,rebuild,cold]", "arms.ceiling=verbatim")
    config = surrogate(tmp, "experiment=release", *small, *few)
    skills = config.engine.surrogate.skills
    short = {name: replace(skills[name], token_letters=LETTERS) for name in (G0, G1)}
    engine = replace(config.engine, surrogate=SurrogateConfig({**skills, **short}))
    config = replace(config, engine=engine)
    folder = tmp / "runs" / "release"
    return folder, measured(config, folder, ("scores", "releases"))


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The metrics of a run of `bases`."""
    tmp = tmp_path_factory.mktemp("bases")
    small = (
        f"experiment.lineages={1 + FULL}",
        "experiment.episodes=1",
        "experiment.probes={same: 1, similar: 1, dissimilar: 1}",
    )
    asked = ("scores", "upgrade_matrix", "gain_by_inheritance")
    return measured(surrogate(tmp, "experiment=bases", *small), tmp / "runs" / "bases", asked)


def test_every_writer_meets_every_reader_once(crossed: dict[str, Any]) -> None:
    found = cells(crossed, "upgrade_matrix", "writer", "reader", measure="gain", family="same")
    assert {*found} == {
        (writer, reader) for writer in (R0, R1, G0, G1) for reader in (R0, R1, G0, G1)
    }
    assert matrix(crossed).head[:6] == (
        "family",
        "writer",
        *(f"read by {n}" for n in ("r0", "r1", "g0", "g1")),
    )
    assert "(most and least of" in answer(crossed) or "n/a" in answer(crossed)


def test_the_matrix_is_drawn_with_its_values(crossed: dict[str, Any]) -> None:
    figure = figures.upgrade_matrix(crossed)
    assert figure is not None and len(figure.axes) == 3
    found = cells(crossed, "upgrade_matrix", "writer", "reader", measure="gain", family="same")
    drawn = [text.get_text().rstrip("*") for text in figure.axes[0].texts]
    assert drawn == [f"{cell['mean']:+.2f}" for cell in found.values()]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "r0",
        "r1",
        "g0",
        "g1",
    ]
    assert figures.picture_bytes(figure, "svg") == figures.picture_bytes(figure, "svg")
    assert figures.upgrade_matrix({**crossed, "metrics": {}}) is None


def test_each_release_is_told_by_arm_with_what_it_costs(
    released: tuple[Path, dict[str, Any]],
) -> None:
    _, summary = released
    found = rows_of(summary, "releases")
    assert sorted({(r["writer"], r["reader"]) for r in found}) == [(G0, G1), (R0, R1), (R1, G0)]
    assert {*SHOWN} - {"harm"} <= {row["measure"] for row in found} <= {*SHOWN}
    sheet = releases(summary)
    assert len(sheet.rows) == 3 * len(summary["arms"]) and sheet.rows[0][:2] == (
        "r0 to r1",
        "verbatim",
    )
    whole = cells(summary, "releases", "arm", "generation", measure="retention")
    assert all(whole["rebuild", g]["mean"] in (None, 1.0) for g in (1, 2, 3))


def test_what_fits_one_base_is_cut_to_the_budget_of_the_next_and_logged(
    released: tuple[Path, dict[str, Any]],
) -> None:
    folder, summary = released
    log = [row for row in steps(folder) if row["arm"] == "verbatim"]
    cut = [row for row in log if row["phase"] == "migrate" and row["detail"] == "drop: overflow"]
    assert {row["generation"] for row in cut} == {2}, "where the tokenizer changes"
    told = cells(summary, "releases", "arm", "generation", measure="cut")
    assert told["verbatim", 2]["mean"] == len(cut) / 2 and told["verbatim", 1]["mean"] == 0
    for row in log:
        blocks = re.findall(r"<notes.*?</notes>", row["prompt"], re.DOTALL)
        if row["kind"] == "probe" and blocks:
            letters = LETTERS if row["version"] in (G0, G1) else 0
            assert count_tokens(blocks[0], letters) == row["memory_tokens"] <= 70


def test_the_log_is_the_same_whatever_the_number_of_workers(
    released: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    config = compose.load_file(released[0] / "config.yaml")
    wide = compose.load(["run.lineages_in_flight=64"]).run.lineages_in_flight
    few = config.experiment if FULL else replace(config.experiment, lineages=1)
    flown = replace(config, run=replace(config.run, lineages_in_flight=wide), experiment=few)
    run(flown, tmp_path / "again")
    wanted = [row for row in timeless(released[0]) if row["pair"] < few.lineages]
    found = timeless(tmp_path / "again")
    # A pair lives the same among more or fewer; only the run that it is of has another name.
    assert wanted and repr(found).replace(found[0]["run"], wanted[0]["run"]) == repr(wanted)


def test_a_plan_says_which_engines_in_which_order_with_how_many_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [f"run.root={tmp_path}", f"run.cache={tmp_path}", "engine.vllm.dtype=bfloat16"]
    with pytest.raises(SystemExit) as ended:
        main(["plan", "experiment=release", "engine.memory_gib=6", *where])
    said = " ".join(capsys.readouterr().out.split())
    assert not ended.value.code
    assert "engines one after the other: 2 engines need 9.0 GiB" in said
    assert "smollm2-135m 4.5 GiB, gemma3-270m 4.5 GiB) of 6.0 GiB that are free" in said
    # 12 pairs of 7 arms, 3 episodes and 5 probes in each of two generations a base.
    assert said.count(f"{12 * 7 * 2 * 8:,}") == 2
    with pytest.raises(SystemExit):
        main(["plan", "experiment=release", "engine.memory_gib=4", *where])
    assert "alone needs 4.5 GiB, and 4.0 GiB are free: lower" in capsys.readouterr().err
