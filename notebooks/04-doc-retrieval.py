# %% [markdown]
# # Is the right doc opened at the right time?
# Docs stand outside the prompt. An instance searches, opens one or none, and answers. A doc was
# needed where it holds a fact that the task asks for. With `LINEAGE_RUN`, its folder, a run of your
# own is read, which has docs.

# %%
import json
import os
import tempfile
from pathlib import Path

from IPython.display import Image

import lineage
from lineage.metrics.docsearch import doc_search
from lineage.report.figures import doc_search_reliability, picture_bytes, use_cache
from lineage.report.sheet import bounds

MINE = os.environ.get("LINEAGE_RUN")  # or the folder of a run of your own: then that is read
temporary = tempfile.TemporaryDirectory()  # gone when the notebook ends
root = Path(temporary.name)
use_cache(root / "cache")
overrides = ["engine=surrogate", "arms.names=[inherit,docs,cold,oracle]", "experiment.lineages=4"]
places = [f"run.root={root}", f"run.cache={root / 'cache'}", "run.name=docs"]
log = lineage.open(MINE) if MINE else lineage.run([*overrides, *places])
((folder,),) = log.execute("SELECT folder FROM runs").fetchall()
summary = json.loads(Path(folder, "metrics.json").read_text())
Image(picture_bytes(doc_search_reliability(summary), "png"))

# %% [markdown]
# ## Opened when needed, and opened in vain
# Shares of probes and working episodes together, with intervals over pairs.

# %%
for row in doc_search(log).to_pylist():
    asked = row["measure"].startswith("opened") and row["family"] is None
    if asked and row["mean"] is not None:
        print(f"{row['measure']:20}{row['arm']:9}{bounds(row)}")

# %% [markdown]
# ## One search, step by step
# The query, the docs found (best first), what was opened, and the answer.

# %%
(place,) = log.execute(
    "SELECT lineage, generation, episode FROM steps WHERE kind = 'open' AND entry <> '' "
    "AND phase = 'probe' ORDER BY arm <> 'docs', step_id LIMIT 1"
).fetchall()
print(
    log.sql(
        "SELECT step, kind, detail, results, entry, completion, answer, score FROM steps "
        "WHERE lineage = ? AND generation = ? AND episode = ? ORDER BY step",
        params=place,
    )
)

# %% [markdown]
# ## What a doc says
# Titles are what the search reads first, so they decide what is found.

# %%
print(log.sql("SELECT DISTINCT title, created_version FROM docs ORDER BY ALL LIMIT 5"))
