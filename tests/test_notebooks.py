"""Each notebook runs clean, from its text form, in a kernel without a name of another's."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import jupytext
import pytest
from helpers import FULL, measured, run, surrogate
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

import lineage
from lineage.inspect.listing import ASKED
from lineage.log.sweep import Point, SweepRecord, write_sweep

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
VERSIONS = "schedule.versions=[{}]".format
FEW = (
    *("experiment.episodes=2", "experiment.probes.same=2", "experiment.probes.similar=1"),
    *("experiment.probes.dissimilar=1", VERSIONS("smollm2-135m@r0,smollm2-135m@r1")),
)
ARMS = "arms.names=[inherit,docs,cold,oracle]"
SMALLER = {
    r'"engine=surrogate"': ", ".join(f'"{one}"' for one in ("engine=surrogate", *FEW)),
    # It shows an episode of the third generation.
    r'"run\.name=first"': f'"run.name=first", "{VERSIONS(",".join(["smollm2-135m@r1"] * 3))}"',
    r'"arms=all-but-weights"': f'"arms=all-but-weights", "{ARMS}"',
    r"experiment\.lineages=\d+": "experiment.lineages=2",
    r"suite\.drift=[\d.,]+": "suite.drift=0,0.5",
    r"method\.steps=\d+": 'method.steps=2", "method.warm_steps=1", "method.group=4',
    r"(groups|held_out|worlds)=\d+": r"\1=2",
}
"""What runs in place of the notebook's own sizes where not all is tried."""
UNSEEN = {
    "write.report_html": "",
    "training_page.training_html": "",
    "training_page.training_by_step": "a picture",
    "training_page.picture_bytes": b"",
    "sweep_page.sweep_html": "",
}
"""What draws beside a log, and what it returns here: it takes longer than the run, unlooked at."""
MEASURED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("03", "05", "06"), ()),
    "02": ("scores_by_generation",), "04": ("doc_search",),
}
"""What a notebook reads of metrics.json beside what a listing does: it would miss others there."""
PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1"
"""What a notebook shows of a file that it does not draw."""
AGAIN = """\
%reset -f
def prepare():
    import gc, os
    from functools import partial
    from importlib import import_module
    from lineage.inspect.listing import ASKED
    from lineage.metrics import METRICS, summarise_all
    from lineage.report import figures, write

    os.fsync = lambda handle: None
    for name, instead in {unseen}.items():
        module, _, what = name.rpartition(".")
        setattr(import_module("lineage.report." + module), what, lambda *_, one=instead: one)
    write.score_by_generation = figures.score_by_generation if {drawn} else lambda summary: None
    more = {more}
    names = METRICS if more is None else {{*ASKED, *more}}
    write.summarise_all = partial(summarise_all, names=names)
    # To look through all modules at each reset takes longer than most cells.
    gc.freeze()
prepare()
del prepare
"""
"""What is executed before each notebook."""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookClient]:
    """A client with a running kernel: to start one, and to import in it, takes seconds."""
    folder = str(tmp_path_factory.mktemp("notebooks"))
    where = {"metadata": {"path": folder}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", folder)
        client = NotebookClient(new_notebook(), timeout=120, resources=where)
        with client.setup_kernel():
            yield client


@pytest.mark.parametrize("source", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_the_notebook_runs_without_a_warning(source: Path, kernel: NotebookClient) -> None:
    notebook, text = jupytext.read(source), source.read_text()
    committed = jupytext.read(source.with_suffix(".ipynb"))
    assert [cell.source for cell in committed.cells] == [cell.source for cell in notebook.cells]
    more = None if FULL else MEASURED.get(source.stem[:2])
    about = {"drawn": FULL or "scores.png" in text, "more": repr(more)}
    # Not as a cell of the notebook, which it would replace.
    again = new_code_cell(AGAIN.format(unseen=UNSEEN, **about))
    kernel.nb = new_notebook(cells=[again])
    kernel.execute_cell(again, 0)
    kernel.nb = notebook
    kernel.reset_execution_trackers()
    for number, cell in enumerate(notebook.cells):
        for size, smaller in () if FULL else SMALLER.items():
            cell.source = re.sub(size, smaller, cell.source)
        kernel.execute_cell(cell, number)
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert outputs
    assert not [out.text for out in outputs if out.get("name") == "stderr"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run, a training and a sweep of a reader's own, unlike those of the notebooks."""
    tmp = tmp_path_factory.mktemp("own")
    root = tmp / "runs"
    tiny = ["experiment=tiny", "experiment.lineages=2", "agent.docs=true", ARMS]
    sizes = ["train.worlds=1", "train.held_out=1", "method.steps=2", "method.groups=2"]
    sizes += ["method.warm_steps=1", "method.warm_groups=1", "method.group=2"]
    course = ["agent=writer", "train.curricula=[open]", "run.name=training"]
    points = []
    for number, budget in enumerate((60, 90)):
        overrides = (f"agent.memory_budget={budget}",)
        points.append(Point(number, f"{number:03d}", overrides))
        run(surrogate(tmp, *tiny, *overrides), root / "sweep" / points[-1].folder)
    key = "agent.memory_budget"
    write_sweep(root / "sweep", SweepRecord("run", 1.0, (), (key,), "", "", points=tuple(points)))
    measured(surrogate(tmp, *tiny), root / "run", {*ASKED, *chain(*MEASURED.values())})
    (root / "run" / "scores.png").write_bytes(PICTURE)
    with pytest.MonkeyPatch.context() as patch:
        for name, instead in UNSEEN.items():
            patch.setattr(f"lineage.report.{name}", lambda *_, one=instead: one)
        places = [f"run.root={root}", f"run.cache={tmp / 'cache'}"]
        lineage.train(["engine=surrogate", *sizes, *course, *places])
    return {"05-training": root / "training", "06-sweeps": root / "sweep", "": root / "run"}


@pytest.mark.parametrize("source", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_the_notebook_reads_a_run_of_the_readers_own(
    source: Path,
    own: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = own.get(source.stem, own[""])
    monkeypatch.setenv("LINEAGE_RUN", str(folder))
    before = sorted(folder.parent.iterdir())
    names = runpy.run_path(str(source))
    names["temporary"].cleanup()
    read = names["log"].execute("SELECT folder FROM runs").fetchall()
    assert read and all(Path(one).is_relative_to(folder) for (one,) in read)
    assert capfd.readouterr().out and sorted(folder.parent.iterdir()) == before
