"""A few random kills over a run in shards: no step is lost, done twice, or another one.

`make soak` is the long one, with all kinds.
"""

from __future__ import annotations

from soak import soaked, told

KILLS, SEED = 10, 20261129
BRIEF = {"engine": 4, "engine hangs": 2, "shard": 4, "node": 2, "keeper": 1, "driver": 1}
"""How often each kind is drawn: seldom what a whole run is begun anew after, which takes long."""


def test_ten_kills_cost_no_step() -> None:
    outcome = soaked(KILLS, SEED, BRIEF)
    print(told(outcome))
    assert outcome.kills.total() == KILLS and outcome.runs > 0 < outcome.steps
    assert (outcome.lost, outcome.twice, outcome.differing) == (0, 0, 0)
    assert outcome.told, "the runs tell what failed"
