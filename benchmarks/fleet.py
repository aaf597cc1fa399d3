"""The fleet beside raw vLLM: the same requests, the same settings of the engine, tokens a second.

    python benchmarks/fleet.py [--small]     one engine, asked in both ways in turn
    python benchmarks/fleet.py --apart       LLM.generate in a process of its own

The requests are those of the default experiment, as its lineages ask them when the surrogate
answers: prompts, lengths, seeds and the schemas of handoffs are those of a real run, what the notes
say is the surrogate's. No two are equal. They are asked in batches: through the fleet, which is
given all of a batch at once, as lineages in flight would do, and offline, by what `LLM.generate`
does: all of a batch is added to the engine, which is stepped until it is answered.

On a processor both ask the engine of one actor, batch by batch, now this first and now that, its
cache of prefixes emptied before each: what a machine does to one life of an engine, and it may be a
fifth, is in both. `--apart`, and on a GPU, each has a process and an engine of its own, one after
another, fleet, raw, fleet, raw, and raw is `LLM.generate` itself. There are never two engines. The
start is not timed, nor is a first batch, which loads the adapters. Beside the tokens a second
stands which share of a core each part of the fleet took meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
from ratios import Measured, Setup, estimate
from rich.console import Console
from rich.table import Table

from lineage import compose
from lineage.core.config import Config
from lineage.core.config_engine import VllmConfig
from lineage.core.errors import LineageError
from lineage.core.intervals import AMOUNT
from lineage.core.seeds import rng
from lineage.models import replica as replica_module
from lineage.models.chat_template import render
from lineage.models.checkpoint import locate
from lineage.models.factory import make_engine
from lineage.models.fleet import Fleet
from lineage.models.host import Host
from lineage.models.precision import precision
from lineage.models.profile import Profile, resolve
from lineage.models.protocol import Completion, Engine, EngineLayer, Request
from lineage.models.stepped import SteppedEngine
from lineage.models.surrogate import Surrogate
from lineage.models.versions import lookup, registry
from lineage.models.vllm_arguments import arguments, further
from lineage.models.vllm_engine import VllmEngine, environment, sampling_of
from lineage.runs.loop import run_lineages
from lineage.runs.origin import Load
from lineage.runs.plan import prepare
from lineage.runs.run import begin

IN_FLIGHT = (16, 64)
ROUNDS, WARM, MOST = 2, 8, 3
"""Lives of an engine where ways are apart, requests of the first batch, large batches of a case."""
FLEET, RAW = "fleet", "raw"
PLAIN, HANDOFFS = "", "-handoffs"
"""Which requests: those of free text, or those whose answer a schema constrains."""
OF_CORE = ", of a core"
HOSTS = ("ray::Host", "ray::Both")
"""How the titles of actors begin that host an engine."""
GPUS = Path("/dev/nvidiactl")
LAST_LINES = 5
STOP_SECONDS = 30.0
"""So long an engine may take to stop at a Ctrl-C."""

Batches = dict[str, list[list[Request]]]
"""By the name of a ratio its batches; under "" one that warms up."""


@dataclass
class Asked(EngineLayer):
    """An `EngineLayer` that remembers what was asked."""

    engine: Engine
    requests: list[Request] = field(default_factory=list)

    async def generate(self, request: Request) -> Completion:
        """Return the completion of the engine behind."""
        self.requests.append(request)
        return await self.engine.generate(request)


def recorded(small: bool) -> list[Request]:
    """Return what a run of the default experiment asks, no request twice, in an order drawn."""
    with tempfile.TemporaryDirectory(prefix="lineage-") as name:
        words = ["engine=surrogate", f"run.root={name}", f"run.cache={name}/cache"]
        config = compose.load([*words, *(["experiment=tiny"] if small else [])])
        job, asked = prepare(config), Asked(Surrogate(config.engine.surrogate))
        begin(job, Path(name) / "run")
        span = range(job.generations)
        asyncio.run(run_lineages(job, Path(name) / "run", asked, lambda: None, span))
    found = list({one.digest: one for one in asked.requests}.values())
    found.sort(key=lambda one: one.id)
    return rng("fleet", "requests").sample(found, len(found))


def batched(requests: Sequence[Request], each: int, small: bool) -> Batches:
    """Return `each` batches of every case, and twice as many of the smaller ones.

    Raises LineageError where there are too few requests.
    """
    found: Batches = {}
    for kind in (PLAIN, HANDOFFS):
        left = iter([one for one in requests if (one.schema is not None) == (kind == HANDOFFS)])
        if kind == PLAIN:
            found[""] = [list(islice(left, 2 if small else WARM))]
        for size in IN_FLIGHT:
            count = 2 if small else size
            often = each if small or size == IN_FLIGHT[-1] else 2 * each
            batches = [list(islice(left, count)) for _ in range(often)]
            if len(batches[-1]) < count:
                raise LineageError(f"too few requests{kind} for {each} batches of {count}")
            found[f"fleet-{size}{kind}"] = batches
    return found


def processor() -> dict[str, float]:
    """Return the processor seconds of this process and of those below it, by what they are.

    The actor that hosts an engine is the engine: on a processor it computes in a thread of it.
    """
    me, found = psutil.Process(), defaultdict[str, float](float)
    hosts = {one.pid for one in me.children(recursive=True) if _title(one).startswith(HOSTS)}
    for one in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):
            theirs = hosts & {one.pid, *(parent.pid for parent in one.parents())}
            kind = "engine" if theirs else "Ray"
            times = one.cpu_times()
            found["driver" if one.pid == me.pid else kind] += times.user + times.system
    return found


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def through_fleet(config: Config, batches: Batches) -> dict[str, Any]:
    """Return by case seconds and tokens of each batch, and the shares of a core meanwhile.

    Also the seconds until the engine was ready, and what it wrote.
    """

    async def work() -> dict[str, Any]:
        engine, began = make_engine(config), time.perf_counter()
        try:
            await engine.start(_versions(batches))
            start = time.perf_counter() - began
            found, before, load, since = {}, dict[str, float](), Load.now(), 0.0
            texts: list[str] = []
            for case, theirs in batches.items():
                found[case] = []
                for batch in theirs:
                    began = time.perf_counter()
                    answers = await asyncio.gather(*map(engine.generate, batch))
                    took = time.perf_counter() - began
                    if failed := [one.error for one in answers if one.error]:
                        raise LineageError(f"{len(failed)} requests failed: {failed[0]}")
                    found[case].append((took, sum(one.completion_tokens for one in answers)))
                    texts += [one.text for one in answers]
                if not case:
                    before, load, since = processor(), Load.now(), time.perf_counter()
            spent, wall = processor(), time.perf_counter() - since
            shares = {kind: (spent[kind] - before.get(kind, 0.0)) / wall for kind in spent}
            others = Load.now().others_since(load, wall)
            told = {"start": start, "texts": texts}
            return {"cases": found, "shares": shares, "others": others, **told}
        finally:
            await engine.close()

    return asyncio.run(work())


def through_vllm(config: Config, batches: Batches) -> dict[str, Any]:
    """Return by case seconds and tokens of each batch, of `LLM.generate` offline."""
    vllm, cache, profile = _place(config)
    from vllm import LLM
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.lora.request import LoRARequest
    from vllm.usage.usage_lib import UsageContext

    from lineage.models.vllm_extra import parsed

    known = registry(config.model)
    located = {name: locate(lookup(known, name), cache) for name in _versions(batches)}
    served = {
        name: replace(known[name], adapter=str(found.adapter or ""))
        for name, found in located.items()
    }
    checkpoint = str(next(iter(located.values())).checkpoint)
    dtype = precision(vllm.dtype, profile.on_gpu)
    told = arguments(checkpoint, served, vllm, profile, dtype, adaptable=False)
    told |= parsed(further(vllm))
    # Offline, vLLM would take larger batches by default than the engine of a fleet does.
    made = AsyncEngineArgs(**told).create_engine_config(UsageContext.ENGINE_CONTEXT)
    told["max_num_batched_tokens"] = made.scheduler_config.max_num_batched_tokens
    llm = LLM(**told)
    tokenizer = llm.get_tokenizer()
    adapters = {
        name: LoRARequest(name, number, one.adapter)
        for number, (name, one) in enumerate(served.items(), start=1)
        if one.adapter
    }
    found: dict[str, list[tuple[float, int]]] = {}
    load, since = Load.now(), time.perf_counter()
    for case, theirs in batches.items():
        found[case] = []
        for batch in theirs:
            began = time.perf_counter()
            texts = [render(tokenizer, one.turns, ask=True, tools=one.tools) for one in batch]
            answers = llm.generate(
                [
                    {
                        "prompt_token_ids": tokenizer.encode(text, add_special_tokens=False),
                        "cache_salt": one.version,
                    }
                    for text, one in zip(texts, batch, strict=True)
                ],
                [sampling_of(one) for one in batch],
                lora_request=[adapters.get(one.version) for one in batch],
                use_tqdm=False,
            )
            tokens = sum(len(one.outputs[0].token_ids) for one in answers)
            found[case].append((time.perf_counter() - began, tokens))
    others = Load.now().others_since(load, time.perf_counter() - since)
    return {"cases": found, "shares": {}, "others": others}


class Both(Host):
    """A host whose engine is asked offline too, past all that is ours but the thread it is in."""

    async def offline(self, requests: Sequence[Request]) -> int:
        """Return how many tokens vLLM wrote, given all `requests` at once."""
        mine, stepped = self.inside()
        tokenizer = mine.tokenizer

        def generate(vllm: Any) -> int:
            for one in requests:
                text = render(tokenizer, one.turns, ask=True, tools=one.tools)
                ids = tokenizer.encode(text, add_special_tokens=False)
                vllm.add_request(
                    one.id,
                    {"prompt_token_ids": ids, "cache_salt": one.version},
                    sampling_of(one),
                    lora_request=mine.adapters.get(one.version),
                )
            tokens = 0
            while vllm.has_unfinished_requests():
                found = [one for one in vllm.step() if one.finished]
                tokens += sum(len(one.outputs[0].token_ids) for one in found)
            return tokens

        return await stepped.call(generate)

    async def forget(self) -> None:
        """Empty the cache of prefixes."""
        _, stepped = self.inside()
        assert await stepped.call(lambda vllm: bool(vllm.reset_prefix_cache()))

    def inside(self) -> tuple[VllmEngine, SteppedEngine]:
        """Return the engine, and what steps it."""
        mine = self.engine
        assert isinstance(mine, VllmEngine) and isinstance(mine.engine, SteppedEngine)
        return mine, mine.engine


def in_both(config: Config, batches: Batches) -> dict[str, Any]:
    """Return the same of both ways, asked in turn of one engine; shares are the fleet's alone."""

    async def work() -> dict[str, Any]:
        replica_module.Host = Both  # type: ignore[misc]
        engine = make_engine(config)
        assert isinstance(engine, Fleet)
        try:
            await engine.start(_versions(batches))
            (replica,) = next(iter(engine.replicas.values()))

            async def fleet(batch: list[Request]) -> int:
                answers = await asyncio.gather(*map(engine.generate, batch))
                if failed := [one.error for one in answers if one.error]:
                    raise LineageError(f"{len(failed)} requests failed: {failed[0]}")
                return sum(one.completion_tokens for one in answers)

            async def raw(batch: list[Request]) -> int:
                return int(await replica.actor.offline.remote(batch))

            ways = {FLEET: fleet, RAW: raw}
            found: dict[str, dict[str, list[tuple[float, int]]]] = {way: {} for way in ways}
            spent, wall = defaultdict[str, float](float), 0.0
            load, since = Load.now(), time.perf_counter()
            for case, theirs in batches.items():
                for number, batch in enumerate(theirs):
                    for way in sorted(ways, reverse=bool(number % 2)):
                        await replica.actor.forget.remote()
                        before, began = processor(), time.perf_counter()
                        tokens = await ways[way](batch)
                        took = time.perf_counter() - began
                        found[way].setdefault(case, []).append((took, tokens))
                        if way == FLEET and case:
                            wall += took
                            for kind, seconds in processor().items():
                                spent[kind] += seconds - before.get(kind, 0.0)
            others = Load.now().others_since(load, time.perf_counter() - since)
            shares = {kind: seconds / wall for kind, seconds in spent.items()}
            return {"cases": found, "shares": shares, "others": others}
        finally:
            await engine.close()

    return asyncio.run(work())


BOTH = "both"
WAYS = {FLEET: through_fleet, RAW: through_vllm, BOTH: in_both}


def _place(config: Config) -> tuple[VllmConfig, Path, Profile]:
    """Return the settings of vLLM, its cache, and what the machine has."""
    # torch could tell, but it reads how many threads it shall have when it is imported.
    profile = resolve(config.engine, GPUS.exists(), here=True)
    return config.engine.vllm, Path(config.run.cache).absolute(), profile


def _versions(batches: Batches) -> list[str]:
    """Return the versions that are asked, in the order of their names."""
    return sorted({one.version for theirs in batches.values() for batch in theirs for one in batch})


def lived(way: str, given: Path, words: Sequence[str]) -> Mapping[str, Any]:
    """Have a process of its own ask the batches in the file `given`; raises LineageError."""
    told, said = given.with_name(f"{way}.json"), given.with_name(f"{way}.log")
    command = [sys.executable, __file__, *words, "--way", way, "--given", str(given)]
    # What is preloaded is so before a process begins: the fleet gives it to those of its engines.
    own = environment(*_place(compose.load(words))) if way == RAW else {}
    # In a session of its own, so that a Ctrl-C reaches it once, by us, and its engine is stopped.
    with (
        said.open("w") as log,
        subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **own},
        ) as process,
    ):
        try:
            code = process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()
            raise
    if code or not told.exists():
        last = " | ".join(said.read_text(errors="replace").splitlines()[-LAST_LINES:])
        raise LineageError(f"{way} ended with {code}: {last}")
    found: dict[str, Any] = json.loads(told.read_bytes())
    told.unlink()
    return found


def ratios(setup: Setup) -> dict[str, Measured]:
    """Measure the tokens a second of the fleet and of raw vLLM, batch by batch."""
    return measured(setup, (), apart=GPUS.exists())


def measured(setup: Setup, words: Sequence[str], apart: bool) -> dict[str, Measured]:
    """Measure with `words`, which are overrides of the configuration."""
    rounds = ROUNDS if apart and not setup.small else 1
    setup.tick("recording what a run asks")
    each = max(1, -(-min(setup.repeats, MOST) // rounds))
    batches = batched(recorded(setup.small), each, setup.small)
    found: dict[str, dict[str, list[tuple[float, int]]]] = {FLEET: {}, RAW: {}}
    shares, others = list[Mapping[str, float]](), list[float]()
    with tempfile.TemporaryDirectory(prefix="lineage-") as folder:
        given = Path(folder) / "requests"
        given.write_bytes(pickle.dumps(batches))
        for number in range(1, rounds + 1):
            for way in (FLEET, RAW) if apart else (BOTH,):
                setup.tick(f"{way}, {number} of {rounds}")
                life = lived(way, given, words)
                for one, cases in (life["cases"] if way == BOTH else {way: life["cases"]}).items():
                    for case, times in cases.items():
                        found[one].setdefault(case, []).extend(times)
                shares += [life["shares"]] if life["shares"] else []
                others.append(life["others"])
    kinds = sorted({kind for one in shares for kind in one})
    of_core = {
        f"{kind}{OF_CORE}": sum(one.get(kind, 0.0) for one in shares) / len(shares)
        for kind in kinds
    }
    # Afterwards the processes are gone, and their work would be that of others.
    origin = {"others": round(sum(others) / len(others), 4)}
    return {case: replace(_of(case, found, of_core), origin=origin) for case in batches if case}


def _of(
    case: str,
    found: Mapping[str, Mapping[str, Sequence[tuple[float, int]]]],
    of_core: Mapping[str, float],
) -> Measured:
    above, below = (
        tuple(tokens / seconds for seconds, tokens in found[way][case]) for way in (FLEET, RAW)
    )
    written = {
        f"tokens, {way}": float(sum(tokens for _, tokens in cases[case]))
        for way, cases in found.items()
    }
    return Measured(above, below, {**written, **of_core})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    parser.add_argument("--small", action="store_true", help="see that it works")
    parser.add_argument("--apart", action="store_true", help="LLM.generate in another process")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--given", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        config = compose.load(options.overrides)
        # Written by this file, a moment ago.
        batches: Batches = pickle.loads(options.given.read_bytes())
        found = WAYS[options.way](config, batches)
        options.given.with_name(f"{options.way}.json").write_text(json.dumps(found))
        return
    console = Console()
    setup = Setup(2 if options.small else 5, options.small, tick=console.print)
    table = Table("", "fleet, tokens/s", "raw, tokens/s", "ratio", "n", box=None)
    for case, one in measured(setup, options.overrides, options.apart).items():
        value, low, high = estimate(one, AMOUNT)
        bounds = "n/a" if low is None or high is None else f"{low:.3f}, {high:.3f}"
        sides = (f"{sum(side) / len(side):.1f}" for side in (one.above, one.below))
        table.add_row(case, *sides, f"{value:.3f} ({bounds})", str(len(one.above)))
    console.print(table)
    for what, share in one.figures.items():
        if what.endswith(OF_CORE):
            console.print(f"{what}: {share:.3g}", markup=False)


if __name__ == "__main__":
    main()
