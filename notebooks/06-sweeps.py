# %% [markdown]
# # How fast may the world change?
# A sweep over `suite.drift`, read as one log: the keys that vary are columns. With `LINEAGE_RUN`,
# its folder, a sweep of your own over one key is read.

# %%
import os
import tempfile
from pathlib import Path

from IPython.display import Image
from matplotlib.figure import Figure

import lineage
from lineage.metrics.facts import staleness
from lineage.metrics.gains import inheritance_gain
from lineage.report.figures import picture_bytes, use_cache
from lineage.report.sheet import bounds

MINE = os.environ.get("LINEAGE_RUN")  # or the folder of a sweep of your own over one key
temporary = tempfile.TemporaryDirectory()  # gone when the notebook ends
root = Path(temporary.name)
use_cache(root / "cache")
overrides = ["engine=surrogate", "experiment.lineages=4", "suite.drift=0,0.2,0.5", "run.name=drift"]
places = [f"run.root={root}", f"run.cache={root / 'cache'}"]
log = lineage.open(MINE) if MINE else lineage.run([*overrides, *places], multirun=True)
found = log.table("runs").to_arrow_table()
varied = [key for key in found.column_names if "." in key and len(set(found[key].to_pylist())) > 1]
key = varied[0]
print(log.sql(f'SELECT parse_filename(folder) AS point, "{key}" FROM runs ORDER BY ALL'))

# %% [markdown]
# ## Gain on tasks met before, point by point
# Every measure takes the whole sweep and gives a row a run.

# %%
value = dict(zip(found["folder"].to_pylist(), found[key].to_pylist(), strict=True))
arm = found["arms"][0][0].as_py()
gains = sorted(
    (value[row["folder"]], row["mean"], row["low"], row["high"])
    for row in inheritance_gain(log).to_pylist()
    if row["arm"] == arm and row["family"] == "same"
)
figure = Figure(figsize=(6, 3.2), layout="constrained")
axis = figure.subplots()
means = [mean for _, mean, _, _ in gains]
# Of few pairs there may be no interval.
below = [0 if low is None else mean - low for _, mean, low, _ in gains]
above = [0 if high is None else high - mean for _, mean, _, high in gains]
axis.errorbar([x for x, *_ in gains], means, yerr=[below, above], marker="o", capsize=4)
axis.set(
    title="Does an inheritance survive a changing world?",
    xlabel={"suite.drift": "share of facts that change at each generation"}.get(key, key),
    ylabel="gain over cold",
    ylim=(0, 1),
)
Image(picture_bytes(figure, "png"), width=600)

# %% [markdown]
# ## Why: notes go stale
# Share of memories that contradict the world, mean over pairs and generations.

# %%
for row in sorted(staleness(log).to_pylist(), key=lambda row: value[row["folder"]]):
    if row["arm"] == arm and row["entries"] == "memories" and row["generation"] is None:
        print(f"{key.rpartition('.')[2]} {value[row['folder']]}: {bounds(row)}")
