"""How a table of the documentation is made of its stored file: Markdown, and the marked blocks.

A table is stored as a record of where its figures come from, with the rows of a long table (see
`long`). What the documentation shows is made of that record alone, between marks:

    <!-- table: NAME -->     the sentence that answers, the table and where it comes from
    <!-- output: NAME -->    what the run printed
    <!-- answers -->         every experiment with its question and the answer
    <!-- metrics -->         every metric, which needs no stored file
    <!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lineage.core.errors import LineageError, nearest
from lineage.metrics import METRICS
from lineage.metrics.docsearch import MEASURES
from lineage.report.lookup import Row, Summary, lost
from lineage.report.sheet import bounds, name, share
from lineage.report.tables import COSTS
from lineage.report.tables_truth import SEARCH

Record = Mapping[str, Any]

DEFAULT = "first-light"
"""The experiment of `lineage run` without overrides."""
NOTHING = "n/a"
END = "<!-- end -->"
BEGIN = re.compile(
    r"^<!-- (?:table|output): [\w-]+ -->$|^<!-- (?:answers|metrics) -->$", re.MULTILINE
)
BLOCK = re.compile(
    r"^(?P<begin><!-- (?P<kind>table|output|answers|metrics)(?:: (?P<name>[\w-]+))? -->)\n"
    rf"(?:(?!<!-- ).*\n)*?{END}$",
    re.MULTILINE,
)
STAR = "*"


def _counted(cell: Row) -> str:
    bare = f"{cell['mean']:,.0f}"
    return bare if cell["low"] is None else f"{bare} [{cell['low']:,.0f}, {cell['high']:,.0f}]"


FORMS: dict[str, Callable[[Row], str]] = {
    **dict.fromkeys(("prompt_tokens", "cached_tokens", "handoff_tokens"), _counted),
    "gain": lambda cell: bounds(cell, signed=True),
    **dict.fromkeys(
        (
            *("share_of_possible", "score_kept", "tokens_kept", "facts_kept", "harm"),
            *("facts_held", "staleness", "duplication", *MEASURES),
        ),
        share,
    ),
}
"""How the figures of a measure are written; those of others as a plain mean with its bounds."""
HEADS = {
    "share_of_possible": "of possible",
    "gain": "gain over cold",
    **{measure: head for measures in SEARCH.values() for measure, head in measures.items()},
    **{cost: head for cost, (head, _) in COSTS.items()},
    "signal_density": "facts a 100 tokens",
    "facts_held": "facts held",
    "staleness": "stale",
    "duplication": "doubled",
}
"""What stands above the column of a measure, where it is not the measure's own name."""


class Cells:
    """The rows of a table by what they are of, each written as the documentation writes it."""

    def __init__(self, rows: Sequence[Row], pairs: int, stars: Mapping[str, str]) -> None:
        self._cells = {_key(row): row for row in rows}
        self._pairs, self._stars = pairs, stars

    def at(self, measure: str, **by: str | int) -> str:
        """Return a figure with its bounds and its star, "n/a" where there is none.

        The star may be that of another measure of the same place. A figure of fewer pairs than
        the table's says how many.
        """
        cell = self._cells.get(_key({"measure": measure, **by}))
        if cell is None or cell["mean"] is None:
            return NOTHING
        marked = self._cells.get(_key({"measure": self._stars.get(measure, measure), **by}), {})
        text = FORMS.get(measure, bounds)(cell) + (STAR if marked.get("starred") else "")
        return text if cell["n"] == self._pairs else f"{text}, n = {cell['n']}"

    def best(self, measure: str, of: str, but: str = "", **by: str | int) -> str:
        """Return the value of `of`, none that is `but`, where `measure` is highest, or "n/a"."""
        found = [
            cell
            for cell in self._cells.values()
            if cell["measure"] == measure
            and cell["mean"] is not None
            and cell[of] != but
            and all(cell[key] == value for key, value in by.items())
        ]
        return str(max(found, key=lambda cell: cell["mean"])[of]) if found else NOTHING


@dataclass(frozen=True)
class Published:
    """A table of the documentation.

    A row of it is what the columns `down` of the long table are by, a column what `across` is:
    either measures, those of `shown`, or the values of another column, of the one measure `shown`.
    `stars` names by measure the one that its figures have their stars from. `says` is the sentence
    above the table, `note` what stands below; `asks` is the question of the experiment, where this
    is the table that answers it: with the run's own answer, unless it `answers` by `says`. `tested`
    names the measure whose stars it shows.
    """

    name: str
    experiment: str
    rows: Callable[[Summary], Iterator[Row]]
    shown: tuple[str, ...]
    says: Callable[[Cells], str]
    note: str
    down: tuple[str, ...] = ("arm",)
    across: str = "measure"
    asks: str = ""
    answers: bool = False
    tested: str = ""
    stars: Mapping[str, str] = field(default_factory=dict)

    @property
    def overrides(self) -> tuple[str, ...]:
        """What `lineage run` is given to make it."""
        return () if self.experiment == DEFAULT else (f"experiment={self.experiment}",)

    @property
    def leads(self) -> bool:
        """Whether it is the one that answers its experiment's question."""
        return self.name == self.experiment

    def answer(self, rows: Sequence[Row], pairs: int) -> str:
        """Return the sentence above the table, with the figures of `rows`."""
        return self.says(Cells(rows, pairs, self.stars))


def markdown(table: Published, record: Record) -> str:
    """Return what the documentation shows of a stored table: sentence, table, note, provenance."""
    cells = Cells(record["rows"], record["pairs"], table.stars)
    rows = [row for row in record["rows"] if row["measure"] in table.shown]
    over_measures = table.across == "measure"
    columns = table.shown if over_measures else tuple(dict.fromkeys(r[table.across] for r in rows))
    lines = [
        _line([*table.down, *(_head(table.across, value) for value in columns)]),
        _line(["---"] * len(table.down) + ["---:"] * len(columns)),
    ]
    for place in _places(rows, table.down):
        by = dict(zip(table.down, place, strict=True))
        found = (
            cells.at(value, **by)
            if over_measures
            else cells.at(table.shown[0], **by, **{table.across: value})
            for value in columns
        )
        lines.append(_line([*map(name, place), *map(_escaped, found)]))
    level = f"{record['confidence']:.0%}"
    parts = (f"Mean over {record['pairs']} pairs [{level} interval].", table.note, *_asides(record))
    note = " ".join(parts)
    return "\n\n".join((_escaped(record["answer"]), "\n".join(lines), note, provenance(record)))


def _asides(record: Record) -> Iterator[str]:
    """Yield what must be said below a table: stars by chance, and probes that were not answered."""
    if stars := record["stars"]:
        yield (
            f"Of {stars['cells']} gains {stars['by_chance']:.1f} would have a star by chance "
            f"(correction: {stars['correction']})."
        )
    if record["unscored"]:
        yield f"Probes over-long (scored 0) + missing: {lost(record['unscored'])}."


def provenance(record: Record) -> str:
    """Return in one line where the figures of a stored table come from."""
    machine, others = record["machine"] or {}, record["others"]
    parts = [
        f"`{record['command']}`",
        f"commit {_commit(record['commit'], record['dirty'])}",
        f"configuration `{record['config_hash']}`",
        record["date"],
        f"{NOTHING if record['minutes'] is None else format(record['minutes'], '.1f')} minutes",
        f"{record['engine']} on {record['device'] or NOTHING} in {record['precision'] or NOTHING}",
        f"{machine.get('processor', NOTHING)}, {machine.get('cores', NOTHING)} cores, "
        f"{machine.get('memory_gib', NOTHING)} GiB",
        f"other work took {others:.0%} of it" if others is not None else "other work n/a",
        f"lineage {record['lineage'] or NOTHING}, vLLM {record['vllm'] or NOTHING}",
    ]
    if record["errors"]:
        parts.append(f"{record['errors']} steps failed")
    computed = record["computed"]
    if (computed["commit"], computed["dirty"]) != (record["commit"], record["dirty"]):
        parts.append(f"computed by {_commit(computed['commit'], computed['dirty'])}")
    return f"<sub>{'; '.join(parts)}</sub>"


def fill(text: str, tables: Mapping[str, Published], records: Mapping[str, Record]) -> str:
    """Return `text` with each marked block made of `records`, by name of their table.

    A table without a record is one that was not run yet, and its block says so. Raises LineageError
    where a block names no table, or has no end.
    """
    if len(BEGIN.findall(text)) != len(BLOCK.findall(text)):
        raise LineageError("a marked block has no end: write <!-- end --> below it")

    def filled(found: re.Match[str]) -> str:
        kind, named = found["kind"], found["name"]
        if kind == "answers":
            content = _answers(tables, records)
        elif kind == "metrics":
            content = _metrics()
        elif named not in tables:
            raise LineageError(f"no published table is named {named!r}" + nearest(named, [*tables]))
        elif named not in records:
            content = not_run(tables[named].experiment)
        elif kind == "table":
            content = markdown(tables[named], records[named])
        else:
            content = "\n".join(("```", *records[named]["output"], "```"))
        return f"{found['begin']}\n{content}\n{END}"

    return BLOCK.sub(filled, text)


def not_run(experiment: str) -> str:
    """Return what stands for a table whose file is not there."""
    return f"Not run yet: `make results ONLY={experiment}`"


def _places(rows: Sequence[Row], down: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the values of the columns `down`, in the order in which each column first has them."""
    seen = [list(dict.fromkeys(row[key] for row in rows)) for key in down]
    found = dict.fromkeys(tuple(row[key] for key in down) for row in rows)
    return sorted(found, key=lambda place: [all.index(one) for all, one in zip(seen, place)])


def _answers(tables: Mapping[str, Published], records: Mapping[str, Record]) -> str:
    lines = []
    for table in tables.values():
        if table.leads:
            record = records.get(table.name)
            said = _escaped(record["answer"]) if record else not_run(table.experiment)
            lines.append(f"- **{table.asks}** {said}")
            if record:
                lines.append(f"  (`{record['command']}`)")
    return "\n".join(lines)


def _metrics() -> str:
    lines = [_line(["metric", "theme", "a row is by, and has", "what it is"]), _line(["---"] * 4)]
    for one in sorted(METRICS.values(), key=lambda one: (one.theme, one.name)):
        own = ", ".join(f"`{column}`" for column in one.own)
        lines.append(_line([f"`{one.name}`", one.theme, own, one.doc.replace("|", "\\|")]))
    return "\n".join(lines)


def _key(row: Row) -> frozenset[tuple[str, Any]]:
    figures = ("mean", "low", "high", "n", "starred", "reason")
    return frozenset((key, value) for key, value in row.items() if key not in figures)


def _head(across: str, value: str | int) -> str:
    if across == "reader":
        return f"read by {name(str(value))}"
    return f"k = {value}" if across == "k" else HEADS.get(str(value), str(value))


def _escaped(text: str) -> str:
    return text.replace(STAR, "\\*")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _commit(commit: str | None, dirty: bool | None) -> str:
    return f"`{commit[:12]}`{' with changes' if dirty else ''}" if commit else NOTHING
