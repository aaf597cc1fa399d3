"""The table of the benchmarks: its ratios, their verdicts, what is kept, and its page."""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import run as execute
from helpers import surrogate
from rich.console import Console

from lineage.core.errors import LineageError
from lineage.log.sittings import read_sittings
from lineage.models.protocol import Request, Turn

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
MODULES = ("ratios", "page", "bench", "real_runs", "fleet", "profiles")


@pytest.fixture(scope="module")
def modules() -> Iterator[Mapping[str, ModuleType]]:
    """Files of benchmarks/, as each other's imports find them."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(FOLDER))
        for name in MODULES:
            sys.modules.pop(name, None)


def _ratios(modules: Mapping[str, ModuleType]) -> tuple[Any, ...]:
    kinds, target = modules["ratios"].Ratio, modules["ratios"].Target
    return (
        kinds("one", "a", "b", "s", "first", target(1.0), reason="b is fast"),
        kinds("two", "c", "d", "s", "second", target(0.9, more_is_better=True)),
        kinds("three", "e", "f", "s", "second"),
    )


def _result(modules: Mapping[str, ModuleType], ratio: Any, *above: float) -> dict[str, Any]:
    measured = modules["ratios"].Measured(above, (1.0,) * len(above), {"rows": 12.0})
    found: dict[str, Any] = modules["ratios"].result(ratio, measured, {"date": "2026-01-02"})
    return found


def test_the_page_is_what_the_results_give(modules: Mapping[str, ModuleType]) -> None:
    bench = modules["bench"]
    text = bench.PAGE.read_text(encoding="utf-8")
    wanted = bench.filled(text, bench.RATIOS, bench.stored(bench.RESULTS))
    assert text == wanted, "make it anew: python benchmarks/bench.py --write"


def test_what_is_kept_is_registered_with_the_same_target(
    modules: Mapping[str, ModuleType],
) -> None:
    bench = modules["bench"]
    assert len(bench.BY_NAME) == len(bench.RATIOS)
    kept = bench.stored(bench.RESULTS)
    assert kept.keys() <= bench.BY_NAME.keys()
    for name, found in kept.items():
        target = bench.BY_NAME[name].target
        assert found["target"] == (None if target is None else str(target)), name
        assert found["unit"] == bench.BY_NAME[name].unit and found["n"] >= 2, name
        assert found["commit"] and found["machine"]["cores"] and found["date"], name


def test_a_registered_ratio_is_one_that_its_module_gives(
    modules: Mapping[str, ModuleType],
) -> None:
    for one in modules["bench"].RATIOS:
        text = (FOLDER / f"{one.module}.py").read_text(encoding="utf-8")
        assert "def ratios(setup: Setup)" in text, one.module
        head, _, tail = one.name.rpartition("-")
        assert f'"{one.name}"' in text or f"{head}-{{" in text or f'-{tail}"' in text, one.name


def test_a_ratio_is_of_means_with_an_interval_over_pairs(
    modules: Mapping[str, ModuleType],
) -> None:
    ratios = modules["ratios"]
    above, below = (2.0, 4.0, 6.0, 8.0), (1.0, 2.0, 3.0, 4.0)
    value, low, high = ratios.estimate(ratios.Measured(above, below), ratios.AMOUNT)
    assert value == 2.0 and low < 2.0 < high
    # Apart they spread by more than half, but the two of a pair go together.
    assert high - low < 0.7
    share, low, high = ratios.estimate(ratios.Measured(below, above), ratios.SHARE)
    assert share == 0.5 and 0.0 < low < 0.5 < high < 1.0
    assert ratios.estimate(ratios.Measured((3.0,), (2.0,)), ratios.AMOUNT) == (1.5, None, None)
    for wrong in (((), ()), ((1.0, 2.0), (1.0,)), ((float("nan"), 1.0), (1.0, 1.0))):
        with pytest.raises(ValueError, match=r"a ratio needs|finite"):
            ratios.estimate(ratios.Measured(*wrong), ratios.AMOUNT)


@pytest.mark.parametrize(
    ("low", "high", "less", "more"),
    [
        (0.8, 0.9, "met", "not met"),
        (1.1, 1.2, "not met", "met"),
        (0.9, 1.1, "open", "open"),
        (None, None, "open", "open"),
        (0.9, 1.0, "met", "open"),
        (1.0, 1.1, "open", "met"),
    ],
)
def test_a_target_is_met_by_a_whole_interval(
    low: float | None, high: float | None, less: str, more: str, modules: Mapping[str, ModuleType]
) -> None:
    target = modules["ratios"].Target
    assert target(1.0).verdict(low, high) == less
    assert target(1.0, more_is_better=True).verdict(low, high) == more


def test_both_are_asked_in_turn_and_the_first_time_is_left_out(
    modules: Mapping[str, ModuleType],
) -> None:
    ratios, asked, values = modules["ratios"], list[str](), iter(range(100))

    def of(name: str) -> float:
        asked.append(name)
        return float(next(values))

    found = ratios.in_turn(lambda: of("a"), lambda: of("b"), ratios.Setup(repeats=2))
    assert asked == ["a", "b"] * 3
    assert found == ((2.0, 4.0), (3.0, 5.0))


def test_the_answer_says_how_many_targets_are_met(modules: Mapping[str, ModuleType]) -> None:
    ratios, answer = _ratios(modules), modules["ratios"].answer
    assert answer(ratios, {}) == "0 of 2 targets are met; 2 were not measured yet."
    one = {"one": _result(modules, ratios[0], 0.5, 0.5, 0.51)}
    assert answer(ratios, one) == "1 of 2 targets are met; 1 was not measured yet."
    both = {**one, "two": _result(modules, ratios[1], 0.5, 0.5, 0.51)}
    assert answer(ratios, both) == "1 of 2 targets are met; 1 is not."
    both["one"] = _result(modules, ratios[0], 0.2, 2.0)
    assert "1 is open: the interval holds the target" in answer(ratios, both)


def test_the_page_shows_what_was_missed_and_what_was_never_measured(
    modules: Mapping[str, ModuleType],
) -> None:
    ratios, page = _ratios(modules), modules["page"]
    assert page.markdown(ratios, {}).count("n/a | n/a | n/a | n/a") == len(ratios)
    results = {"one": _result(modules, ratios[0], 2.0, 2.0, 2.1)}
    shown = page.markdown(ratios, results)
    assert "| `one` | a / b | 2.03 [" in shown and "not met: b is fast |" in shown
    assert "| `one` | rows 12 |" in shown
    assert "2026-01-02, n/a, n/a cores, other work n/a, commit n/a, Python n/a | `one` |" in shown
    with pytest.raises(LineageError, match="<!-- ratios -->"):
        page.filled("nothing here", ratios, results)


def test_what_is_measured_is_kept_whatever_comes_after(
    tmp_path: Path, modules: Mapping[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, ratios, made = modules["bench"], _ratios(modules), modules["ratios"].Measured
    monkeypatch.setattr(bench, "BY_NAME", {one.name: one for one in ratios})
    file, said = tmp_path / "results.json", io.StringIO()
    earlier = {"three": _result(modules, ratios[2], 5.0, 5.1), "gone": {"ratio": 1.0}}
    file.write_text(json.dumps(earlier))

    def measured(name: str, setup: Any) -> Mapping[str, Any]:
        if name == "second":
            raise KeyboardInterrupt
        return {"one": made((1.0, 2.0), (2.0, 4.0))}

    console = Console(file=said, width=200)
    setup = modules["ratios"].Setup()
    with pytest.raises(KeyboardInterrupt):
        bench.measure(ratios, setup, console, file, measured)
    kept = bench.stored(file)
    # In the order of the registry; what that has no more is dropped.
    assert list(kept) == ["one", "three"] and kept["one"]["ratio"] == 0.5
    assert kept["three"] == earlier["three"]
    assert kept["one"]["libraries"]["lineage"] and kept["one"]["machine"]["python"]
    assert "others" in kept["one"] and not [*tmp_path.glob(".*")]

    def failing(name: str, setup: Any) -> Mapping[str, Any]:
        if name == "first":
            raise OSError("the disk is full")
        return {"two": made((1.0, 1.0), (1.0, 1.0)), "three": made((3.0, 3.0), (1.0, 1.0))}

    assert bench.measure(ratios, setup, console, file, failing) == ["one"]
    assert "first: not measured: the disk is full" in said.getvalue()
    assert [one["ratio"] for one in bench.stored(file).values()] == [0.5, 1.0, 3.0]


def test_some_are_chosen_by_name_or_without_a_real_engine(
    modules: Mapping[str, ModuleType],
) -> None:
    bench = modules["bench"]
    names = [one.name for one in bench.choose("doc-search,log-share", False)]
    assert names == ["log-share", "doc-search"]
    without = bench.choose("", True)
    assert without and not any(one.engine for one in without)
    assert len(bench.choose("", False)) == len(bench.RATIOS) > len(without)
    with pytest.raises(LineageError, match="did you mean 'log-share'"):
        bench.choose("log-shar", False)


def test_batches_of_requests_are_of_one_kind_and_none_is_asked_twice(
    modules: Mapping[str, ModuleType],
) -> None:
    fleet = modules["fleet"]
    turns = (Turn("user", "Why?"),)
    requests = [
        Request(f"q{number}", "v", turns, 8, 0.0, 0, {} if number % 2 else None)
        for number in range(400)
    ]
    batches = fleet.batched(requests, 2, small=False)
    assert {name: [len(one) for one in of] for name, of in batches.items()} == {
        "": [fleet.WARM],
        **{
            f"fleet-{size}{kind}": [size] * often
            for kind in ("", "-handoffs")
            for size, often in ((16, 4), (64, 2))
        },
    }
    registered = [one.name for one in modules["bench"].RATIOS if one.module == "fleet"]
    assert registered == [*batches][1:]
    asked = [(name, one) for name, of in batches.items() for batch in of for one in batch]
    assert len({one.id for _, one in asked}) == len(asked)
    assert all((one.schema is not None) == ("handoffs" in name) for name, one in asked)
    with pytest.raises(LineageError, match="too few requests"):
        fleet.batched(requests[:50], 2, small=False)


def test_the_log_of_a_run_tells_its_successions(
    tmp_path: Path, modules: Mapping[str, ModuleType]
) -> None:
    """A run of the surrogate has no engine to start: its record is made to say that it had."""
    real, folder = modules["real_runs"], tmp_path / "runs" / "one"
    execute(surrogate(tmp_path, "experiment=tiny"), folder)
    record = json.loads((folder / "run.json").read_bytes())
    (sitting,) = read_sittings(folder)
    record["began"] = sitting.began - 50.0
    (folder / "run.json").write_text(json.dumps(record))
    found = real.successions(folder)
    lineages = 3 * len(record["arms"])
    assert len(found.above) == lineages and all(0.0 <= gap < 50.0 for gap in found.above)
    assert found.below == pytest.approx((50.0,) * lineages)
    assert found.origin["experiment"] == "tiny"
    assert max(found.above) <= found.figures["longest, seconds"]
    again = (folder / "sittings.json").read_text().rstrip("] \n")
    (folder / "sittings.json").write_text(f"{again},{again.lstrip('[')}]")
    with pytest.raises(LineageError, match="worked on 2 times"):
        real.successions(folder)
    with pytest.raises(LineageError, match="no finished run of a real engine"):
        real.newest(tmp_path / "runs")


def test_costs_are_of_modules_and_libraries(modules: Mapping[str, ModuleType]) -> None:
    profiles = modules["profiles"]
    ours = str(profiles.PACKAGE / "log" / "writer.py")
    theirs = str(profiles.SITE / "pyarrow" / "parquet" / "core.py")
    costs = {
        (ours, 10, "append"): (2, 2, 0.5, 3.0, {}),
        (ours, 20, "finish"): (1, 1, 1.0, 2.5, {}),
        (theirs, 5, "write"): (3, 3, 1.25, 1.25, {}),
        ("~", 0, "<built-in posix.fsync>"): (4, 4, 2.0, 2.0, {}),
    }
    assert profiles.largest(costs, "module", 2) == [
        ("Python: <built-in posix.fsync>", 2.0, 4),
        ("lineage.log.writer", 1.5, 3),
    ]
    assert profiles.largest(costs, "function", 9)[1:] == [
        ("pyarrow:5 write", 1.25, 3),
        ("lineage.log.writer:20 finish", 1.0, 1),
        ("lineage.log.writer:10 append", 0.5, 2),
    ]
    assert [name for name, *_ in profiles.largest(costs, "calls", 9)] == [
        "lineage.log.writer:10 append",
        "lineage.log.writer:20 finish",
    ]


def test_what_prompts_share_is_a_tree(modules: Mapping[str, ModuleType]) -> None:
    shareable = modules["real_runs"].shareable
    prompts = [[1, 2, 3, 4, 5], [1, 2, 9, 4, 5], [1, 2, 9, 4, 6], [7, 7], [1, 2, 3, 4, 5]]
    # The last token of a prompt is never held, whoever has read it before.
    assert shareable(prompts) == [0, 2, 4, 0, 4]
    assert shareable(prompts, 2) == [0, 2, 4, 0, 4]
    assert shareable(prompts, 3) == [0, 0, 3, 0, 3]
    assert sum(shareable(prompts)) == sum(shareable(prompts[::-1]))
