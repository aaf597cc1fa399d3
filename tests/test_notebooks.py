"""Each notebook runs clean, from its text form, in a kernel without a name of another's."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jupytext
import pytest
from helpers import FULL
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

import lineage
from lineage.inspect.listing import ASKED
from lineage.metrics import summarise_all
from lineage.report import sweep_page, training_page, write

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
FEW = ", ".join(
    f'"experiment.{one}"'
    for one in ("episodes=2", "probes.same=2", "probes.similar=1", "probes.dissimilar=1")
)
SMALLER = {
    r'"engine=surrogate"': f'"engine=surrogate", {FEW}',
    r"experiment\.lineages=\d+": "experiment.lineages=2",
    r"suite\.drift=[\d.,]+": "suite.drift=0,0.5",
    r"method\.steps=\d+": "method.steps=2",
    r"(groups|held_out|worlds)=\d+": r"\1=2",
}
"""What runs in place of the notebook's own sizes where not all is tried."""
PAGES = ((write, "report_html"), (training_page, "training_html"), (sweep_page, "sweep_html"))
"""What makes the pages of runs. No notebook looks at one, and a page takes longer than its run."""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookClient]:
    """A client with a running kernel: to start one, and to import in it, takes seconds."""
    folder = str(tmp_path_factory.mktemp("notebooks"))
    where = {"metadata": {"path": folder}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", folder)
        unpaged = (f"import {of.__name__} as _of; _of.{what} = lambda *_: ''" for of, what in PAGES)
        begin = new_code_cell("\n".join(unpaged))
        client = NotebookClient(new_notebook(cells=[begin]), timeout=120, resources=where)
        with client.setup_kernel():
            client.execute_cell(begin, 0)
            yield client


@pytest.mark.parametrize("source", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)
def test_the_notebook_runs_without_a_warning(source: Path, kernel: NotebookClient) -> None:
    notebook = jupytext.read(source)
    committed = jupytext.read(source.with_suffix(".ipynb"))
    assert [cell.source for cell in committed.cells] == [cell.source for cell in notebook.cells]
    kernel.nb = notebook
    kernel.reset_execution_trackers()
    kernel.execute_cell(new_code_cell("%reset -f"), 0)
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
    root = tmp_path_factory.mktemp("own")
    size = ["engine=surrogate", "experiment=tiny", "experiment.lineages=2", "agent.docs=true"]
    places = [f"run.root={root}", f"run.cache={root / 'cache'}"]
    sizes = ["train.worlds=2", "train.held_out=2", "method.steps=2", "method.groups=2"]
    sizes += ["method.warm_steps=1", "method.warm_groups=2", "method.group=4"]
    course = ["agent=writer", "train.curricula=[open]", "run.name=training"]
    with pytest.MonkeyPatch.context() as patch:
        for module, name in PAGES:
            patch.setattr(module, name, lambda *_: "")
        lineage.run([*size, *places, "run.name=run"])
        # Of the others no notebook looks at the picture, nor at most of the metrics.
        patch.setattr(write, "score_by_generation", lambda summary: None)
        patch.setattr(write, "summarise_all", partial(summarise_all, names=ASKED))
        lineage.run([*size, *places, "run.name=sweep", "agent.memory_budget=60,90"], multirun=True)
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
