"""What a training changed: figures by hand, the card, the page, and torn data."""

from __future__ import annotations

import io
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import lineage
from lineage import compose
from lineage.core.config import LogConfig
from lineage.core.errors import LineageError
from lineage.core.intervals import FREE, interval
from lineage.log.schema import CURVE_SCHEMA, TRAINING_SCHEMA
from lineage.metrics.training import summarise_training
from lineage.report.training_page import write_training
from lineage.report.training_tables import show_training, training_sheets
from lineage.training.card import card
from lineage.training.learners.learner import FIGURES
from lineage.training.ship import limits, ship

W1 = Path(lineage.__file__).parent / "adapters" / "smollm2-135m-w1"
LOG = LogConfig(journal_steps=1, confidence=0.9)
EVIL = "<script>alert('x')</script>\x00"


def alternative(step: int, group: str, number: int, reward: float | None, **more: Any) -> Any:
    """Return one row of `training`."""
    empty: dict[str, Any] = dict.fromkeys(TRAINING_SCHEMA.names)
    return empty | {
        "step": step,
        "kind": "rft" if step == 0 else "grpo",
        "curriculum": "signal",
        "group": group,
        "alternative": number,
        "version": "m@r0",
        "reward": reward,
        "learnt": number == 0,
        "opened": "",
        "error": "",
        **more,
    }


def curve(step: int, **more: Any) -> dict[str, Any]:
    """Return the row of `curve`: a step of 100 seconds, 40 of them for generating."""
    return {
        "step": step,
        "kind": "rft" if step == 0 else "grpo",
        "version": "m@r0",
        "samples": 4,
        "tokens_learnt": 400,
        "tokens_generated": 4000,
        "loss": 0.5,
        "grad_norm": 1.0,
        "kl": None,
        "entropy": 0.7,
        "seconds_generate": 40.0,
        "seconds_probe": 30.0,
        "seconds_learn": 20.0,
        "seconds_sync": 5.0,
        "seconds": 100.0,
        **more,
    }


def write(folder: Path, name: str, step: int, found: list[dict[str, Any]]) -> Path:
    schema = {"training": TRAINING_SCHEMA, "curve": CURVE_SCHEMA}[name]
    file = folder / name / f"step={step}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(found, schema=schema), file)
    return file


def training(folder: Path, evil: str = "") -> Path:
    """Write a training of two steps whose second writes shorter, copied memories."""
    first = [
        alternative(0, "g0", 0, 0.4, reward_same=0.5, reward_memory=-0.1, memory_tokens=40),
        alternative(0, "g0", 1, 0.2, reward_same=0.3, reward_memory=-0.1, memory_tokens=20),
        # One of two fails: the group's mean is that of the other, and it weighs as much.
        alternative(0, "g1", 0, 0.9, reward_same=0.9, reward_memory=0.0, memory_tokens=10),
        alternative(0, "g1", 1, None, error=evil or "no engine"),
        *(
            alternative(0, "g2", n, 1.0, curriculum="open", opened=opened)
            for n, opened in enumerate(("needed", "needed", "needed", "vain", "missed", "spared"))
        ),
    ]
    for row in first:
        row["copied"], row["entropy"], row["completion_tokens"] = 0.1, 1.0, 30
    second = [
        alternative(1, f"g{n}", 0, 0.8 + n / 10, memory_tokens=5, copied=0.6, entropy=float("nan"))
        for n in range(3)
    ]
    write(folder, "training", 0, first)
    write(folder, "training", 1, second)
    write(folder, "curve", 0, [curve(0)])
    write(folder, "curve", 1, [curve(1, seconds=300.0, loss=float("inf"))])
    return folder


def test_means_are_over_groups(tmp_path: Path) -> None:
    summary = summarise_training(training(tmp_path), LOG)
    cells = {(p["step"], p["curriculum"]): p for p in summary["by_curriculum"]}
    assert list(cells) == [(0, "open"), (0, "signal"), (1, "signal")]
    signal = cells[0, "signal"]
    assert (signal["groups"], signal["alternatives"]) == (2, 4)
    assert signal["reward"]["mean"] == pytest.approx((0.3 + 0.9) / 2)
    assert signal["reward_same"] == pytest.approx((0.4 + 0.9) / 2)
    assert signal["reward_memory"] == pytest.approx(-0.05)
    assert signal["reward_similar"] is None
    assert signal["memory_tokens"] == pytest.approx((30 + 10) / 2)
    assert signal["failed"] == 0.25
    assert signal["learnt"] == 0.5
    expected = interval({0: 0.3, 1: 0.9}, 0.9, FREE)
    assert signal["reward"]["low"] == pytest.approx(expected.low)
    assert signal["reward"]["high"] == pytest.approx(expected.high)
    whole = summary["by_step"][0]
    assert whole["reward"]["mean"] == pytest.approx((0.3 + 0.9 + 1.0) / 3)
    assert whole["reward"]["n"] == 3


def test_opening_is_told_by_precision_and_recall(tmp_path: Path) -> None:
    opened = summarise_training(training(tmp_path), LOG)["by_step"]
    counts = {"needed": 3, "vain": 1, "missed": 1, "spared": 1}
    assert opened[0]["opened"] == counts | {"precision": 0.75, "recall": 0.75}
    assert opened[1]["opened"]["precision"] is None


def test_time_adds_up_to_the_whole(tmp_path: Path) -> None:
    summary = summarise_training(training(tmp_path), LOG)
    times = {"generate": 40.0, "probe": 30.0, "learn": 20.0, "sync": 5.0, "other": 5.0}
    assert summary["by_step"][0]["time"] == times
    assert summary["by_step"][1]["time"]["other"] == 205.0
    parts = summary["time"]["parts"]
    assert summary["time"]["seconds"] == 400.0
    assert parts["generate"] == {"seconds": 80.0, "share": 0.2}
    assert sum(part["share"] for part in parts.values()) == pytest.approx(1.0)


def test_what_is_not_finite_is_missing(tmp_path: Path) -> None:
    step = summarise_training(training(tmp_path), LOG)["by_step"][1]
    assert step["entropy"] is None
    assert step["loss"] is None
    assert step["policy_entropy"] == 0.7


def test_a_step_counts_when_it_is_finished(tmp_path: Path) -> None:
    write(training(tmp_path), "training", 2, [alternative(2, "g0", 0, 1.0)])
    summary = summarise_training(tmp_path, LOG)
    assert [step["step"] for step in summary["by_step"]] == [0, 1]
    assert {point["step"] for point in summary["by_curriculum"]} == {0, 1}


def test_signs_of_another_way_to_the_reward(tmp_path: Path) -> None:
    assert summarise_training(training(tmp_path), LOG)["signs"] == [
        "signal: memory tokens fell 20.00 -> 5.00 while reward rose 0.60 -> 0.90",
        "signal: the copied share rose 0.10 -> 0.60 while reward rose 0.60 -> 0.90",
    ]
    worse = [alternative(1, "g0", 0, 0.1, memory_tokens=5, copied=0.6)]
    write(tmp_path, "training", 1, worse)
    assert summarise_training(tmp_path, LOG)["signs"] == []


def test_the_report_is_written_beside_the_data_and_runs_nothing(tmp_path: Path) -> None:
    # A "=" above would be a partition to DuckDB; a quote and a bracket would end its pattern.
    folder = training(tmp_path / "step=7" / "it's [one]", EVIL)
    (folder / "config.yaml").write_text("name: <b>")
    summary = write_training(folder, tmp_path / "cache", LOG)
    assert json.loads((folder / "training.json").read_text()) == summary
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "training.html").read_text()
    assert page.count("<figcaption>") == 2 and "<svg" in page
    assert "name: &lt;b&gt;" in page
    assert "memory tokens fell" in page
    assert "http:" not in page and "https:" not in page
    assert "NaN" not in (folder / "training.json").read_text()
    # What a model wrote is escaped.
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x00" not in page


def test_the_terminal_shows_a_row_a_step(tmp_path: Path) -> None:
    summary = summarise_training(training(tmp_path, "[red]"), LOG)
    out = io.StringIO()
    show_training(summary, Console(file=out, width=120))
    lines = out.getvalue().splitlines()
    assert any(line.split()[:3] == ["0", "rft", "0.73"] for line in lines)
    assert any(line.split()[:3] == ["1", "grpo", "0.90"] for line in lines)
    assert any("look at its samples: signal: memory tokens fell" in line for line in lines)
    titles = [sheet.title for sheet in training_sheets(summary)]
    assert "signal: reward by step" in titles
    assert "why did alternatives fail?" in titles


def test_a_training_where_everything_failed_can_be_shown(tmp_path: Path) -> None:
    write(tmp_path, "training", 0, [alternative(0, "g0", 0, None, error="no engine")])
    write(tmp_path, "curve", 0, [curve(0, samples=0, loss=None, seconds=0.0)])
    summary = write_training(tmp_path, tmp_path / "cache", LOG)
    assert summary["by_step"][0]["reward"]["mean"] is None
    assert summary["time"]["parts"]["learn"]["share"] is None
    show_training(summary, Console(quiet=True))


def test_no_step_and_torn_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match=r"has no finished training step yet \(nothing in curve"):
        write_training(tmp_path, tmp_path / "cache", LOG)
    file = write(training(tmp_path), "training", 2, [])
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(LineageError, match=r"step=2\.parquet is no whole Parquet file") as raised:
        write_training(tmp_path, tmp_path / "cache", LOG)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "training.html").exists()


@cache
def record() -> dict[str, Any]:
    tree = compose.plain(compose.load([]))
    held = {
        "measure": "total",
        "before": {"mean": 0.1, "low": 0.0, "high": 0.2},
        "after": {"mean": 0.4, "low": 0.3, "high": 0.5},
        "gain": {"mean": 0.3, "low": None, "high": None},
        "pairs": 24,
    }
    return {
        "name": "smollm2-135m@w1",
        "parent": "smollm2-135m@r0",
        "base": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "method": tree["method"],
        "train": tree["train"],
        "curricula": {name: tree["curricula"][name] for name in ("signal", "open")},
        "reward": tree["reward"],
        "agent": tree["agent"],
        "seeds": {"training": '("train", "w1", 0 … 23)', "held out": '("held out", 0 … 23)'},
        "steps": 12,
        "parameters": 921_600,
        "minutes": 42.4,
        "device": "2 cores, no GPU",
        "libraries": {"trl": "1.16.0"},
        "confidence": 0.95,
        "licence": "Apache-2.0, as the base model's",
        "heldout": [held],
    }


def test_a_version_is_shipped_with_a_record_like_that_of_w1(tmp_path: Path) -> None:
    config = compose.load([f"model.shelf={tmp_path / 'shelf'}"])
    adapter, trained = tmp_path / "adapter", W1
    shutil.copytree(trained, adapter)
    (adapter / FIGURES).write_text(json.dumps({"device": "2 cores"}))
    (tmp_path / "curve.png").write_bytes(b"a picture")
    one = {"mean": 0.1, "low": 0.0, "high": 0.2, "n": 24}
    gain = {"curriculum": "open", "measure": "score", "before": one, "after": one, "gain": one}
    folder = ship(config, tmp_path, adapter, [gain], 42.4)
    made, known = (json.loads((of / "training.json").read_text()) for of in (folder, trained))
    assert made.keys() == known.keys()
    assert made["heldout"][0].keys() == known["heldout"][0].keys()
    assert made["heldout"][0]["gain"].keys() == known["heldout"][0]["gain"].keys()
    assert (made["parameters"], made["device"]) == (known["parameters"], "2 cores")
    assert (folder / "README.md").read_text() == card(made, limits(config))


def test_the_card_says_what_the_record_says() -> None:
    text = card(record(), "Only one suite.")
    assert text.startswith("# smollm2-135m@w1\n")
    assert "| parent | `smollm2-135m@r0` |" in text
    assert "| total | 24 | 0.10 [0.00, 0.20] | 0.40 [0.30, 0.50] | +0.30 |" in text
    assert "| cost | 42 minutes, 12 steps, on 2 cores, no GPU |" in text
    assert "| size | 1.8 MB: 921,600 parameters as bfloat16 |" in text
    assert "kind grpo, warm_steps 3" in text
    assert "**signal**: trains handoff" in text
    assert "(curve.png)" in text
    assert text.endswith("## Limits\n\nOnly one suite.\n")


def test_a_card_keeps_its_table_whole_and_says_where_nothing_was_measured() -> None:
    text = card(record() | {"device": "a | b\nc", "heldout": []}, "None.")
    assert "on a \\| b c |" in text
    assert "Not measured" in text
