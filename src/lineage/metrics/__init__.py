"""The metrics of the design, each a function of a log: a connection with the views of its runs.

A measure takes the connection and returns an Arrow table: `folder` (the run), what the measure is
by, then `mean`, `low`, `high` and `n`, the pairs behind it, then what else it knows; plain counts
have no mean. Nothing is compared but the same pairs, and every mean has an interval over them,
see `lineage.core.intervals`. `metrics.json` is made of the same functions (`summarise`).
"""

from lineage.metrics.contrasts import contrasts, staleness_contrasts
from lineage.metrics.counts import edits, errors, opens, totals, unscored
from lineage.metrics.docsearch import (
    doc_opened_in_vain,
    doc_opened_when_needed,
    doc_precision,
    doc_recall,
    doc_reciprocal_rank,
    doc_search,
)
from lineage.metrics.facts import (
    duplication,
    facts_held,
    fidelity,
    kept_tokens,
    migration_fidelity,
    signal_density,
    staleness,
)
from lineage.metrics.gains import (
    forward_transfer,
    gain_by_inheritance,
    gain_by_version,
    harm,
    inheritance_gain,
)
from lineage.metrics.keeping import compression, kept
from lineage.metrics.poison import poison_cost, poison_life, poison_repeated, poison_survival
from lineage.metrics.scoring import scores, scores_by_category, scores_by_generation, work_scores
from lineage.metrics.spending import costs, memory_size, reward
from lineage.metrics.summaries import summary_distortion, summary_fidelity
from lineage.metrics.summary import METRICS_VERSION, summarise, summarise_all
from lineage.metrics.transfer import backward_transfer, forgetting, retention
from lineage.metrics.upgrade import upgrade_matrix

__all__ = [
    "METRICS_VERSION",
    "backward_transfer",
    "compression",
    "contrasts",
    "costs",
    "doc_opened_in_vain",
    "doc_opened_when_needed",
    "doc_precision",
    "doc_recall",
    "doc_reciprocal_rank",
    "doc_search",
    "duplication",
    "edits",
    "errors",
    "facts_held",
    "fidelity",
    "forgetting",
    "forward_transfer",
    "gain_by_inheritance",
    "gain_by_version",
    "harm",
    "inheritance_gain",
    "kept",
    "kept_tokens",
    "memory_size",
    "migration_fidelity",
    "opens",
    "poison_cost",
    "poison_life",
    "poison_repeated",
    "poison_survival",
    "retention",
    "reward",
    "scores",
    "scores_by_category",
    "scores_by_generation",
    "signal_density",
    "staleness",
    "staleness_contrasts",
    "summarise",
    "summarise_all",
    "summary_distortion",
    "summary_fidelity",
    "totals",
    "unscored",
    "upgrade_matrix",
    "work_scores",
]
