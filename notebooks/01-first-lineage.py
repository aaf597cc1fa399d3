# %% [markdown]
# # A first lineage
# Five pairs of lineages, four generations each, on the deterministic engine: a run in seconds, and
# how to read it. Leave out `engine=surrogate` for the real model.

# %%
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
from IPython.display import Image
from rich.console import Console

from lineage.report.terminal import show_summary

temporary = tempfile.TemporaryDirectory()  # gone when the notebook ends
root = Path(temporary.name)
overrides = ["engine=surrogate", "experiment.lineages=5", "run.name=first"]
places = [f"run.root={root}", f"run.cache={root / 'cache'}"]
command = [sys.executable, "-m", "lineage", "run", *overrides, *places]
subprocess.run(command, check=True, capture_output=True)
folder = root / "first"
console = Console(width=90, force_jupyter=False, force_terminal=False)
show_summary(json.loads((folder / "metrics.json").read_text()), console)

# %% [markdown]
# ## Does a successor profit from inherited knowledge?
# Generation 0 inherits nothing and stands apart: its probes read what it wrote itself. The lines
# begin with the first generation that received something.

# %%
Image((folder / "scores.png").read_bytes(), width=900)

# %% [markdown]
# ## The log is the product
# One row a step. This is one working episode of the third generation, from the doc it opened to the
# feedback it got.

# %%
log = duckdb.read_parquet(f"{folder}/steps/**/*.parquet", hive_partitioning=True)
print(
    duckdb.sql(
        "SELECT step, kind, completion, answer, score, memory_tokens FROM log "
        "WHERE lineage = '000-inherit' AND generation = 2 AND episode = 'w000' ORDER BY step"
    )
)

# %% [markdown]
# ## What was handed over
# Every edit of Knowledge is a row too, with its outcome.

# %%
print(
    duckdb.sql(
        "SELECT generation, version, detail, count(*) AS edits FROM log "
        "WHERE kind = 'edit' GROUP BY ALL ORDER BY ALL"
    )
)
