"""What do settings of vLLM on a processor bring? Each beside the default, on the same requests.

    python benchmarks/engine_settings.py                          all that are named here
    python benchmarks/engine_settings.py engine.vllm.threads=1    these

The requests are those of `fleet.py`, through the fleet: free text of 16 and of 64 in flight, and
handoffs of 16. The default has a life before the first, and one after each third; a setting is
divided by the last before it, batch by batch. `same` is the share of completions that are equal to
the default's, all sampled from the same seeds: rounding moves some where batches are made up
otherwise, what is wrong moves many. `start` is the time until the engine was ready.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from fleet import FLEET, HANDOFFS, PLAIN, WARM, Batches, lived, recorded
from ratios import Measured, estimate
from rich.console import Console
from rich.table import Table

from lineage.core.errors import LineageError
from lineage.core.intervals import AMOUNT

SETTINGS = (
    "engine.vllm.enforce_eager=false",
    "engine.vllm.chunked_prefill=true",
    "engine.vllm.threads=1",
    "engine.vllm.block_size=128",
    "engine.vllm.max_num_seqs=16",
    "+engine.vllm.extra.max_num_batched_tokens=8192",
    "engine.vllm.dtype=bfloat16",
)
CASES = {"16": (PLAIN, 4, 16), "64": (PLAIN, 2, 64), "16 handoffs": (HANDOFFS, 2, 16)}
"""By case which requests, how many batches, of how many."""
EVERY = 3
"""Settings between two lives of the default."""


def batches(cases: Mapping[str, tuple[str, int, int]]) -> Batches:
    """Return the batches of all cases, and under "" one that warms up."""
    requests = recorded(small=False)
    left = {
        kind: iter([one for one in requests if (one.schema is not None) == (kind == HANDOFFS)])
        for kind in (PLAIN, HANDOFFS)
    }
    found: Batches = {"": [list(islice(left[PLAIN], WARM))]}
    for case, (kind, often, size) in cases.items():
        found[case] = [list(islice(left[kind], size)) for _ in range(often)]
    return found


def told(case: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Return tokens a second of `ours` over those of `theirs`, with the interval."""
    above, below = (
        tuple(tokens / seconds for seconds, tokens in life["cases"][case])
        for life in (ours, theirs)
    )
    value, low, high = estimate(Measured(above, below), AMOUNT)
    bounds = "n/a" if low is None or high is None else f"{low:.2f}, {high:.2f}"
    return f"{value:.2f} [{bounds}]"


def rate(case: str, life: Mapping[str, Any]) -> str:
    """Return the tokens a second of a case."""
    seconds, tokens = map(sum, zip(*life["cases"][case], strict=True))
    return f"{tokens / seconds:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("settings", nargs="*", default=SETTINGS, metavar="KEY=VALUE")
    options = parser.parse_args()
    console = Console(width=140)
    console.print("recording what a run asks")
    table = Table("setting", "start, s", *CASES, "same", box=None)
    with tempfile.TemporaryDirectory(prefix="lineage-") as folder:
        given = Path(folder) / "requests"
        given.write_bytes(pickle.dumps(batches(CASES)))
        default: Mapping[str, Any] = {}
        for number, setting in enumerate(options.settings):
            if number % EVERY == 0:
                console.print("the default")
                default = lived(FLEET, given, ())
                rates = (f"{rate(case, default)} tokens/s" for case in CASES)
                table.add_row("(the default)", f"{default['start']:.0f}", *rates, "")
            console.print(setting, markup=False)
            try:
                life = lived(FLEET, given, (setting,))
            except LineageError as error:
                console.print(str(error), markup=False)
                table.add_row(setting, "n/a", *("n/a" for _ in CASES), "n/a")
                continue
            same = [a == b for a, b in zip(life["texts"], default["texts"], strict=True)]
            ratios = (told(case, life, default) for case in CASES)
            share = f"{sum(same) / len(same):.2f}"
            table.add_row(setting, f"{life['start']:.0f}", *ratios, share)
    console.print(table, markup=False)


if __name__ == "__main__":
    main()
