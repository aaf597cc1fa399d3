# %% [markdown]
# # What is an inheritance worth, and how sure is that?
# Eight arms on the deterministic engine: a successor receives memories and docs, one of them, the
# raw transcript, retrieval over it, another world's notes, nothing, or the facts themselves. With
# `LINEAGE_RUN`, its folder, a run of your own is read.

# %%
import json
import os
import tempfile
from pathlib import Path

from IPython.display import Image

import lineage
from lineage.metrics.gains import gain_by_inheritance
from lineage.metrics.scoring import scores
from lineage.report.figures import picture_bytes, score_by_generation, use_cache
from lineage.report.sheet import gained

MINE = os.environ.get("LINEAGE_RUN")  # or the folder of a run of your own: then that is read
temporary = tempfile.TemporaryDirectory()  # gone when the notebook ends
root = Path(temporary.name)
use_cache(root / "cache")
overrides = ["engine=surrogate", "arms=all-but-weights", "experiment.lineages=5", "run.name=arms"]
places = [f"run.root={root}", f"run.cache={root / 'cache'}"]
log = lineage.open(MINE) if MINE else lineage.run([*overrides, *places])
((folder,),) = log.execute("SELECT folder FROM runs").fetchall()
summary = json.loads(Path(folder, "metrics.json").read_text())
Image(picture_bytes(score_by_generation(summary), "png"), width=900)

# %% [markdown]
# ## The gain over nothing
# All arms of a pair meet the same tasks, so a gain is the mean of differences, a pair each, with an
# interval over pairs. Only generations that inherited count: generation 0 has nothing but what it
# wrote itself. A star marks an interval that excludes 0, from five pairs on.

# %%
for row in gain_by_inheritance(log).to_pylist():
    if row["inherited"] and row["family"] == "same":
        print(f"{row['arm']:11}{gained(row)}")

# %% [markdown]
# ## One figure, four ways
# The function, `metrics.json` and SQL by hand agree to the last digit; so does the report, which
# is made of `metrics.json`. Pairs come first: a failed probe must not make its pair weigh less.

# %%
by_hand = """
SELECT arm, family, avg(score ORDER BY pair) AS mean
FROM (SELECT arm, family, pair, avg(score ORDER BY step_id) AS score
      FROM steps WHERE kind = 'probe' GROUP BY ALL)
GROUP BY ALL
"""
queried = {(arm, family): mean for arm, family, mean in log.execute(by_hand).fetchall()}
measured = {(row["arm"], row["family"]): row["mean"] for row in scores(log).to_pylist()}
written = {(row["arm"], row["family"]): row["mean"] for row in summary["metrics"]["scores"]}
assert queried == measured == written
arm = summary["arms"][0]
print(f"{len(queried)} means agree; {arm} on same tasks: {measured[arm, 'same']!r}")
