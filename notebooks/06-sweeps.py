# %% [markdown]
# # How fast may the world change?
# A sweep over `suite.drift`, read as one log: the keys that vary are columns.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

from IPython.display import Image
from matplotlib.figure import Figure

import lineage
from lineage.metrics.facts import staleness
from lineage.metrics.gains import inheritance_gain
from lineage.report.figures import picture_bytes, use_cache

temporary = tempfile.TemporaryDirectory()  # gone when the notebook ends
root = Path(temporary.name)
use_cache(root / "cache")
overrides = ["engine=surrogate", "experiment.lineages=4", "suite.drift=0,0.2,0.5", "run.name=drift"]
places = [f"run.root={root}", f"run.cache={root / 'cache'}"]
command = [sys.executable, "-m", "lineage", "run", "-m", *overrides, *places]
subprocess.run(command, check=True, capture_output=True)
log = lineage.open(root / "drift")
print(log.sql('SELECT parse_filename(folder) AS point, "suite.drift" FROM runs ORDER BY ALL'))

# %% [markdown]
# ## Gain on tasks met before, by drift
# Every measure takes the whole sweep and gives a row a run.

# %%
drift = dict(log.execute('SELECT folder, "suite.drift" FROM runs').fetchall())
gains = sorted(
    (drift[row["folder"]], row["mean"], row["low"], row["high"])
    for row in inheritance_gain(log).to_pylist()
    if row["arm"] == "inherit" and row["family"] == "same"
)
figure = Figure(figsize=(6, 3.2), layout="constrained")
axis = figure.subplots()
means = [mean for _, mean, _, _ in gains]
below = [mean - low for _, mean, low, _ in gains]
above = [high - mean for _, mean, _, high in gains]
axis.errorbar([d for d, *_ in gains], means, yerr=[below, above], marker="o", capsize=4)
axis.set(
    title="Does an inheritance survive a changing world?",
    xlabel="share of facts that change at each generation",
    ylabel="gain over cold",
    ylim=(0, 1),
)
Image(picture_bytes(figure, "png"), width=600)

# %% [markdown]
# ## Why: notes go stale
# Share of memories that contradict the world, mean over pairs and generations.

# %%
for row in sorted(staleness(log).to_pylist(), key=lambda row: drift[row["folder"]]):
    if row["arm"] == "inherit" and row["entries"] == "memories" and row["generation"] is None:
        bounds = f"{row['mean']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        print(f"drift {drift[row['folder']]}: {bounds}")
