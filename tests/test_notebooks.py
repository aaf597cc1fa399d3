"""Each notebook runs clean, from its text form, in a kernel without a name of another's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
import pytest
from helpers import FULL
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SMALLER = {
    r"experiment\.lineages=\d+": "experiment.lineages=3",
    r"suite\.drift=[\d.,]+": "suite.drift=0,0.5",
    r"method\.steps=\d+": "method.steps=4",
}
"""What runs in place of the notebook's own sizes where not all is tried."""


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
