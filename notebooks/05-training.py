# %% [markdown]
# # Does training make a handoff worth more?
# `lineage train` samples alternatives from one history, probes what each left and makes the better
# ones likelier. Here the deterministic engine's toy policy learns, in seconds, when to open a doc.
# Leave out `engine=surrogate` (and the small numbers) for the real model. With `LINEAGE_RUN`, its
# folder, a training of your own is read.

# %%
import json
import os
import tempfile
from pathlib import Path

from IPython.display import Image

import lineage
from lineage.report.figures import picture_bytes, reward_by_step, use_cache
from lineage.report.sheet import bounds

MINE = os.environ.get("LINEAGE_RUN")  # or the folder of a training of your own
temporary = tempfile.TemporaryDirectory()  # gone when the notebook ends
root = Path(temporary.name)
use_cache(root / "cache")
overrides = ["engine=surrogate", "agent=writer", "train.curricula=[open]", "train.worlds=6"]
sizes = ["train.held_out=12", "method.steps=6", "method.groups=8", "method.warm_groups=8"]
places = [f"run.root={root}", f"run.cache={root / 'cache'}", "run.name=toy"]
log = lineage.open(MINE) if MINE else lineage.train([*overrides, *sizes, *places])
((folder, kind),) = log.execute("SELECT folder, kind FROM runs").fetchall()
assert kind == "training", f"{folder} is a {kind}: this notebook reads a training"
training = json.loads(Path(folder, "training.json").read_text())
Image(picture_bytes(reward_by_step(training), "png"))

# %% [markdown]
# ## What it was worth
# Parent and new version in worlds that neither was trained on, paired.

# %%
for gain in json.loads(Path(folder, "held-out.json").read_text()):
    print(f"{gain['measure']:24}{bounds(gain['gain'], signed=True)}")

# %% [markdown]
# ## Every alternative is a row
# Groups branch from one snapshot and meet the same probes, so rewards compare within a group.

# %%
print(
    log.sql(
        "SELECT step, kind, opened, count(*) AS alternatives, round(avg(reward), 2) AS reward, "
        "round(avg(advantage), 2) AS advantage FROM training "
        "WHERE step IN (0, (SELECT max(step) FROM training)) GROUP BY ALL ORDER BY ALL"
    )
)

# %% [markdown]
# ## Signs of a hacked reward
# The report warns where the reward rises while notes shrink, go stale or are copied, or where the
# policy stops exploring.

# %%
print(*(training["signs"] or ["none here"]), sep="\n")
