"""Pictures of a run on the surrogate and of a training: what they show, and when there are none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest
from helpers import FULL, run, surrogate
from test_training_report import LOG, training

from lineage.inspect.snapshots import Snapshots
from lineage.log.place import Place
from lineage.log.views.connect import rows
from lineage.log.views.gathering import gathered
from lineage.metrics import summarise_all
from lineage.metrics.training import summarise_training
from lineage.report import figures
from lineage.report.canvas import STYLES, spread
from lineage.report.figures.memory import PARTS, turnover_sql
from lineage.report.figures.retention import LARGEST
from lineage.report.figures.scores import LINE, TOP
from lineage.report.lookup import rows_of
from lineage.report.page import pictured

EMPTY: dict[str, Any] = {
    "arms": ["inherit"], "families": ["same"], "schedule": ["m@r0"],
    "defined": {}, "metrics": {},
}  # fmt: skip
GENERATIONS = 3
METRICS = ("scores", "scores_by_generation", "retention", "memory_size", "reward", "doc_search")
"""What the pictures ask for."""
OF_SUMMARY = (
    figures.score_by_generation,
    figures.retention_matrix,
    figures.memory_growth,
    figures.reward_by_generation,
    figures.doc_search_reliability,
)


LONGEST = (figures.score_by_generation, figures.retention_matrix)
"""Pictures with the most to draw a generation: of lines, and of cells."""
AGAIN = range(8) if FULL else (1, 2, 7)
"""Numbers of a matrix, of lines and of a tree among the pictures."""
ON_A_PAGE = range(8) if FULL else (0, 1, 5, 7)
"""Those that are drawn for a page: of each kind one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose migrations drop and rebuild, and whose lineages revise unlike each other."""
    tmp = tmp_path_factory.mktemp("pictures")
    versions = ["smollm2-135m@r0", *["smollm2-135m@r1"] * (GENERATIONS - 1)]
    few = (
        "arms.names=[verbatim,rebuild,cold]",
        f"schedule.versions=[{','.join(versions)}]",
        "experiment.lineages=2",
        "experiment.episodes=2",
        *("experiment.working_generations=2", "experiment.revisit=0.5", "suite.drift=0.5"),
        "experiment.probes={same: 2, similar: 1, dissimilar: 1}",
    )
    config = surrogate(tmp, "experiment=migrations", *few)
    folder = tmp / "runs" / "migrations"
    run(config, folder)
    return folder


@pytest.fixture(scope="module")
def log(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Its log, as a report reads it."""
    with gathered(folder) as log:
        yield log


@pytest.fixture(scope="module")
def made(folder: Path, log: duckdb.DuckDBPyConnection) -> tuple[Path, dict[str, Any]]:
    """It and its metrics."""
    (summary,) = summarise_all(log, METRICS).values()
    (folder / "metrics.json").write_text(json.dumps(summary))
    return folder, summary


@pytest.fixture(scope="module")
def every(made: Any, log: duckdb.DuckDBPyConnection) -> list[Any]:
    """Each picture of it."""
    return drawn(made[1], log)


def drawn(summary: dict[str, Any], log: duckdb.DuckDBPyConnection) -> list[Any]:
    return [draw() for draw in pictures(summary, log)]


def pictures(summary: dict[str, Any], log: duckdb.DuckDBPyConnection) -> list[Callable[[], Any]]:
    arms = summary["arms"]
    return [
        *(partial(draw, summary) for draw in OF_SUMMARY),
        partial(figures.memory_turnover, log, arms),
        partial(figures.memory_turnover, log, arms, "docs"),
        partial(figures.lineage_tree, log, arms, 1),
    ]


SEEN = (
    *("text", "position", "xy", "width", "height", "xydata", "paths", "array"),
    *("color", "facecolor", "hatch", "linestyle", "marker", "url"),
)
"""What each part of a picture may say of its place and look."""


def parts(figure: Any) -> list[str]:
    """Return what is drawn in the panels of a figure."""
    found = []
    for axis in figure.axes:
        for one in (*axis.lines, *axis.patches, *axis.collections, *axis.texts):
            getters = [getattr(one, f"get_{name}", None) for name in SEEN]
            found.append(repr([getter() for getter in getters if getter]))
    return found


BEGIN = {"svg": b"<?xml", "png": b"\x89PNG"}


def assert_same(one: Any, again: Any, kinds: Iterable[str]) -> None:
    """Assert that two figures are the same, and so are their bytes of `kinds`."""
    assert parts(one) == parts(again)
    for kind in kinds:
        given = figures.picture_bytes(one, kind)
        assert given == figures.picture_bytes(again, kind)
        assert given.startswith(BEGIN[kind])


def texts(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_each_picture_asks_names_its_axes_and_comes_out_the_same_twice(
    made: Any, log: duckdb.DuckDBPyConnection, every: list[Any]
) -> None:
    for number, (one, draw) in enumerate(zip(every, pictures(*made[1:], log), strict=True)):
        assert one.get_suptitle().endswith("?")
        for axis in one.axes:
            assert axis.get_xlabel()
            assert axis.get_ylabel() or [label.get_text() for label in axis.get_yticklabels()]
        # The same parts give the same bytes: as PNG here, as SVG where a training is drawn.
        if number in AGAIN:
            assert_same(one, draw(), BEGIN if FULL else ("png",) * (number == 2))


def test_what_is_drawn_stays_within_its_cell(every: list[Any]) -> None:
    for figure in every:
        renderer = figure.canvas.get_renderer()
        lefts = sorted({axis.get_position().x0 for axis in figure.axes})
        width = figure.bbox.width / len(lefts)
        for axis in figure.axes:
            box = axis.get_tightbbox(renderer)
            column = lefts.index(axis.get_position().x0)
            assert column * width - 1 <= box.x0 and box.x1 <= (column + 1) * width + 1
            assert box.y0 >= -1


def test_words_of_a_panel_do_not_cover_each_other(every: list[Any]) -> None:
    for figure in every:
        assert_apart(figure)


def assert_apart(figure: Any) -> None:
    renderer = figure.canvas.get_renderer()
    for axis in figure.axes:
        said = [text for text in axis.texts if text.get_text().strip()]
        boxes = [text.get_window_extent(renderer).shrunk(0.9, 0.7) for text in said]
        covered = [
            (a.get_text(), b.get_text())
            for i, (a, box) in enumerate(zip(said, boxes, strict=True))
            for b, other in zip(said[:i], boxes[:i], strict=True)
            if box.overlaps(other)
        ]
        assert not covered


def test_nothing_to_show_is_no_picture(log: duckdb.DuckDBPyConnection) -> None:
    assert [draw(EMPTY) for draw in OF_SUMMARY] == [None] * len(OF_SUMMARY)
    assert figures.memory_turnover(log, ["cold"]) is None
    assert figures.lineage_tree(log, ["inherit"], 99) is None
    assert figures.reward_by_step({"by_step": []}) is None
    assert figures.training_by_step({"by_step": []}) is None
    assert pictured([None, None]) == ""


def test_turnover_is_that_of_the_snapshots(log: duckdb.DuckDBPyConnection) -> None:
    snapshots = Snapshots(log)
    for entries in ("memories", "docs"):
        expected: dict[tuple[str, int], list[int]] = {}
        for place, id in snapshots.left.items():
            before = snapshots.left.get(
                Place(place.arm, place.pair, place.lineage, place.generation - 1)
            )
            old = _texts(snapshots.get(before) if before else None, entries)
            new = _texts(snapshots.get(id), entries)
            counts = expected.setdefault((place.arm, place.generation), [0] * len(PARTS))
            counts[0] += sum(old.get(key) == text for key, text in new.items())
            counts[1] += sum(old.get(key, text) != text for key, text in new.items())
            counts[2] += len(new.keys() - old.keys())
            counts[3] += len(old.keys() - new.keys())
        found = rows(log, turnover_sql(entries))  # type: ignore[arg-type]
        assert {
            (row["arm"], row["generation"]): [row[part] * row["lineages"] for part in PARTS]
            for row in found
        } == expected
    by = {(row["arm"], row["generation"]): row for row in rows(log, turnover_sql("docs"))}
    assert by["rebuild", 1]["dropped"] > 0, "the run is one where entries go"
    revised = [row["revised"] for row in rows(log, turnover_sql("memories"))]
    assert any(mean % 1 for mean in revised), "and one whose lineages differ"


def _texts(knowledge: Any, entries: str) -> dict[str, str]:
    if knowledge is None:
        return {}
    if entries == "memories":
        return {memory.id: memory.text for memory in knowledge.memories}
    return {doc.id: f"{doc.title}\n{doc.body}" for doc in knowledge.docs}


def test_scores_are_those_of_the_metrics(made: Any) -> None:
    _, summary = made
    figure = figures.score_by_generation(summary)
    assert figure is not None
    for axis, family in zip(figure.axes, summary["families"], strict=True):
        assert axis.get_title(loc="left") == f"{family} tasks"
        marked = [line for line in axis.lines if line.get_marker() != "None"]
        lines = [line for line in marked if len(line.get_ydata()) == GENERATIONS - 1]
        # Generation 0 inherits nothing: its marks are hollow and on no line.
        first = [line for line in axis.lines if line.get_markerfacecolor() == "none"]
        drawn = [
            [*mark.get_ydata(), *line.get_ydata()] for mark, line in zip(first, lines, strict=True)
        ]
        expected = [
            [p["mean"] for p in rows_of(summary, "scores_by_generation", arm=arm, family=family)]
            for arm in summary["arms"]
        ]
        assert drawn == expected
        assert all(abs(mark.get_xdata()[0]) < 0.5 for mark in first)
        assert "inherits nothing" in texts(axis)
        assert set(summary["arms"]) <= set(texts(axis))


@pytest.mark.parametrize("count", [1, 9, 12] if FULL else [1, 12])
def test_every_arm_is_named_however_many(made: Any, count: int) -> None:
    _, summary = made
    arms = [f"arm{number}" for number in range(count)]
    points = rows_of(summary, "scores_by_generation", arm="cold")
    scores = [{**point, "arm": arm} for arm in arms for point in points]
    many = {**summary, "arms": arms, "metrics": {"scores_by_generation": scores}}
    figure = figures.score_by_generation(many)
    assert figure is not None
    assert all(set(arms) <= set(texts(axis)) for axis in figure.axes)
    assert_apart(figure)


def test_labels_do_not_cover_each_other() -> None:
    for values in ([0.0, 0.0, 0.0], [1.0] * 6, [0.5, 0.51, 1.0, 0.99]):
        places = sorted(spread(values, LINE, TOP))
        assert all(b - a >= LINE - 1e-9 for a, b in pairwise(places))
        assert places[-1] <= TOP


def test_the_retention_matrix_writes_each_score(made: Any) -> None:
    cells = [
        {
            "arm": "inherit",
            "generation": g,
            "met": met,
            "mean": (g + met) / 10,
            "low": 0,
            "high": 1,
        }
        for g in range(4)
        for met in range(g + 1)
    ]
    summary = {"arms": ["inherit", "cold"], "metrics": {"retention": cells}}
    side = range(LARGEST)
    most = [{"arm": "cold", "generation": g, "met": met, "mean": 0.5} for g in side for met in side]
    figure = figures.retention_matrix({**summary, "metrics": {"retention": most}})
    assert figure is not None and len(texts(figure.axes[0])) == LARGEST**2
    assert_apart(figure)
    figure = figures.retention_matrix(summary)
    assert figure is not None
    (axis,) = figure.axes
    assert sorted(texts(axis)) == sorted(f"{cell['mean']:.2f}" for cell in cells)
    large = [{**cells[0], "generation": g, "met": 0} for g in range(30)]
    figure = figures.retention_matrix({**summary, "metrics": {"retention": large}})
    assert figure is not None
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["inherit", "scale"]
    assert not texts(figure.axes[0])


def test_the_tree_links_each_generation(made: Any, log: duckdb.DuckDBPyConnection) -> None:
    _, summary = made
    links = {(f"000-{arm}", g): f"#{arm}{g}" for arm in summary["arms"] for g in range(GENERATIONS)}
    tree = figures.lineage_tree(log, summary["arms"], 0, links)
    assert tree is not None
    (drawn,) = figures.panels_svg(tree, "tree", "a tree", whole=True)
    assert set(re.findall(r'<a xlink:href="(#\w+)"', drawn)) == set(links.values())
    assert "_blank" not in drawn


def test_panels_of_a_page_are_whole_svgs_and_share_no_id(every: list[Any]) -> None:
    shown = [
        panel
        for number, figure in enumerate(every)
        if number in ON_A_PAGE
        for panel in figures.panels_svg(figure, f"p{number}", "<what?>")
    ]
    ids: list[str] = []
    for panel in shown:
        spaced = panel.replace("<svg", '<svg xmlns:xlink="x"', 1)
        root = ElementTree.fromstring(spaced)
        assert math.prod(map(float, root.attrib["viewBox"].split()[2:])) > 0
        assert root.attrib["aria-label"].startswith("<what?>")
        assert "http" not in panel
        ids += [node.attrib["id"] for node in root.iter() if "id" in node.attrib]
    assert len(ids) == len(set(ids))
    asked = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', "".join(shown)))
    assert {a or b for a, b in asked} <= set(ids)


def test_styles_differ_without_their_colours() -> None:
    assert len({(str(dashes), marker) for _, dashes, marker in STYLES}) == len(STYLES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a training of two steps is summarised to."""
    return summarise_training(training(tmp_path_factory.mktemp("trained")), LOG)


@pytest.mark.parametrize("draw", [figures.reward_by_step, figures.training_by_step])
def test_a_training_is_drawn(trained: dict[str, Any], draw: Callable[..., Any]) -> None:
    figure = draw(trained)
    assert figure.get_suptitle().endswith("?")
    assert all(axis.get_xlabel() == "training step" for axis in figure.axes)
    if FULL or len(figure.axes) == 1:
        assert_same(figure, draw(trained), BEGIN if FULL else ("svg",))


def test_the_parts_of_a_reward_are_lines_of_their_own(trained: dict[str, Any]) -> None:
    figure = figures.reward_by_step(trained)
    assert figure is not None
    (axis,) = figure.axes
    names = axis.get_legend_handles_labels()[1]
    assert names == ["same", "memory", "reward: the sum"]


def test_a_long_lineage_stays_drawable(made: Any) -> None:
    # Of more than 60 generations the matrix leaves out some: else it would be 700,000 long.
    many, most, each = (500, 1_000_000, 2) if FULL else (64, 300_000, 1)
    points = [
        {"arm": "inherit", "family": "same", "generation": g, "mean": 0.5, "low": 0.4, "high": 0.6}
        for g in range(many)
    ]
    cells = [
        {"arm": "inherit", "generation": g, "met": met, "mean": 0.5}
        for g in range(0, many, each)
        for met in range(0, g + 1, each)
    ]
    by = [{"arm": "inherit", "generation": g} for g in range(many)]
    metrics = {
        "scores_by_generation": points,
        "retention": cells,
        "memory_size": [row | {"measure": "tokens", "mean": row["generation"]} for row in by],
        "reward": [row | {"part": part, "mean": 0.5} for row in by for part in ("reward", "same")],
    }
    summary = {**EMPTY, "schedule": ["m@r0"] * many, "metrics": metrics}
    for draw in OF_SUMMARY[:-1]:
        figure = draw(summary)
        assert figure is not None
        if FULL or draw in LONGEST:
            assert len("".join(figures.panels_svg(figure, "p", "what?"))) < most
        assert all(len(axis.get_xticks()) < 12 for axis in figure.axes)


def test_the_page_about_pictures_names_each_and_its_code_runs(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "pictures.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    assert named == set(figures.__all__) - {"panels_svg", "picture_bytes", "use_cache"}
    folder, _ = made
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "latest").symlink_to(folder)
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "docs/pictures.md", "exec"), {})
    assert (tmp_path / "turnover.svg").read_bytes().startswith(b"<?xml")
