"""Sweeps, and `lineage run` as an application of Hydra: flags, folders, launchers, going on."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers import FULL, flattened, run, steps, timeless
from killed import begin, kill
from omegaconf import OmegaConf
from rich.console import Console

from lineage import compose
from lineage.cli import main
from lineage.commands import application
from lineage.commands.overrides import sweep
from lineage.commands.sweeping import minimizes
from lineage.core.errors import LineageError
from lineage.log.sweep import Point, SweepRecord, read_sweep, update_sweep, write_sweep
from lineage.log.writer import GenerationLog
from lineage.models import pool as pool_module
from lineage.models.pool import Pool
from lineage.models.protocol import Completion, Request, Turn
from lineage.models.surrogate import Surrogate
from lineage.report import write
from lineage.runs import points as points_module
from lineage.runs.run import execute
from lineage.training.run import release

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = ("engine=surrogate", "experiment=tiny", "experiment.lineages=1")
VERSIONS = ("smollm2-135m@r0", "smollm2-135m@r1")
FEWER = ("arms.names=[inherit,cold]", "arms.ceiling=inherit")
"""Of these a point of `SMALL` takes two thirds of the time, and has no objective."""
BRIEF = (
    *("method.steps=1", "method.warm_steps=1", "method.warm_groups=4", "method.group=4"),
    *("train.held_out=0", "train.worlds=1", "train.curricula=[edit]", "train.episodes=2"),
    "train.probes={same: 2, similar: 1, dissimilar: 1}",
)
"""The shortest training of the surrogate."""


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def below(folder: Path) -> tuple[str, ...]:
    return (f"run.root={folder / 'runs'}", f"run.cache={folder / 'cache'}")


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What runs as `SMALL` does, from one file."""
    return flattened(tmp_path_factory.mktemp("flat"), *SMALL)


@pytest.fixture(scope="module")
def fewer(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The same with `FEWER`: Hydra reads each override that is given once a composition."""
    return flattened(tmp_path_factory.mktemp("fewer"), *SMALL, *FEWER)


def swept(folder: Path, *overrides: str, code: int = 0, of: Sequence[str] = SMALL) -> Path:
    """Run a sweep named `all` below `folder`; return its folder."""
    assert code_of("run", "-m", *of, *below(folder), "run.name=all", *overrides) == code
    return folder / "runs" / "all"


def resumed(folder: Path, *points: Sequence[str]) -> Path:
    """Go on with a sweep of `points` that was stopped before the first began; return its folder."""
    place = folder / "runs" / "all"
    place.mkdir(parents=True)
    found = tuple(
        Point(number, f"{number:03d}", (*SMALL, *below(folder), *one))
        for number, one in enumerate(points)
    )
    write_sweep(place, SweepRecord("run", 1.0, (), (), "basic", "fleet", points=found))
    assert code_of("resume", str(place)) == 0
    return place


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line of error of a command that fails."""
    assert code_of(*arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("lineage: ") and error.count("\n") == 1, error
    return error


# The command line


def test_the_flags_of_hydra_show_and_run_nothing(
    flat: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("run", "train"):
        shown = ("suite.drift=0.3", "--cfg", "job", "--package", "suite")
        assert code_of(command, *flat, *shown) == 0
        assert "drift: 0.3" in capsys.readouterr().out
    assert code_of("run", *flat, "--cfg", "hydra", "-p", "hydra.launcher") == 0
    assert "FleetLauncher" in capsys.readouterr().out
    # Where keys of a run, which Hydra's own help knows nothing of, stand before and after.
    with monkeypatch.context() as patch:
        if not FULL:  # Hydra looks through all of its groups for that
            patch.setattr(application, "hand_over", lambda asked, task: print(asked))
        assert code_of("run", "suite=codebook", *flat, "--hydra-help", "run.name=x") == 0
    told = capsys.readouterr().out
    assert "--hydra-help" in told and "codebook" not in told
    # Overrides may stand after flags, and before.
    shown = ("--cfg", "all", "-p", "hydra.run.dir", "--resolve", "hydra.job.name=x")
    assert code_of("run", "run.root=there", *flat, *shown) == 0
    assert re.fullmatch(r"there/\S+-x", capsys.readouterr().out.strip())
    assert code_of("run", *flat, "--info", "searchpath") == 0
    assert str(compose.conf_dir()) in capsys.readouterr().out
    assert not list(tmp_path.iterdir()), "nothing is begun"


NONSENSE = (
    (("--config-path", "x"), "add a folder of your own with --config-dir"),
    (("--experimental-rerun", "x"), "lineage resume RUN"),
    (("--resolve",), "add --cfg job"),
    (("-m", "--cfg", "job"), "one thing at a time"),
    (("--config-dirr=x",), "did you mean '--config-dir'?"),
    (("--config-dir", "nowhere"), "--config-dir nowhere is no folder"),
    (("hydra.searchpath=[file://nowhere]",), "names nowhere, which is no folder"),
    (("--config-name", "confg"), "there is no file confg.yaml in conf/"),
    (("hydra.job.chdir=true",), "leave it out"),
    (("suite.name=é",), "has 'é', which means nothing unquoted: quote the value"),
    (("suite.name=a#b",), "quote the value, \"suite.name='a#b'\""),
    (("suite.name=a~b",), "quote the value"),
    (("-m", "suite.name=a~b,c"), "quote the value"),
    (("suite.name=(a",), "or quote the value"),
    (("suite.näme=a",), "has 'ä' in its key"),
    (("-m", "suite=glob(z*)"), "'suite=glob(z*)' fits no option: choose from cladder,"),
    (("-m", "seed=glob(*)"), "no group"),
)
NONSENSE_OF_FLAT = (
    (
        ("hydra/launcher=joblob",),
        "has no option 'joblob' (if it is a plugin: pip install hydra-joblob-launcher): ",
    ),
    (("-m", "hydra/sweeper=optuno", "suite.drift=0,1"), "pip install hydra-optuno-sweeper"),
    (("--cfg", "job", "suite.drfit=1"), "did you mean 'suite.drift'?"),
    (("hydra.run.dri=x",), "hydra.run.dri"),
    (("-m", "suite.drift=0,2"), "suite.drift is 2: it must be between 0 and 1"),
    (("-m", "log.objective.metric=gian", "suite.drift=0,1"), "which is no metric"),
    (("log.objective={metric: totals, figure: x}", "-m"), "metric totals has not"),
    (("log.objective.rows=3",), "unknown conf key 'log.objective.rows'"),
    (("run.points_in_flight=0",), "run.points_in_flight is 0: it must be 1 or more (runs)"),
)
"""What is told without the groups, which take Hydra longer."""


@pytest.mark.parametrize(
    ("grouped", "arguments", "words"),
    [*((True, *one) for one in NONSENSE), *((False, *one) for one in NONSENSE_OF_FLAT)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_one_line(
    grouped: bool,
    arguments: tuple[str, ...],
    words: str,
    flat: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in said(capsys, "run", *arguments, *(SMALL[:1] if grouped else flat))
    assert not list(tmp_path.iterdir()), "nothing is begun"


def test_glob_names_the_options_of_a_group_and_none_that_is_no_choice() -> None:
    points = sweep(["migration=glob(*,exclude=v*)", "run.name=x"])
    assert points == [[f"migration={one}", "run.name=x"] for one in sorted(OPTIONS)]


OPTIONS = {"distil", "none", "rebuild", "rewrite"}


def test_a_shell_completes_commands_groups_and_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for line, words in (
        ("lineage ru", ["run"]),
        ("lineage run engine=su", ["engine=surrogate"]),
        ("lineage run engine=surrogate suite.dri", ["suite.drift="]),
        ("lineage submit --address http://h:1 --no-follow engine=su", ["engine=surrogate"]),
        ("lineage submit --address su", []),
        ("lineage show la", []),
    ):
        monkeypatch.setenv("COMP_LINE", line)
        assert code_of("-sc", "query=bash") == 0
        assert capsys.readouterr().out.split() == words
    assert code_of("run", "-sc", "install=bash") == 0
    assert capsys.readouterr().out.rstrip().endswith("hydra_bash_completion lineage")


@pytest.mark.usefixtures("unmeasured")
def test_the_folders_that_hydra_names_are_honoured(fewer: tuple[str, ...], tmp_path: Path) -> None:
    here = f"hydra.run.dir={tmp_path / 'here'}"
    assert code_of("run", *fewer, *below(tmp_path), here) == 0
    assert (tmp_path / "here" / "metrics.json").exists()
    assert not (tmp_path / "here" / ".hydra").exists()
    assert code_of("run", *fewer, *below(tmp_path), "hydra.job.name=mine") == 0
    (named,) = (tmp_path / "runs").glob("*-mine")
    assert json.loads((named / "run.json").read_bytes())["experiment"] == "tiny"
    record = json.loads((tmp_path / "here" / "run.json").read_bytes())
    assert not record["command"].startswith("lineage "), "the command is that of this process"


# The points of a sweep

IN_TURN = ("suite.drift=0,0.5", "hydra.sweeper.max_batch_size=1", "engine.hosted=true")


class Counted(Surrogate):
    """A surrogate that stands for a fleet: what was made and started is counted."""

    made: list[Any]

    async def start(self, versions: Sequence[str]) -> None:
        self.made.append(tuple(versions))
        await asyncio.sleep(0)

    async def generate(self, request: Request) -> Completion:
        await asyncio.sleep(0)
        return await super().generate(request)


def counted(patch: pytest.MonkeyPatch) -> list[Any]:
    """Return the versions of each engine that is started, from now on, for runs that share it."""
    found: list[Any] = []
    patch.setattr(Counted, "made", found, raising=False)
    patch.setattr(
        pool_module, "make_engine", lambda config, adaptable: Counted(config.engine.surrogate)
    )
    return found


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The versions of each engine that was started for runs that share it."""
    return counted(monkeypatch)


class Finished(NamedTuple):
    """The folder `below` which a sweep is finished, and the engines that its runs shared.

    `asked` is what each report was asked for besides its run: nothing, where it has all metrics.
    """

    below: Path
    starts: list[Any]
    overrides: tuple[str, ...]
    asked: list[Any]

    @property
    def folder(self) -> Path:
        return self.below / "runs" / "there"


@pytest.fixture(scope="module")
def finished(
    undrawn: None, flat: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A sweep of two points, one at a time: not written to."""
    place, asked = tmp_path_factory.mktemp("finished"), list[Any]()
    overrides = (*IN_TURN, f"hydra.sweep.dir={place / 'runs' / 'there'}")
    summarise = write.summarise_all

    def summarised(log: Any, *words: Any, **more: Any) -> Any:
        asked.append((words, more))
        return summarise(log, *words, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "summarise_all", summarised)
        starts = counted(patch)
        folder = swept(place, *overrides, of=flat)
    assert not folder.exists(), "hydra.sweep.dir goes before run.name, as it names the folder"
    return Finished(place, starts, overrides, asked)


@pytest.fixture
def unmeasured(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each run have the metrics of one that was measured, in a test that looks at no figure.

    To read its log takes longer than a small run.
    """
    known = (finished.folder / "000" / "metrics.json").read_bytes()

    def report(run: Path, cache: Path) -> Any:
        (run / "metrics.json").write_bytes(known)
        return json.loads(known)

    monkeypatch.setattr(write, "write_report", report)


def test_the_points_of_a_sweep_are_the_runs_that_they_would_be_alone(
    finished: Finished, tmp_path: Path
) -> None:
    folder = finished.folder
    record = read_sweep(folder)
    assert (record.kind, record.keys) == ("run", ("suite.drift",))
    assert (record.sweeper, record.launcher) == ("basic", "fleet")
    assert record.origin["command"] and record.objective == "gain_by_inheritance.mean"
    assert [one.folder for one in record.points] == ["000", "001"]
    for point, drift in zip(record.points, ("0", "0.5")):
        assert f"suite.drift={drift}" in point.overrides and not point.failed
        alone = tmp_path / f"alone-{drift}"
        run(compose.load([*SMALL, *below(tmp_path), f"suite.drift={drift}"]), alone)
        assert timeless(folder / point.folder) == timeless(alone)
        metrics = json.loads((folder / point.folder / "metrics.json").read_bytes())
        (gain,) = (
            row["mean"]
            for row in metrics["metrics"]["gain_by_inheritance"]
            if (row["arm"], row["family"], row["inherited"]) == ("inherit", "same", True)
        )
        assert point.objective == gain
    assert finished.asked == [((), {})] * 2, "all metrics, as a run alone has"


@pytest.mark.usefixtures("unmeasured")
def test_latest_is_the_sweep_and_its_folder_is_no_run_s(
    flat: tuple[str, ...],
    finished: Finished,
    starts: list[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = finished.folder
    latest, points = finished.below / "runs" / "latest", ("000", "001")
    assert latest.resolve() == folder, "and not its last point"
    assert all((latest / point / "metrics.json").exists() for point in points)
    records = [json.loads((folder / point / "run.json").read_bytes()) for point in points]
    assert len({record["config_hash"] for record in records}) == 2
    assert [one.folder for one in read_sweep(folder).points] == [*points]
    named = (*flat, *below(finished.below), "run.name=there")
    assert "is the folder of a sweep" in said(capsys, "run", *named)
    assert "holds another sweep" in said(capsys, "run", "-m", *named, "suite.drift=0,1")
    # The very same goes on with it, and finds all done.
    before = steps(folder / "001")
    swept(finished.below, *finished.overrides, of=flat)
    assert steps(folder / "001") == before
    shutil.copytree(folder / "000", tmp_path / "runs" / "one")
    named = (*flat, *below(tmp_path), "run.name=one")
    assert "holds a run" in said(capsys, "run", "-m", *named, "suite.drift=0,1")


CALLBACK = """
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback

TOLD = []

class Told(Callback):
    def on_job_start(self, config, *, task_function, **more):
        place = HydraConfig.get().runtime.output_dir
        TOLD.append(("start", config.hydra.job.num, config.agent.memory_budget, place))

    def on_job_end(self, config, job_return, **more):
        place = HydraConfig.get().runtime.output_dir
        TOLD.append(("end", config.hydra.job.num, job_return.status.name, place))
"""


@pytest.mark.usefixtures("unmeasured")
def test_a_point_that_fails_ends_no_other_is_told_to_callbacks_and_is_run_again(
    fewer: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, asked = points_module.work, list[str]()

    async def failing(job: Any, folder: Path, *more: Any) -> None:
        asked.append(folder.name)
        if folder.name == "000":
            raise LineageError("the engine is gone")
        await work(job, folder, *more)

    (tmp_path / "my_callbacks.py").write_text(CALLBACK)
    monkeypatch.syspath_prepend(str(tmp_path))
    # In the file: whatever sets something of Hydra's own node is composed by Hydra once more.
    begun = Path(fewer[1], f"{fewer[3]}.yaml").read_text()
    told = "\nhydra:\n  callbacks:\n    told:\n      _target_: my_callbacks.Told\n"
    assert "\nhydra:\n" in begun
    (tmp_path / "told.yaml").write_text(begun.replace("\nhydra:\n", told))
    calling = ("--config-dir", str(tmp_path), "--config-name", "told")
    with monkeypatch.context() as patch:
        patch.setattr(points_module, "work", failing)
        # A sweeper that learns nothing would give up before its next batch.
        batches = ("agent.memory_budget=320,1700,400", "hydra.sweeper.max_batch_size=2")
        folder = swept(tmp_path, *batches, code=1, of=calling)
    assert asked == ["000", "002"], "what cannot work is not begun"
    error = capsys.readouterr().err
    assert "2 of 3 points failed" in error and f"lineage resume {folder}" in error
    assert "the engine is gone" in error
    failed = {one.folder: one.failed for one in read_sweep(folder).points}
    assert (failed["000"], failed["002"]) == ("the engine is gone", "")
    assert "lower agent.memory_budget" in failed["001"]
    places = [str(folder / name) for name in failed]
    assert [
        ("start", 0, 320, places[0]),
        ("start", 1, 1700, places[1]),
        ("end", 0, "FAILED", places[0]),
        ("end", 1, "FAILED", places[1]),
        ("start", 2, 400, places[2]),
        ("end", 2, "COMPLETED", places[2]),
    ] == importlib.import_module("my_callbacks").TOLD

    assert code_of("resume", str(folder)) == 1
    told = capsys.readouterr()
    assert "2 of 3 points are to be run" in told.out and "1 of 3 points failed" in told.err
    assert [bool(one.failed) for one in read_sweep(folder).points] == [False, True, False]
    assert (folder / "000" / "metrics.json").exists()


@pytest.mark.usefixtures("unmeasured")
def test_an_interrupted_sweep_of_points_that_hydra_names_says_how_to_go_on_and_goes_on(
    fewer: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[int] = []

    def interrupt(self: GenerationLog, *left: Any) -> None:
        if not told:
            told.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:
        patch.setattr(GenerationLog, "finish", interrupt)
        named = "hydra.sweep.subdir=seed-${experiment.seed}"
        folder = swept(tmp_path, "experiment.seed=3,4", named, code=130, of=fewer)
    assert f"lineage resume {folder}" in capsys.readouterr().err
    names = [one.folder for one in read_sweep(folder).points]
    assert names == ["seed-3", "seed-4"], "the record has them all before the first begins"
    assert code_of("resume", str(folder)) == 0
    assert all((folder / name / "metrics.json").exists() for name in names)
    capsys.readouterr()
    assert code_of("resume", str(folder)) == 0
    told_last = capsys.readouterr().out
    assert "2 points are finished" in told_last and "to be run" not in told_last


POINTS = 64 if FULL else 2


@pytest.mark.usefixtures("unmeasured")
def test_a_sweep_that_is_killed_twice_has_each_result_once(
    fewer: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "all"
    seeds = ",".join(map(str, range(POINTS)))
    sweep_of = ("-m", *fewer, *below(tmp_path), "run.name=all", f"experiment.seed={seeds}")

    def done() -> int:
        # Asked every few milliseconds.
        places = [folder / f"{number:03d}" / "done" for number in range(POINTS)]
        found = [file for one in places if one.is_dir() for file in one.iterdir()]
        return sum(file.suffix == ".json" for file in found)

    whole = 4 * POINTS
    for words, part in ((("run", *sweep_of), 0.2), (("resume", str(folder)), 0.6)):
        least = part * whole
        assert kill(begin(*words), lambda least=least: done() >= least), "it still ran"
    assert len(read_sweep(folder).points) == POINTS
    assert code_of("resume", str(folder)) == 0
    for point in read_sweep(folder).points:
        found = steps(folder / point.folder)
        assert (folder / point.folder / "metrics.json").exists() and not point.failed
        assert len({row["step_id"] for row in found}) == len(found), "no step twice"
    assert done() == whole
    last = POINTS - 1
    alone = compose.load([*SMALL, *FEWER, *below(tmp_path), f"experiment.seed={last}"])
    run(alone, tmp_path / "alone")
    assert timeless(folder / f"{last:03d}") == timeless(tmp_path / "alone")


@pytest.mark.usefixtures("unmeasured")
def test_another_launcher_runs_each_point_and_the_record_has_them(
    fewer: tuple[str, ...],
    finished: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = ("hydra/launcher=basic", "agent.memory_budget=320,1700")
    folder = swept(tmp_path, *other, code=1, of=fewer)
    record = read_sweep(folder)
    assert record.launcher == "basic"
    assert [bool(one.failed) for one in record.points] == [False, True]
    # The figure of the metrics that it is given here.
    (known, _) = (one.objective for one in read_sweep(finished.folder).points)
    assert record.points[0].objective == known is not None
    assert "1 of 2 points failed" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "runs" / "latest").resolve() == folder


def test_points_in_processes_of_their_own_write_one_record(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    folder = swept(tmp_path, "hydra/launcher=joblib", "suite.drift=0,0.5")
    found = read_sweep(folder).points
    assert [one.folder for one in found] == ["000", "001"]
    assert all(one.objective is not None for one in found)


def test_trainings_are_swept_in_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    brief = flattened(tmp_path, *SMALL, *BRIEF)
    arguments = ("-m", *brief, *below(tmp_path), "run.name=all")
    assert code_of("train", *arguments, "reward.memory=0,0.2") == 0
    folder = tmp_path / "runs" / "all"
    record = read_sweep(folder)
    assert (record.kind, record.keys, len(record.points)) == ("training", ("reward.memory",), 2)
    assert all((folder / one.folder / "training.json").exists() for one in record.points)
    assert (tmp_path / "runs" / "latest").resolve() == folder
    assert code_of("resume", str(folder)) == 0
    assert "2 points are finished" in capsys.readouterr().out


# Engines that are shared


def test_one_engine_is_kept_for_the_next_batch(finished: Finished) -> None:
    assert len(finished.starts) == 1


@pytest.mark.usefixtures("unmeasured")
def test_one_engine_serves_the_versions_of_all_points_and_those_of_other_settings_are_grouped(
    tmp_path: Path, starts: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    hosted, others = "engine.hosted=true", "engine.max_restarts=1"
    first, second = ((*FEWER, f"schedule.versions=[{one},{one}]") for one in VERSIONS)
    folder = resumed(tmp_path, (hosted, *first), (hosted, *first, others), (hosted, *second))
    assert starts == [VERSIONS, VERSIONS[:1]]
    assert "2 groups of points (2, 1)" in capsys.readouterr().out
    alone = compose.load([*SMALL, *below(tmp_path), *second])
    run(alone, tmp_path / "alone")
    assert timeless(folder / "002") == timeless(tmp_path / "alone")


@pytest.mark.usefixtures("unmeasured")
def test_points_that_train_a_version_of_one_name_are_each_served_their_own(
    tmp_path: Path, starts: list[Any]
) -> None:
    versions = "schedule.versions=[smollm2-135m@r0,mine@a]"
    trained = "+schedule.trained={mine@a: smollm2-135m@r0}"
    few = (*BRIEF, *FEWER, versions, trained)
    rates = [f"method.warm_learning_rate={rate}" for rate in (0.3, 0.9)]
    folder = resumed(tmp_path, *(("engine.hosted=true", *few, rate) for rate in rates))
    assert len(starts) == 1
    # With the other's version no point would be what it is alone, and both the same.
    for point in read_sweep(folder).points[: None if FULL else 1]:
        texts = [text for text in point.overrides if "run." not in text and "hosted" not in text]
        place = tmp_path / f"alone-{point.folder}"
        config = compose.load([*texts, *below(tmp_path)])
        execute(config, place, Console(quiet=True), release, report=False)
        assert timeless(folder / point.folder) == timeless(place)
    assert timeless(folder / "000") != timeless(folder / "001")


def test_what_a_run_adds_to_a_shared_engine_is_its_own(tmp_path: Path, starts: list[Any]) -> None:
    config = compose.load(["engine=surrogate", "engine.hosted=true", *below(tmp_path)])
    base = "smollm2-135m@r0"
    for mark, recall in (("000", 1.0), ("001", 0.0)):
        (tmp_path / mark).mkdir()
        skills = {"recall": [recall] * 4}
        (tmp_path / mark / "skills.json").write_text(json.dumps(skills))

    async def asked() -> list[Any]:
        pool = Pool()
        await pool.prepare([config], [base])
        found = []
        for mark in ("000", "001"):
            engine = pool.engine(config, [base], mark)
            await engine.serve("mine", base, tmp_path / mark)
            found.append(engine.weights("mine").adapter)
            turns = (Turn("user", "What is the code of pump 3?"),)
            answer = await engine.generate(Request("q", "mine", turns, 8, 0.0, 1))
            assert not answer.error
        await pool.close()
        return found

    assert asyncio.run(asked()) == [tmp_path / "000", tmp_path / "001"]


# A conf folder of one's own


SUITE = '''
from dataclasses import dataclass
from lineage.suites.codebook import Codebook

@dataclass(frozen=True)
class Mine(Codebook):
    """Codes of my own."""
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A conf folder outside the package, with a model, an arm and a suite."""
    conf = tmp_path / "mine"
    for group in ("model", "arms", "suite"):
        (conf / group).mkdir(parents=True)
    (tmp_path / "my_suite.py").write_text(SUITE)
    monkeypatch.syspath_prepend(str(tmp_path))
    checkpoint = "{kind: folder, path: there, remedy: put it there}"
    (conf / "model" / "mine.yaml").write_text(
        "defaults: [smollm2-135m]\n"
        f"versions:\n  mine@a: {{checkpoint: {checkpoint}, context_window: 2048}}\n"
    )
    (conf / "arms" / "mine.yaml").write_text(
        "names: [inherit, mine, cold, oracle]\nbaseline: cold\nceiling: oracle\n"
        "defined:\n  mine: {receives: memories, policy: append}\n"
    )
    shipped = (compose.conf_dir() / "suite" / "codebook.yaml").read_text()
    target = "lineage.suites.codebook.Codebook"
    assert target in shipped
    (conf / "suite" / "mine.yaml").write_text(shipped.replace(target, "my_suite.Mine"))
    return conf


MINE = ("suite=mine", "model=mine", "arms=mine", "schedule.versions=[mine@a,mine@a]")


@pytest.mark.usefixtures("unmeasured")
def test_a_conf_folder_of_one_s_own_is_used_from_outside_the_package(
    flat: tuple[str, ...], mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ("--config-dir", str(mine))
    # From a file of few groups: a sweep composes it half a dozen times.
    place = Path(flat[1], f"{flat[3]}.yaml")
    tree: Any = OmegaConf.load(place)
    for group in ("model", "arms", "suite"):
        del tree[group]
        tree.defaults.insert(0, {group: "mine"})
    tree.run.name = "begun"
    OmegaConf.save(tree, mine / "few.yaml")
    few = (*MINE[-1:], *below(tmp_path), *here, "--config-name", "few")
    assert code_of("run", "-m", *few, "suite.drift=0.5") == 0
    folder = tmp_path / "runs" / "begun"
    record = json.loads((folder / "000" / "run.json").read_bytes())
    assert record["schedule"] == ["mine@a", "mine@a"] and "mine" in record["arms"]
    assert "my_suite.Mine" in (folder / "000" / "config.yaml").read_text()
    # Whoever goes on with it says again that its suite may be imported.
    (folder / "000" / "metrics.json").unlink()
    capsys.readouterr()
    assert "none of lineage's own" in said(capsys, "resume", str(folder))
    assert code_of("resume", str(folder), *here) == 0
    searched = f"hydra.searchpath=[file://{mine}]"
    begun = (searched, "--config-name", "few")
    assert code_of("run", *MINE, *begun, "--cfg", "job") == 0
    shown = capsys.readouterr().out
    assert "my_suite.Mine" in shown and "name: begun" in shown
    assert "did you mean 'mine'?" in said(capsys, "run", *begun, "suite=mnie")
    assert code_of("run", "--help", *here) == 0
    assert "mine" in capsys.readouterr().out


@pytest.mark.usefixtures("unmeasured")
def test_a_point_that_never_began_is_composed_anew(
    finished: Finished, starts: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(finished.folder, tmp_path / "all")
    texts = read_sweep(folder).points[0].overrides
    fresh = tuple(text for text in texts if "drift" not in text)
    update_sweep(folder, Point(2, "002", (*fresh, "suite.drift=1")))
    spy = Point(3, "003", (*fresh, "suite._target_=os.system"))
    assert code_of("resume", str(folder)) == 0
    assert (folder / "002" / "metrics.json").exists()
    update_sweep(folder, spy)
    assert "--trust" in said(capsys, "resume", str(folder))


def test_the_record_says_whether_less_is_better(flat: tuple[str, ...]) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    place, name = f"hydra.searchpath=[file://{flat[1]}]", flat[3]
    node = compose.composed_by_hydra([place, "hydra/sweeper=optuna"], name, hydra=True)
    for direction in ("minimize", "maximize"):
        node.hydra.sweeper.direction = direction
        assert minimizes(node) is (direction == "minimize")
    assert not minimizes(compose.composed_by_hydra([place], name, hydra=True))


def test_a_study_of_optuna_and_the_record_agree(
    flat: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    studies, create = list[Any](), optuna.create_study

    def created(**words: Any) -> Any:
        studies.append(create(**words))
        return studies[-1]

    monkeypatch.setattr(optuna, "create_study", created)
    trials = 12 if FULL else 3
    folder = swept(
        tmp_path,
        "hydra/sweeper=optuna",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=1",
        "hydra.sweeper.study_name=ours",
        f"hydra.sweeper.n_trials={trials}",
        "hydra.sweeper.n_jobs=2",
        "hydra.sweeper.direction=maximize",
        "reward.memory=interval(0.0,0.4)",
        "agent.memory_budget=range(20,80,step=20)",
        # So much is read with memories of so many tokens; the gain of so small a run is always 1.
        "log.objective={metric: totals, figure: prompt_tokens}",
        of=flat,
    )
    record = read_sweep(folder)
    assert record.sweeper == "optuna" and len(record.points) == trials
    assert record.keys == ("reward.memory", "agent.memory_budget")
    (study,) = studies
    assert study.study_name == "ours"
    assert [one.value for one in study.trials] == [one.objective for one in record.points]
    assert len({one.objective for one in record.points}) > 1
    for trial, point in zip(study.trials, record.points):
        assert f"agent.memory_budget={trial.params['agent.memory_budget']}" in point.overrides
