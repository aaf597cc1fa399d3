"""`lineage plan`: what a run will take, said before it starts, and what it took in the end."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers import counting, flattened, run
from omegaconf import OmegaConf

from lineage import compose
from lineage.cli import main
from lineage.commands import plan as plan_command
from lineage.commands.plan import reckoned
from lineage.commands.plan_parts import Points, duration, rough
from lineage.core.config_engine import CheckpointConfig
from lineage.models.checkpoint import weights_in
from lineage.runs import earlier
from lineage.runs.forecast import EPISODE, GENERATION, PROBE, Earlier, Spent, forecast, price
from lineage.runs.plan import prepare

SIZE = ("engine=surrogate", "experiment=tiny", "arms.names=[inherit,cold,oracle]")


def places(tmp: Path) -> list[str]:
    return [f"run.root={tmp / 'runs'}", f"run.cache={tmp / 'cache'}"]


def plan(tmp: Path, *overrides: str) -> Any:
    """Return what is reckoned for one run."""
    return reckoned(points([*SIZE, *places(tmp), *overrides]))


def points(*given: Sequence[str]) -> Points:
    return Points(tuple(map(tuple, given)), tuple(map(compose.load, given)))


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Return the document that the command prints."""
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--json", *arguments])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line of error of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["plan", *arguments])
    error = capsys.readouterr().err
    assert ended.value.code == 1 and error.count("\n") == 1, error
    return error


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What is planned as with `SIZE`, from one file: a command composes it by Hydra each time."""
    return flattened(tmp_path_factory.mktemp("flat"), *SIZE)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A finished run below `runs`, and how many requests it made."""
    tmp = tmp_path_factory.mktemp("before")
    with counting() as asked:
        run(compose.load([*SIZE, *places(tmp)]), tmp / "runs" / "first")
    return tmp, len(asked)


def test_without_an_earlier_run_what_can_be_counted_is(tmp_path: Path) -> None:
    found = plan(tmp_path)
    (point,) = found["points"]
    # Two pairs, three arms, two generations; two episodes and four probes each.
    assert (point["lineages"], point["generations"]) == (6, 12)
    assert (point["episodes"], point["probes"], point["least"]) == (24, 48, 72)
    unknown = ("completions", "prompt_tokens", "completion_tokens", "seconds")
    assert [found["total"][name] for name in (*unknown, "cost")] == [None] * 5
    assert found["answer"] == (
        "one run, 6 lineages, at least 72 completions; how many more and how long is n/a without "
        "an earlier run; no engine to start"
    )
    assert not any(tmp_path.iterdir())


def test_a_run_like_an_earlier_one_takes_what_that_took(before: tuple[Path, int]) -> None:
    tmp, asked = before
    folder = tmp / "runs" / "first"
    found = plan(tmp)
    (point,) = found["points"]
    assert point["completions"] == asked
    assert (point["source"], point["timed"]) == (str(folder), str(folder))
    assert (point["n"], point["differs"], point["guessed"]) == (12, (), ())
    (sitting,) = json.loads((folder / "sittings.json").read_text())
    assert point["seconds"] == pytest.approx(sitting["seconds"])
    assert f"lineages, about {rough(asked):,} completions and" in found["answer"]
    assert f"on this kind of machine (from {folder}); no engine to start" in found["answer"]


def test_it_is_scaled_by_what_is_run(before: tuple[Path, int]) -> None:
    tmp, asked = before
    (point,) = plan(tmp, "experiment.lineages=6")["points"]
    assert point["completions"] == pytest.approx(3 * asked, abs=1)
    (probed,) = plan(tmp, "experiment.probes.dissimilar=3")["points"]
    # A probe costs one completion here, and nothing else grows.
    assert probed["completions"] == asked + 24
    assert point["differs"] == probed["differs"] == ()


def test_an_arm_that_no_earlier_run_has_is_a_guess_that_is_named(
    before: tuple[Path, int],
) -> None:
    found = plan(before[0], "arms.names=[inherit,cold,oracle,memories]")
    (point,) = found["points"]
    assert point["guessed"] == ("memories",) and "arms.names" in point["differs"]
    assert any("it has no memories" in note for note in found["notes"])


def test_only_a_finished_run_of_the_same_kind_tells_anything(before: tuple[Path, int]) -> None:
    tmp, _ = before
    job = prepare(compose.load([*SIZE, *places(tmp)]))
    runs = earlier.finished(tmp / "runs")
    assert len(runs) == 1 and earlier.telling(job, runs)[0] is not None
    for change in ("suite=warehouse", "schedule.versions=[smollm2-135m@r0,smollm2-135m@w1]"):
        other = prepare(compose.load([*SIZE, *places(tmp), change]))
        assert earlier.telling(other, runs) == (None, None), change
    (one,) = runs
    elsewhere = replace(one, record={**one.record, "machine": {"processor": "other", "cores": 1}})
    closest, timed = earlier.telling(job, [elsewhere])
    assert closest is not None and timed is None
    # What is damaged or unfinished is left out.
    torn = tmp / "runs" / "torn"
    torn.mkdir()
    (torn / "run.json").write_text("{")
    begun = tmp / "runs" / "begun"
    begun.mkdir()
    for name in ("run.json", "config.yaml"):
        (begun / name).write_bytes((one.folder / name).read_bytes())
    assert [found.folder for found in earlier.finished(tmp / "runs")] == [one.folder]


def test_the_run_with_the_fewest_other_settings_tells(before: tuple[Path, int]) -> None:
    tmp, _ = before
    job = prepare(compose.load([*SIZE, *places(tmp)]))
    (one,) = earlier.finished(tmp / "runs")
    other = replace(one, settings={**one.settings, "agent.act_tokens": 1, "suite.drift": 1})
    closest, _ = earlier.telling(job, [other, one])
    assert closest is not None and closest.differs == ()
    closest, _ = earlier.telling(job, [other])
    assert closest is not None and closest.differs == ("suite.drift", "agent.act_tokens")


def test_time_goes_by_what_is_written(tmp_path: Path) -> None:
    job = prepare(compose.load([*SIZE, *places(tmp_path), "arms.names=[cold,oracle]"]))
    spent = {
        (arm, unit): Spent(10, 10, 1000, 100)
        for arm in ("cold", "oracle")
        for unit in (GENERATION, EPISODE, PROBE)
    }
    made = Earlier("runs/x", 20, spent, seconds=60.0, here=True)
    found = forecast(job, (), made, made)
    # 8 generations, 16 episodes, 32 probes of a completion and 10 written tokens each.
    assert (found.completions, found.completion_tokens, found.prompt_tokens) == (56, 560, 5600)
    assert found.seconds == pytest.approx(60 * 560 / 600)
    assert price([found], 3600.0, None) == pytest.approx(56.0)
    assert price([found, found], None, 1e6) == pytest.approx(2 * 6160)
    assert price([found], 3600.0, 1e6) == pytest.approx(56 + 6160)
    assert price([found], None, None) is None
    untimed = forecast(job, (), made, None)
    assert untimed.seconds is None and price([untimed], 1.0, None) is None


def test_engines_are_one_a_checkpoint_and_set_of_settings(tmp_path: Path) -> None:
    small = ["experiment=tiny", "engine.vllm.dtype=float32", *places(tmp_path)]
    two = [[*small, f"suite.drift={drift}"] for drift in (0, 0.1)]
    found = reckoned(points(*two))
    (engine,) = found["engines"]
    assert engine["versions"] == ["smollm2-135m@r0", "smollm2-135m@r1"]
    assert (engine["points"], engine["replicas"]) == ([0, 1], 1)
    assert engine["cpu_kv_cache_bytes"] == 2 * 2**30 and engine["gpu_share"] == 0.85
    assert found["answer"].startswith("2 points, ") and "; one engine start" in found["answer"]
    other = [*two[1], "engine.vllm.max_num_seqs=8", "engine.replicas=2"]
    several = reckoned(points(two[0], other))
    assert [one["points"] for one in several["engines"]] == [[0], [1]]
    assert several["total"]["engine_starts"] == 3


def test_weights_are_counted_where_they_lie(tmp_path: Path) -> None:
    head = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "BF16", "shape": [3, 4], "data_offsets": [0, 24]},
            "b": {"dtype": "BF16", "shape": [5], "data_offsets": [24, 34]},
        }
    ).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(34))
    folder = CheckpointConfig(kind="folder", path=str(tmp_path))
    assert weights_in(folder, tmp_path) == 17
    snapshot = tmp_path / "hub" / "models--a--b" / "snapshots" / "c"
    snapshot.mkdir(parents=True)
    hub = CheckpointConfig(kind="hub", path="a/b")
    assert weights_in(hub, tmp_path) is None
    (snapshot / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    assert weights_in(hub, tmp_path) == 17
    none = CheckpointConfig(kind="package_gguf", package="no_such_package", path="x.gguf")
    assert weights_in(none, tmp_path) is None


def test_the_command_says_the_answer_first(
    before: tuple[Path, int],
    flat: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tmp, asked = before
    arguments = [*flat, *places(tmp), "suite.drift=0,0.5", "run.price_hour=2"]
    # The same is asked twice: as text, and as a document.
    reckon = cache(plan_command._of_runs)
    monkeypatch.setattr(plan_command, "_of_runs", reckon)
    with pytest.raises(SystemExit) as ended:
        main(["plan", "-m", *arguments])
    said = capsys.readouterr().out
    assert not ended.value.code
    assert said.splitlines()[0].startswith(f"2 points, 12 lineages, about {rough(2 * asked)} compl")
    assert "what will be run, on surrogate (stand-in)" in said and "suite.drift=0.5" in said
    assert "n = 12 generations" in said and "cost n/a" not in said
    document = planned(capsys, "-m", *arguments)
    assert reckon.cache_info().hits == 1
    assert document["total"]["points"] == 2 and document["total"]["cost"] > 0
    assert document["points"][1]["overrides"][-2:] == ["suite.drift=0.5", "run.price_hour=2"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--cfg", "job"), "--cfg shows something, and plans nothing: it is of lineage run"),
        (
            ("--train", "--info"),
            "--info shows something, and plans nothing: it is of lineage train",
        ),
        (("--resolve",), "--resolve shows something"),
        (("-sc",), "--shell-completion shows something"),
        (("--config-path", "x"), "add a folder of your own with --config-dir"),
        (("--config-dir", "nowhere"), "--config-dir nowhere is no folder"),
        (("--config-name", "confg"), "there is no file confg.yaml in conf/"),
        (("--tarin",), "did you mean '--train'?"),
        (("hydra.searchpath=[file://nowhere]",), "names nowhere, which is no folder"),
        (("hydra.run.dri=x",), "hydra.run.dri"),
        (("-m", "hydra/launcher=joblob", "suite.drift=0,1"), "has no option 'joblob'"),
        (("-m", "suite.drift=0,2"), "suite.drift is 2: it must be between 0 and 1"),
        (("-m", "log.objective.metric=gian", "suite.drift=0,1"), "which is no metric"),
        (("--train", "method.kind=grp"), "method.kind is 'grp'"),
        (("suite.drif=0",), "did you mean 'suite.drift'"),
        (("engine.kind=vlm",), "engine.kind is 'vlm'"),
        (("run.price_hour=-1",), "run.price_hour is -1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_flags_that_plan_nothing_and_what_is_wrong_are_refused_in_a_line(
    arguments: tuple[str, ...],
    words: str,
    flat: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert words in refused(capsys, *flat, *places(tmp_path), *arguments)


def test_points_that_nobody_knows_beforehand_are_not_planned(
    flat: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    study = ("-m", "hydra/sweeper=optuna", "reward.memory=interval(0.0,0.4)")
    assert "chooses its points as it goes on" in refused(capsys, *flat, *places(tmp_path), *study)


def test_a_conf_folder_of_one_s_own_is_planned_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "mine"
    (conf / "arms").mkdir(parents=True)
    arms = "names: [mine, cold]\nbaseline: cold\nceiling: cold\n"
    (conf / "arms" / "mine.yaml").write_text(f"{arms}defined:\n  mine: {{receives: memories}}\n")
    (conf / "study.yaml").write_text("defaults: [config, _self_]\n")
    small = ("engine=surrogate", "experiment=tiny", "arms=mine", *places(tmp_path))
    searched = f"hydra.searchpath=[file://{conf}]"
    # What the file itself sweeps is planned as it would be run; of a file that has all but arms
    # Hydra composes a point in a third of the time.
    where = flattened(conf, *small[:2], *places(tmp_path))
    flat: Any = OmegaConf.load(conf / "flat.yaml")
    del flat.arms
    flat.defaults.insert(0, {"arms": "mine"})
    flat.hydra.sweeper = {"params": {"suite.drift": "0,0.5"}}
    OmegaConf.save(flat, conf / "flat.yaml")
    swept = planned(capsys, *where, "-m")["points"]
    assert all(one["arms"] == ["mine", "cold"] for one in swept)
    assert [one["overrides"][0] for one in swept] == ["suite.drift=0", "suite.drift=0.5"]
    # Without -m it is not swept; and a folder may be named as Hydra does.
    for given in (where, (*small, "--config-name", "study", searched)):
        (point,) = planned(capsys, *given)["points"]
        assert point["arms"] == ["mine", "cold"]
        assert not any("hydra" in text for text in point["overrides"])
    with pytest.raises(SystemExit):
        main(["plan", "--help", "--config-dir", str(conf)])
    text = capsys.readouterr().out
    assert re.search(r"^  arms .*\bmine\b", text, re.MULTILINE) and "--cfg" not in text


def test_other_launchers_start_an_engine_for_each_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = flattened(tmp_path, "experiment=tiny", *places(tmp_path))
    two = (*flat, "-m", "suite.drift=0,0.1")
    assert planned(capsys, *two)["total"]["engine_starts"] == 1
    (engine,) = planned(capsys, *two, "hydra/launcher=basic")["engines"]
    assert (engine["replicas"], engine["started"]) == (1, 2)


def test_a_price_changes_no_run(tmp_path: Path) -> None:
    config = compose.load([*SIZE, *places(tmp_path)])
    prices = ("run.price_hour=2", "run.price_million_tokens=1")
    priced = compose.load([*SIZE, *places(tmp_path), *prices])
    assert compose.config_hash(config) == compose.config_hash(priced)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "a second"),
        (59, "59 seconds"),
        (119, "119 seconds"),
        (2460, "41 minutes"),
        (7200, "2.0 hours"),
        (90000, "25 hours"),
    ],
)
def test_durations_are_said_in_the_unit_that_suits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_are_said_as_well_as_they_are_known() -> None:
    assert [rough(one) for one in (0, 7, 99, 123, 12_345.6)] == [0, 7, 99, 120, 12_000]
