"""Before any test imports anything: no model hub, Ray on the loopback interface, and matplotlib's
cache in a folder of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import settings

import lineage.models  # noqa: F401 - what Ray reads when it is first imported

os.environ["HF_HUB_OFFLINE"] = "1"
_matplotlib = tempfile.mkdtemp(prefix="lineage-matplotlib-")
os.environ["MPLCONFIGDIR"] = _matplotlib
os.environ.setdefault("MPLBACKEND", "Agg")
# How long an example takes says nothing on a machine that others use too.
settings.register_profile("lineage", deadline=None)
settings.load_profile("lineage")
atexit.register(shutil.rmtree, _matplotlib, ignore_errors=True)
