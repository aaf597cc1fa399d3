"""The metrics of the design, each a function of a log: a connection with the views of its runs.

A metric takes the connection and returns an Arrow table: `folder` (the run), what the metric is
by, then `mean`, `low`, `high` and `n`, the pairs behind it, then what else it knows; plain counts
have no mean. Nothing is compared but the same pairs, and every mean has an interval over them,
see `lineage.core.intervals`. To import a theme registers its metrics; here are all themes.
"""

from lineage.metrics import (
    contrasts,
    counts,
    docsearch,
    facts,
    gains,
    keeping,
    poison,
    release,
    scoring,
    spending,
    summaries,
    transfer,
    upgrade,
)
from lineage.metrics.registry import METRICS
from lineage.metrics.summary import METRICS_VERSION, summarise, summarise_all

THEMES = (
    *(contrasts, counts, docsearch, facts, gains, keeping),
    *(poison, release, scoring, spending, summaries, transfer, upgrade),
)

__all__ = ["METRICS", "METRICS_VERSION", "THEMES", "summarise", "summarise_all"]
