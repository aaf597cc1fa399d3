"""Files that lie about are read as what they are named for, and never run; nothing listens beyond
this machine.

What a configuration of somebody else may name is in `test_damaged`.
"""

from __future__ import annotations

import json
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import run, surrogate
from raynodes import heard_outside

from lineage import compose
from lineage.cli import main
from lineage.core.config_engine import CheckpointConfig, ModelConfig, VersionConfig
from lineage.core.errors import LineageError
from lineage.models.checkpoint import locate
from lineage.models.versions import ModelVersion, lookup, registry

pytestmark = pytest.mark.usefixtures("undrawn")

MODULES = (
    *("__init__", "__main__", "conftest", "setup", "sitecustomize", "usercustomize", "lineage"),
    *("json", "yaml", "duckdb", "pyarrow", "hydra_plugins", "steps", "tasks", "notes"),
)
"""Names under which something might import a file that lies in a folder."""
TINY = ("experiment=tiny", "experiment.lineages=1")


class Trap:
    """Leaves a file behind where its code is run, by import or by unpickling."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung
        self.code = f"open({str(sprung)!r}, 'a').close()\n"

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, (self.code,)

    def lay(self, folder: Path, *names: str) -> None:
        """Put code into `folder`, under these names and those of `MODULES`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*MODULES, *names):
            (folder / f"{name}.py").write_text(self.code)
        (folder / "trap.pth").write_text(f"import os; {self.code}")
        (folder / "data.pkl").write_bytes(pickle.dumps(self))


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    made = Trap(tmp_path / "sprung")
    exec(made.code)
    assert made.sprung.exists(), "it works"
    made.sprung.unlink()
    pickle.loads(pickle.dumps(made))
    assert made.sprung.exists()
    made.sprung.unlink()
    yield made
    assert not made.sprung.exists()


def ends_well(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code


def test_code_in_a_run_folder_is_not_run(
    trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "x"
    run(surrogate(tmp_path, *TINY), folder)
    for place in (folder, folder.parent, *(one for one in folder.rglob("*") if one.is_dir())):
        trap.lay(place)
    monkeypatch.chdir(folder)
    next(iter((folder / "done").glob("*.json"))).unlink()  # something to go on with
    for command in ("resume", "show", "report"):
        ends_well(command, str(folder))
    ends_well("ls", str(folder.parent))


def test_code_beside_tasks_and_notes_is_not_run(trap: Trap, tmp_path: Path) -> None:
    tasks, notes = tmp_path / "suite", tmp_path / "notes"
    for place in (tasks, notes):
        trap.lay(place)
    rows = [
        {"id": f"t{n}", "world": f"w{n % 3}", "prompt": f"What is {n} + 1?", "answer": str(n + 1)}
        for n in range(60)
    ]
    (tasks / "tasks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (notes / "MEMORY.md").write_text("- The code of pump Birch is 7413.\n")
    suite = (f"suite.path={tasks / 'tasks.jsonl'}", "suite=jsonl", f"start.folder={notes}")
    run(surrogate(tmp_path, *TINY, *suite), tmp_path / "runs" / "x")


def version(folder: Path, adapter: Path | None = None) -> ModelVersion:
    known = compose.load([]).model.versions["smollm2-135m@r0"]
    held = CheckpointConfig(kind="folder", path=str(folder))
    one = VersionConfig(held, str(adapter or ""), context_window=known.context_window)
    return lookup(registry(ModelConfig("shelf", {"mine@r0": one})), "mine@r0")


def test_a_pickled_adapter_is_refused(trap: Trap, tmp_path: Path) -> None:
    checkpoint, adapter = tmp_path / "model", tmp_path / "adapter"
    for place in (checkpoint, adapter):
        trap.lay(place, "modeling_x")
    (checkpoint / "config.json").write_text("{}")
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(trap))
    with pytest.raises(LineageError, match=r"missing \(\S+adapter_model\.safetensors\)"):
        locate(version(checkpoint, adapter), tmp_path)


def test_code_of_a_checkpoint_and_pickled_weights_are_not_run(trap: Trap, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from lineage.models.sft import load_base

    coded, pickled = tmp_path / "coded", tmp_path / "pickled"
    trap.lay(coded, "modeling_x", "configuration_x", "tokenization_x")
    mapped = {"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "modeling_x.X"}
    (coded / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": mapped}))
    assert locate(version(coded), tmp_path).checkpoint == coded.resolve()
    with pytest.raises(ValueError, match=r"custom code|trust_remote_code"):
        load_base(str(coded), "float32")
    pickled.mkdir()
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 8}
    heads = {"num_attention_heads": 1, "num_key_value_heads": 1}
    about = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **small, **heads}
    (pickled / "config.json").write_text(json.dumps(about))
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps(trap))
    with pytest.raises(Exception, match=r"(?i)weights.only|unpickl|pickle"):
        load_base(str(pickled), "float32")
    shutil.rmtree(pickled)


@pytest.mark.cluster
def test_nothing_listens_beyond_this_machine_while_a_run_goes_on(tmp_path: Path) -> None:
    heard, looks, over = set[str](), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            heard.update(heard_outside())
            looks[0] += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        hosted = ("engine.hosted=true", "run.shards=2", "engine.start_timeout_s=120")
        run(surrogate(tmp_path, "experiment.lineages=4", *hosted), tmp_path / "runs" / "x")
    finally:
        over.set()
        thread.join()
    assert looks[0] > 2 and not heard
