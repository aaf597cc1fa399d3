"""What a finished run of a real engine tells of the fleet: shared prefixes, and successions.

    python benchmarks/real_runs.py                  the newest run below runs/
    python benchmarks/real_runs.py RUN [--cache FOLDER]

Both are read from the run's log; no engine is started.

*Shared prefixes*: how many tokens of its prompts the prefix cache held, and how many it could have
held at most. Of a prompt that is as many as its longest beginning that an earlier prompt of the
same version has too: summed over a run that is the number of tokens less the number of nodes of the
tree that the prompts make, in whatever order they are asked. An engine reuses whole blocks only:
how much of what these allow was cached is told beside it, and what those would allow that lineage
chooses on a processor.

*Succession*: the time from the last step of a generation of a lineage to where the next one asks
for its first, beside the time from where the run was described to where its lineages began, which
is that of the engine's start, with its Ray.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ratios import Measured, Setup, estimate
from rich.console import Console
from tokenizers import Tokenizer

import lineage
from lineage import compose
from lineage.core.errors import LineageError
from lineage.core.intervals import AMOUNT, SHARE
from lineage.inspect.folders import listing
from lineage.inspect.listing import FINISHED
from lineage.log.record import read_record
from lineage.log.sittings import read_sittings
from lineage.models.checkpoint import locate
from lineage.models.counting import TOKENIZER
from lineage.models.profile import CPU, SUITS
from lineage.models.versions import lookup, registry

ROOT = Path("runs")
HEIRS = "inherit"
"""The arm whose prompts hold what was handed on, told apart."""


@dataclass
class Tree:
    """The prompts that a version has read, as a tree of their pieces."""

    nodes: dict[Any, Tree] = field(default_factory=dict)

    def read(self, pieces: Iterable[Any]) -> int:
        """Add a prompt; return how many of its first pieces an earlier one begins with as well."""
        node, shared, known = self, 0, True
        for piece in pieces:
            known = known and piece in node.nodes
            shared += known
            node = node.nodes.setdefault(piece, Tree())
        return shared


def shareable(prompts: Sequence[Sequence[int]], block: int = 1) -> list[int]:
    """Return of each prompt, token ids in the order of asking, how many tokens the cache can hold.

    In whole blocks of so many tokens, and never the last token: what it is followed by must be
    computed.
    """
    tree, found = Tree(), []
    for ids in prompts:
        ends = range(block, len(ids), block)
        found.append(block * tree.read(tuple(ids[end - block : end]) for end in ends))
    return found


@dataclass(frozen=True)
class Prompt:
    """A prompt as the log has it."""

    arm: str
    pair: int
    version: str
    text: str
    tokens: int
    cached: int


def prompts(run: Path) -> list[Prompt]:
    """Return all that the run asked of its engine, in the order of asking."""
    with lineage.open(run) as log:
        rows = log.execute(
            "SELECT arm, pair, version, prompt, prompt_tokens, cached_tokens FROM steps "
            "WHERE prompt_tokens > 0 AND error = '' ORDER BY ended_at - wall_seconds, step_id"
        ).fetchall()
    return [Prompt(*row) for row in rows]


def shared_prefixes(run: Path, cache: Path | None = None) -> Measured:
    """Return by pair the tokens that were cached, and those that could have been.

    `cache` has the run's checkpoints. Raises LineageError where one is missing.
    """
    config, asked = compose.load_file(run / "config.yaml"), prompts(run)
    versions, by_version = registry(config.model), defaultdict[str, list[Prompt]](list)
    for one in asked:
        by_version[one.version].append(one)
    ours = SUITS[CPU].block_size
    block = math.gcd(*(one.cached for one in asked)) or 1
    by_pair = defaultdict[int, list[int]](lambda: [0, 0])
    heirs, blocks, heirs_blocks, smaller = [0, 0, 0], 0, 0, 0
    for version, theirs in by_version.items():
        found = locate(lookup(versions, version), cache or Path(config.run.cache))
        tokenizer = Tokenizer.from_file(str(found.checkpoint / TOKENIZER))
        encoded = tokenizer.encode_batch([one.text for one in theirs], add_special_tokens=False)
        ids = [one.ids for one in encoded]
        if wrong := sum(len(i) != one.tokens for i, one in zip(ids, theirs, strict=True)):
            raise LineageError(f"{wrong} prompts of {version} have other tokens than {run} counted")
        found_blocks = shareable(ids, block)
        smaller += sum(shareable(ids, ours))
        for one, most, whole in zip(theirs, shareable(ids), found_blocks, strict=True):
            by_pair[one.pair][0] += one.cached
            by_pair[one.pair][1] += most
            blocks += whole
            if one.arm == HEIRS:
                heirs = [a + b for a, b in zip(heirs, (one.cached, most, one.tokens), strict=True)]
                heirs_blocks += whole
    cached, most = (tuple(map(float, side)) for side in zip(*by_pair.values(), strict=True))
    requests = sum(one.arm == HEIRS for one in asked)
    figures: dict[str, float | str] = {
        "requests": float(len(asked)),
        "tokens of a block": float(block),
        "cached, of what such blocks allow": sum(cached) / blocks if blocks else 0.0,
        f"what blocks of {ours} would allow": smaller / sum(most) if sum(most) else 0.0,
    }
    if requests and heirs[1]:
        figures |= {
            f"arm {HEIRS}: cached tokens a prompt": heirs[0] / requests,
            "that could be": heirs[1] / requests,
            "in whole blocks": heirs_blocks / requests,
            "of": heirs[2] / requests,
        }
    return Measured(cached, most, figures, origin_of(run))


def successions(run: Path) -> Measured:
    """Return by lineage the mean seconds between two generations, and those of the engine's start.

    Raises LineageError where the run was gone on with, so that it had several starts, or has no
    successor.
    """
    sittings, record = read_sittings(run), read_record(run)
    if len(sittings) != 1:
        raise LineageError(f"{run} was worked on {len(sittings)} times: choose another run")
    start = sittings[0].began - float(record["began"])
    with lineage.open(run) as log:
        rows = log.execute(
            "WITH lived AS (SELECT lineage, generation, max(ended_at) AS ended, "
            "min(ended_at - wall_seconds) AS began FROM steps GROUP BY ALL) "
            "SELECT after.lineage, avg(after.began - before.ended), max(after.began - before.ended)"
            " FROM lived AS before JOIN lived AS after ON after.lineage = before.lineage "
            "AND after.generation = before.generation + 1 GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    if not rows:
        raise LineageError(f"{run} has no second generation: choose another run")
    gaps = tuple(float(mean) for _, mean, _ in rows)
    figures: dict[str, float | str] = {"longest, seconds": max(float(most) for *_, most in rows)}
    return Measured(gaps, (start,) * len(gaps), figures, origin_of(run))


def origin_of(run: Path) -> dict[str, Any]:
    """Return where the figures of a run are from, as a result has it."""
    record = read_record(run)
    keys = ("commit", "dirty", "machine", "libraries", "others")
    return {
        **{key: record.get(key) for key in keys},
        "date": time.strftime("%Y-%m-%d", time.gmtime(record["began"])),
        "experiment": record["experiment"],
    }


def newest(root: Path = ROOT) -> Path:
    """Return the newest finished run of a real engine with heirs below `root`.

    Raises LineageError where there is none.
    """
    for one in listing(root) if root.is_dir() else ():
        if (one.kind, one.state, one.engine) == ("run", FINISHED, "vllm") and HEIRS in one.arms:
            return root / one.folder
    raise LineageError(f"{root} has no finished run of a real engine: lineage run makes one")


def ratios(setup: Setup) -> dict[str, Measured]:
    """Measure both of the run that `setup` names, else of the newest."""
    run = setup.run or newest()
    setup.tick(run.name)
    return {"shared-prefixes": shared_prefixes(run), "succession": successions(run)}


def show(console: Console, name: str, measured: Measured, of: Any) -> None:
    """Print a ratio with its interval and what explains it."""
    value, low, high = estimate(measured, of)
    bounds = "n/a" if low is None or high is None else f"{low:.4f}, {high:.4f}"
    console.print(f"{name} = {value:.4f} [{bounds}], n = {len(measured.above)}")
    told: Mapping[str, float | str] = measured.figures
    for what, figure in told.items():
        console.print(f"  {what}: {figure if isinstance(figure, str) else f'{figure:,.3f}'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="default: the newest below runs/")
    parser.add_argument(
        "--cache", type=Path, help="of the run; a checkpoint that it lacks is made there"
    )
    options = parser.parse_args()
    console, run = Console(), options.run or newest()
    show(console, "cached / shareable", shared_prefixes(run, options.cache), SHARE)
    show(console, "succession / start of the engine", successions(run), AMOUNT)


if __name__ == "__main__":
    main()
