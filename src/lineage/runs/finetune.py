"""The arm `finetune`: weights instead of memory, the other answer to the same problem."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from lineage.agent.context import Context
from lineage.agent.history import Past
from lineage.agent.prompt import act_turns
from lineage.core.config_engine import FinetuneConfig
from lineage.core.knowledge import EMPTY
from lineage.core.seeds import derive
from lineage.models.protocol import Engine, Example, Turn


async def tune(
    context: Context,
    engine: Engine,
    config: FinetuneConfig,
    past: Sequence[Past],
    generation: int,
    run: Path,
) -> str:
    """Train an adapter on what the lineage lived through up to `generation`; return its name.

    It starts from the version that serves now, so a release begins anew on the new weights. An
    adapter that is in the run's folder already is served, not trained again. "" where there is
    nothing to learn from.
    """
    learnt = [p for p in past if config.history == "all" or p.generation == generation]

    def asked(p: Past) -> tuple[Turn, ...]:
        instructions = context.suite.instructions
        return act_turns(context.texts, EMPTY, p.task.prompt, instructions=instructions)

    examples = [
        Example((*asked(p), Turn("assistant", p.solution)))
        for p in learnt
        if p.solution and not p.task.lesson
    ]
    if not examples:
        return ""
    ids = context.ids
    # At a release the new version is trained on the same history, so its name tells both.
    name = f"{ids.lineage}-g{generation:02d}-{ids.version}"
    seed = derive(ids.experiment, ids.pair, generation, "finetune")
    began = time.monotonic()
    await engine.adapt(name, ids.version, examples, run / "adapters" / name, seed)
    context.write(
        "handoff" if generation == ids.generation else "migrate",
        f"finetune-{generation:02d}",
        0,
        "handoff",
        detail=f"finetune: {len(examples)} examples",
        seed=seed,
        wall_seconds=time.monotonic() - began,
    )
    return name
