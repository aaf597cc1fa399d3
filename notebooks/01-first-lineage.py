# %% [markdown]
# # A first lineage
# Five pairs of lineages, four generations each, on the deterministic engine: a run in seconds, and
# how to read it. Leave out `engine=surrogate` for the real model. With `LINEAGE_RUN`, its folder, a
# run of your own is read.

# %%
import json
import os
import tempfile
from pathlib import Path

from IPython.display import Image
from rich.console import Console

import lineage
from lineage.report.run_text import show_summary

MINE = os.environ.get("LINEAGE_RUN")  # or the folder of a run of your own: then that is read
temporary = tempfile.TemporaryDirectory()  # gone when the notebook ends
root = Path(temporary.name)
overrides = ["engine=surrogate", "experiment.lineages=5", "run.name=first"]
places = [f"run.root={root}", f"run.cache={root / 'cache'}"]
log = lineage.open(MINE) if MINE else lineage.run([*overrides, *places])
((folder, arms, schedule),) = log.execute("SELECT folder, arms, schedule FROM runs").fetchall()
console = Console(width=90, force_jupyter=False, force_terminal=False)
show_summary(json.loads(Path(folder, "metrics.json").read_text()), console)

# %% [markdown]
# ## Does a successor profit from inherited knowledge?
# Generation 0 inherits nothing and stands apart: its probes read what it wrote itself. The lines
# begin with the first generation that received something.

# %%
Image(Path(folder, "scores.png").read_bytes(), width=900)

# %% [markdown]
# ## The log is the product
# One row a step. This is one working episode of the third generation, from the doc it opened to the
# feedback it got.

# %%
(place,) = log.execute(
    "SELECT lineage, generation, episode FROM steps WHERE kind = 'act' AND arm = ? "
    "AND generation = ? ORDER BY step_id LIMIT 1",
    [arms[0], min(2, len(schedule) - 1)],
).fetchall()
print(
    log.sql(
        "SELECT step, kind, completion, answer, score, memory_tokens FROM steps "
        "WHERE lineage = ? AND generation = ? AND episode = ? ORDER BY step",
        params=place,
    )
)

# %% [markdown]
# ## What was handed over
# Every edit of Knowledge is a row too, with its outcome.

# %%
print(
    log.sql(
        "SELECT generation, version, detail, count(*) AS edits FROM steps "
        "WHERE kind = 'edit' GROUP BY ALL ORDER BY ALL"
    )
)
