"""A few random kills, of all kinds, over runs in shards: no step lost, none twice, none changed.

`make soak` is the long one.
"""

from __future__ import annotations

import pytest
from soak import OFTEN, soaked, told

KILLS, SEED = 10, 20261129
SELDOM = dict.fromkeys(OFTEN, 1) | {"engine": 4, "shard": 4}
"""What a whole run is begun anew after takes long."""


@pytest.mark.cluster
@pytest.mark.timeout(1_800)
def test_ten_kills_cost_no_step() -> None:
    outcome = soaked(KILLS, SEED, SELDOM, head_seconds=5)
    print(told(outcome))
    assert outcome.kills.total() == KILLS and outcome.kills.keys() == OFTEN.keys()
    assert outcome.runs > 0 and outcome.steps > 0
    assert (outcome.lost, outcome.twice, outcome.differing) == (0, 0, 0)
    assert outcome.told, "the runs tell what failed"
    # Whatever ended a driver is one line of its own.
    assert "Traceback" not in outcome.log and "never awaited" not in outcome.log, outcome.log
