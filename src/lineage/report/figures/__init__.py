"""Pictures of a run and of a training, one function a picture: each returns a matplotlib Figure.

Each takes what it draws: `metrics.json` or `training.json` as a dict, or a connection with the
views of one run. It returns None where there is nothing to show, never an empty picture.
`picture_bytes` makes PNG or SVG of one.
"""

from lineage.report.canvas import panels_svg, picture_bytes, use_cache
from lineage.report.figures.calibration import predicted_and_real
from lineage.report.figures.crossed import upgrade_matrix
from lineage.report.figures.gate import opening_by_threshold
from lineage.report.figures.memory import memory_growth, memory_turnover
from lineage.report.figures.receipt import memory_by_version
from lineage.report.figures.retention import retention_matrix
from lineage.report.figures.rewards import reward_by_generation, reward_by_step
from lineage.report.figures.scores import score_by_generation
from lineage.report.figures.search import doc_search_reliability
from lineage.report.figures.sweep import sweep_interactions, sweep_scores
from lineage.report.figures.training import training_by_step
from lineage.report.figures.trajectory import score_over_releases
from lineage.report.figures.tree import lineage_tree

__all__ = [
    "doc_search_reliability",
    "lineage_tree",
    "memory_by_version",
    "memory_growth",
    "memory_turnover",
    "opening_by_threshold",
    "panels_svg",
    "picture_bytes",
    "predicted_and_real",
    "retention_matrix",
    "reward_by_generation",
    "reward_by_step",
    "score_by_generation",
    "score_over_releases",
    "sweep_interactions",
    "sweep_scores",
    "training_by_step",
    "upgrade_matrix",
    "use_cache",
]
