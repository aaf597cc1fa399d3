"""The engine on a CPU in both precisions, with one thread and with one a core: tokens a second.

    python benchmarks/precision.py

SmolLM2-135M answers prompts that share nothing: reading them is all but all of the work. Each
engine is started, and stopped before the next.
"""

from __future__ import annotations

import asyncio
import itertools
import time

from rich.console import Console
from rich.progress import track
from rich.table import Table

from lineage import compose
from lineage.models.factory import make_engine
from lineage.models.precision import cores, precision
from lineage.models.protocol import Request, Turn

VERSION, PROMPTS, LINES = "smollm2-135m@r0", 4, 20


async def speed(dtype: str, threads: int) -> float:
    """Return how many tokens of prompts an engine reads a second."""
    options = (f"engine.vllm.dtype={dtype}", f"engine.vllm.threads={threads}")
    engine = make_engine(compose.load(options))
    try:
        await engine.start([VERSION])
        await engine.generate(Request("first", VERSION, (Turn("user", "Hello."),), 1, 0.0, 0))
        asked = []
        for number in range(PROMPTS):
            lines = [f"{number}: the code of pump {line} is {line * 37}." for line in range(LINES)]
            turns = (Turn("user", "\n".join(lines)),)
            asked.append(Request(f"q{number}", VERSION, turns, 1, 0.0, number))
        began = time.perf_counter()
        answers = await asyncio.gather(*map(engine.generate, asked))
        seconds = time.perf_counter() - began
        return sum(one.prompt_tokens for one in answers) / seconds
    finally:
        await engine.close()


def main() -> None:
    console = Console()
    cases = list(itertools.product(("bfloat16", "float32"), sorted({1, cores()})))
    found = {
        case: asyncio.run(speed(*case)) for case in track(cases, "engines", console=console)
    }
    slowest = min(found.values())
    table = Table("precision", "threads", "tokens/s", "ratio", box=None)
    for (dtype, threads), tokens in found.items():
        table.add_row(dtype, str(threads), f"{tokens:.0f}", f"{tokens / slowest:.1f}")
    console.print(table)
    console.print(f"auto is {precision('auto', on_gpu=False)} here, one thread a core")


if __name__ == "__main__":
    main()
