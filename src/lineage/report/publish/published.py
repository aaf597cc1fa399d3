"""The tables that the documentation shows: of which experiments, and what they say."""

from __future__ import annotations

from lineage.metrics.docsearch import MEASURES
from lineage.report.publish import long
from lineage.report.publish.long import FIRST, LATER
from lineage.report.publish.publishing import Cells, Published
from lineage.report.tables import COSTS
from lineage.report.tables_release import SHOWN as RELEASED


def _crossed(cells: Cells, writer: str, reader: str, measure: str = "gain") -> str:
    between = {"writer": _version(writer), "reader": _version(reader)}
    return cells.at(measure, family="same", **between)


def _version(name: str) -> str:
    return f"smollm2-135m@{name}"


R1, G0, G1 = "smollm2-135m@r1", "gemma3-270m@g0", "gemma3-270m@g1"


def _bases(experiment: str, what: str) -> tuple[Published, Published]:
    """Return the matrix over two bases on `what`, and how much of their worth notes keep."""

    def crossed(cells: Cells, writer: str, reader: str, measure: str) -> str:
        return cells.at(measure, family="same", writer=writer, reader=reader)

    return (
        Published(
            name=experiment,
            experiment=experiment,
            rows=long.crossed,
            down=("family", "writer"),
            across="reader",
            shown=("gain",),
            says=lambda cells: (
                "On tasks that were met before, notes of `r1` (SmolLM2) are worth "
                f"{crossed(cells, R1, G1, 'gain')} to `g1` (Gemma) and "
                f"{crossed(cells, R1, R1, 'gain')} to itself; notes of `g1` are worth "
                f"{crossed(cells, G1, R1, 'gain')} to `r1` and {crossed(cells, G1, G1, 'gain')} to "
                "itself."
            ),
            note="The gain over the same reader without Knowledge.",
            tested="upgrade_matrix",
            asks=f"Do notes survive the move to another base and tokenizer, on {what}?",
            answers=True,
        ),
        Published(
            name=f"{experiment}-retention",
            experiment=experiment,
            rows=long.crossed,
            down=("family", "writer", "reader"),
            shown=("score", "retention", "harm"),
            says=lambda cells: (
                f"What `r1` wrote gives `g1` {crossed(cells, R1, G1, 'retention')} times the gain "
                f"of its own notes; what `g1` wrote gives `r1` "
                f"{crossed(cells, G1, R1, 'retention')} times."
            ),
            note="Retention: the gain with the writer's Knowledge / the gain with the reader's "
            "own. Harm: the share of the probes solved cold that are failed with Knowledge.",
        ),
    )


def _moved(cells: Cells, writer: str, reader: str) -> str:
    """Return the gains of each migration by which `reader` had the Knowledge of `writer`."""
    return ", ".join(
        f"{cells.at('gain', writer=writer, reader=reader, arm=arm)} by `{arm}`"
        for arm in ("verbatim", "rewrite", "verify", "rebuild")
    )


def _kept(name: str, what: str, note: str, asks: str = "") -> Published:
    """Return the table of how much of the score, the tokens or the facts handoffs keep."""
    measure = f"{what}_kept"
    return Published(
        name=name,
        experiment="migrations",
        rows=long.kept,
        across="k",
        shown=(measure,),
        says=lambda cells: (
            f"After eight handoffs `rewrite` keeps {cells.at(measure, arm='rewrite', k=8)} of the "
            f"{what}, `distil` {cells.at(measure, arm='distil', k=8)} and `rebuild` "
            f"{cells.at(measure, arm='rebuild', k=8)}."
        ),
        note=note,
        asks=asks,
    )


TABLES = (
    Published(
        name="first-light",
        experiment="first-light",
        rows=long.scores,
        down=("family", "arm"),
        shown=("score", "gain", "share_of_possible"),
        says=lambda cells: (
            "What was inherited is worth "
            f"{cells.at('gain', arm='inherit', family='same')} on tasks that the lineage met, "
            f"{cells.at('gain', arm='inherit', family='similar')} on similar ones and "
            f"{cells.at('gain', arm='inherit', family='dissimilar')} in another world."
        ),
        note="Over all generations. Of possible: the gain as a share of that of `oracle`.",
        tested="inheritance_gain",
        asks="Does a successor profit from what it inherits?",
    ),
    Published(
        name="first-light-inherited",
        experiment="first-light",
        rows=long.gains_by_inheritance,
        down=("generations", "arm"),
        across="family",
        shown=("gain",),
        says=lambda cells: (
            "A generation that inherited scores "
            f"{cells.at('gain', generations=LATER, arm='inherit', family='same')} over `cold` on "
            "tasks that the lineage met; generation 0, which has only what it wrote itself, "
            f"{cells.at('gain', generations=FIRST, arm='inherit', family='same')}."
        ),
        note="The gain over `cold`. Generation 0 inherited nothing.",
        tested="gain_by_inheritance",
    ),
    Published(
        name="first-light-versions",
        experiment="first-light",
        rows=long.gains_by_version,
        down=("version", "arm"),
        across="family",
        shown=("gain",),
        says=lambda cells: (
            "On tasks that were met before, what was inherited is worth "
            f"{cells.at('gain', version=_version('r0'), arm='inherit', family='same')} to `r0` and "
            f"{cells.at('gain', version=_version('r1'), arm='inherit', family='same')} to `r1`."
        ),
        note="The gain over `cold`, by the version that was probed, in generations that inherited.",
        tested="gain_by_version",
    ),
    Published(
        name="first-light-docs",
        experiment="first-light",
        rows=long.doc_search,
        shown=tuple(MEASURES),
        says=lambda cells: (
            f"Search finds a needed doc in {cells.at('recall', arm='inherit')} of the cases; where "
            f"one is needed it is opened in {cells.at('opened_when_needed', arm='inherit')}."
        ),
        note="Against the facts that a task asks for; opened in vain: of all episodes that "
        "needed none.",
    ),
    Published(
        name="arms",
        experiment="arms",
        rows=long.scores,
        across="family",
        shown=("score",),
        says=lambda cells: (
            "On tasks that the lineage met "
            f"`{cells.best('score', 'arm', but='oracle', family='same')}` scores most of what a "
            "successor can receive; written memories and docs (`inherit`) score "
            f"{cells.at('score', arm='inherit', family='same')}, the raw "
            f"transcript {cells.at('score', arm='transcript', family='same')}, another world's "
            f"notes (`shuffled`) {cells.at('score', arm='shuffled', family='same')}."
        ),
        note="The score over all generations; its star is that of the gain over `cold`.",
        tested="inheritance_gain",
        asks="What should a successor receive: memories and docs, one of them, the raw transcript, "
        "retrieval over it, fine-tuned weights, another world's notes, nothing?",
        stars={"score": "gain"},
    ),
    Published(
        name="arms-costs",
        experiment="arms",
        rows=long.costs,
        shown=tuple(COSTS),
        says=lambda cells: (
            f"A probe reads {cells.at('prompt_tokens', arm='inherit')} tokens with memories and "
            f"docs, {cells.at('prompt_tokens', arm='transcript')} with the raw transcript and "
            f"{cells.at('prompt_tokens', arm='cold')} with nothing."
        ),
        note="A probe: prompt tokens, those that the prefix cache held, seconds in the engine, in "
        "a batch with others. Between: tokens and engine seconds of a generation's migration, "
        "handoff and training.",
    ),
    Published(
        name="upgrade",
        experiment="upgrade",
        rows=long.crossed,
        down=("family", "writer"),
        across="reader",
        shown=("gain",),
        says=lambda cells: (
            "On tasks that were met before, `r0`'s notes are worth "
            f"{_crossed(cells, 'r0', 'r1')} to `r1`, and `r1`'s own {_crossed(cells, 'r1', 'r1')}."
        ),
        note="The gain over the same reader without Knowledge.",
        tested="upgrade_matrix",
        asks="What are one version's notes worth to another?",
    ),
    Published(
        name="upgrade-retention",
        experiment="upgrade",
        rows=long.crossed,
        down=("family", "writer", "reader"),
        shown=("score", "retention", "harm"),
        says=lambda cells: (
            "A new version that inherits the old one's notes has "
            f"{_crossed(cells, 'r0', 'r1', 'retention')} times the gain that it has with its own."
        ),
        note="Retention: the gain with the writer's Knowledge / the gain with the reader's own, "
        "n/a where the interval of the latter holds 0. Harm: the share of the probes solved "
        "cold that are failed with Knowledge, n/a where none is.",
    ),
    *_bases("bases", "codes of machines"),
    *_bases("bases-warehouse", "conventions of a database"),
    Published(
        name="release",
        experiment="release",
        rows=long.released,
        down=("writer", "reader", "arm"),
        shown=tuple(RELEASED),
        says=lambda cells: (
            f"Moved from SmolLM2 to Gemma as it is (`g0`), what was learnt is worth "
            f"{_moved(cells, R1, G0)} over cold; to `g1`, which inherits it through `g0`, "
            f"{_moved(cells, G0, G1)}."
        ),
        note="Same tasks met before the release to that reader. Retention: the gain / that of "
        "`rebuild`. Harm: of all probes solved cold, those failed. Of a lineage: tokens of the "
        "memories by the reader's tokenizer, entries cut to its budget, over-long probes, and "
        "engine seconds of the migration.",
        tested="releases",
        asks="Which migration brings what was learnt along through releases over two bases?",
        answers=True,
    ),
    _kept(
        "migrations",
        "score",
        "The gain on *same* tasks / that of `verbatim`, after k handoffs.",
        "The telephone game: what is left of the score, the tokens and the facts after 1, 2, 4 and "
        "8 handoffs under each migration?",
    ),
    _kept(
        "migrations-tokens",
        "tokens",
        "Of the memories that generation 0 left, after k handoffs.",
    ),
    _kept(
        "migrations-facts",
        "facts",
        "Fidelity: of the facts that generation 0 left, those still stated rightly.",
    ),
    Published(
        name="drift",
        experiment="drift",
        rows=long.scores,
        across="family",
        shown=("score",),
        says=lambda cells: (
            "With a fifth of the facts changed at each generation, `append` scores "
            f"{cells.at('score', arm='append', family='same')} on tasks that were met before, "
            f"`edit` {cells.at('score', arm='edit', family='same')} and `rewrite-all` "
            f"{cells.at('score', arm='rewrite-all', family='same')}."
        ),
        note="The score over all generations; its star is that of the gain over `cold`.",
        tested="inheritance_gain",
        asks="The world changes: which handoff policy keeps its notes fresh?",
        stars={"score": "gain"},
    ),
    Published(
        name="drift-notes",
        experiment="drift",
        rows=long.notes,
        shown=("signal_density", "facts_held", "staleness", "duplication"),
        says=lambda cells: (
            f"Of the memories {cells.at('staleness', arm='append')} are stale with `append`, "
            f"{cells.at('staleness', arm='edit')} with `edit` and "
            f"{cells.at('staleness', arm='rewrite-all')} with `rewrite-all`."
        ),
        note="Memories against the world as it is: facts stated; of the facts met, those that "
        "memories or docs state; of the memories, those that contradict the world, and those "
        "that add nothing.",
    ),
)
"""All of them. The order of their experiments is the order in which these are run."""
BY_NAME = {table.name: table for table in TABLES}
EXPERIMENTS = tuple(dict.fromkeys(table.experiment for table in TABLES))
