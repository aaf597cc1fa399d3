# %% [markdown]
# # How does a memory live?
# An entry is written in a handoff, read by every later instance, revised or dropped, and ends with
# the lineage. This follows one through five generations of a drifting world. With `LINEAGE_RUN`,
# its folder, a run of your own is read.

# %%
import json
import os
import tempfile
from pathlib import Path

from IPython.display import Image

import lineage
from lineage.report.figures import memory_turnover, picture_bytes, use_cache

MINE = os.environ.get("LINEAGE_RUN")  # or the folder of a run of your own: then that is read
temporary = tempfile.TemporaryDirectory()  # gone when the notebook ends
root = Path(temporary.name)
use_cache(root / "cache")
overrides = ["engine=surrogate", "experiment=drift", "experiment.lineages=3", "run.name=drift"]
places = [f"run.root={root}", f"run.cache={root / 'cache'}"]
log = lineage.open(MINE) if MINE else lineage.run([*overrides, *places])
((folder,),) = log.execute("SELECT folder FROM runs").fetchall()

# %% [markdown]
# ## Memories come and go
# What each generation left, against what it was handed: kept as it was, revised, added, dropped.

# %%
summary = json.loads(Path(folder, "metrics.json").read_text())
bounds = (summary["baseline"], summary["ceiling"])
handing = [arm for arm in summary["arms"] if arm not in bounds]
Image(picture_bytes(memory_turnover(log, handing, "memories"), "png"), width=900)

# %% [markdown]
# ## The entry that was edited most
# Every edit is a row, with what was proposed and what came of it.

# %%
arm = "edit" if "edit" in handing else handing[0]
(lived,) = log.execute(
    "SELECT lineage, entry FROM edits WHERE outcome = 'applied' AND arm = ? AND "
    "operation IN ('add', 'revise') GROUP BY ALL ORDER BY count(*) DESC, lineage, entry LIMIT 1",
    [arm],
).fetchall()
for row in log.execute(
    "SELECT generation, episode, operation, outcome, text FROM edits "
    "WHERE lineage = ? AND entry = ? ORDER BY generation, step_id",
    lived,
).fetchall():
    print(*row, sep="  ")

# %% [markdown]
# ## Was it of use?
# Each generation's probes read it with all the other notes. `entry` of an answer names the memory
# that the answer echoes, so one sees who answered from it, and how well.

# %%
print(
    log.sql(
        "SELECT generation, count(*) AS answers, round(avg(score), 2) AS score FROM steps "
        "WHERE kind IN ('act', 'probe') AND lineage = ? AND entry = ? GROUP BY ALL ORDER BY ALL",
        params=lived,
    )
)

# %% [markdown]
# `lineage log RUN ENTRY` tells the same story in the terminal, and `lineage diff RUN A B` what one
# handoff changed.
