"""Where an engine has room: what Ray books for it, and what to lower where it has too little. Pure.

A bundle is what is booked on one node. An engine is one bundle, so all its GPUs are on one node;
one with stages (`pipeline_parallel`) is a bundle a stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lineage.models.profile import Profile

Bundle = Mapping[str, float]
CPUS, GPUS = "CPU", "GPU"
"""Ray's names of what is booked."""
GRAIN = 1e-4
"""The least that Ray books."""


def bundles(profile: Profile, cpus: float) -> list[dict[str, float]]:
    """Return what is booked for one engine; the first bundle is the actor's."""
    if not profile.on_gpu:
        return [{CPUS: cpus}]
    if not profile.staged:
        return [{CPUS: cpus, GPUS: profile.gpus}]
    stage = {GPUS: float(profile.tensor_parallel)}
    return [{CPUS: cpus} | stage, *(dict(stage) for _ in range(profile.pipeline_parallel - 1))]


def single(stages: Sequence[Bundle]) -> list[tuple[int, dict[str, float]]]:
    """Return the bundles of `stages` with one GPU each, after the number of their stage.

    vLLM takes no larger ones for workers on several nodes.
    """
    found = []
    for number, stage in enumerate(stages):
        rest = {name: count for name, count in stage.items() if name != GPUS}
        alone: dict[str, float] = {GPUS: 1.0}
        found.append((number, rest | alone))
        found += [(number, dict(alone)) for _ in range(round(stage[GPUS]) - 1)]
    return found


def fits(wanted: Sequence[Bundle], nodes: Sequence[Bundle]) -> bool:
    """Whether `nodes`, which hold nothing else, have room for all `wanted` bundles at once."""
    free = [dict(node) for node in nodes]
    # The choosiest first: those that need processors too.
    for bundle in sorted(wanted, key=_needs, reverse=True):
        node = next((one for one in free if _holds(one, bundle)), None)
        if node is None:
            return False
        for name, count in bundle.items():
            node[name] = node.get(name, 0.0) - count
    return True


def no_room(engine: Sequence[Bundle], engines: int, nodes: Sequence[Bundle]) -> str:
    """Return the line for a Ray of `nodes` that has no room for one of `engines` alike."""
    what = _words(engine[0], engine[0])
    each = f"{what} on one node" if engine[0].get(GPUS, 0) > 1 else what
    if len(engine) > 1:
        gpus = _words({GPUS: engine[0][GPUS]}, (GPUS,))
        each = f"{len(engine)} stages of {gpus}, each on one node"
    who = "an engine that needs" if engines == 1 else f"{engines} engines that each need"
    total = {name: sum(node.get(name, 0.0) for node in nodes) for name in engine[0]}
    has = _words(total, engine[0])
    most = max((node.get(GPUS, 0.0) for node in nodes), default=0.0)
    if GPUS in engine[0] and len(nodes) > 1:
        has += f", at most {_words({GPUS: most}, (GPUS,))} on a node"
    return f"Ray found no room for {who} {each} (it has {has}): {_advice(engine, engines, nodes)}"


def _advice(engine: Sequence[Bundle], engines: int, nodes: Sequence[Bundle]) -> str:
    """Return the keys to lower: of what is short whatever else is lowered, else of the rest."""
    gpus = [{GPUS: bundle[GPUS]} for bundle in engine if GPUS in bundle]
    counts = [node.get(GPUS, 0.0) for node in nodes]
    if gpus and not fits(gpus, nodes):
        if sum(counts) < sum(bundle[GPUS] for bundle in gpus):
            keys = "tensor_parallel" if len(gpus) == 1 else "pipeline_parallel"
            return f"lower engine.vllm.{keys}, or engine.vllm.gpus where that is set"
        if len(gpus) == 1:
            return (
                "lower engine.vllm.tensor_parallel, or spread the engine over nodes with "
                "engine.vllm.pipeline_parallel"
            )
        return "lower engine.vllm.tensor_parallel: the GPUs of a stage are on one node"
    if gpus and not fits(gpus * engines, nodes):
        return "lower engine.replicas, or let engines share a GPU with engine.vllm.gpus"
    if not fits(list(engine) * engines, nodes):
        return "lower engine.replicas or engine.vllm.cpus"
    return "others have booked it: wait for them, or lower engine.replicas"


def _needs(bundle: Bundle) -> tuple[float, float]:
    return bundle.get(CPUS, 0.0), bundle.get(GPUS, 0.0)


def _holds(node: Bundle, bundle: Bundle) -> bool:
    return all(node.get(name, 0.0) > count - GRAIN for name, count in bundle.items())


def _words(counts: Bundle, names: Sequence[str] | Bundle) -> str:
    """Return "1 CPU and 2 GPUs"."""
    return " and ".join(
        f"{counts.get(name, 0.0):g} {name}{'' if counts.get(name, 0.0) == 1 else 's'}"
        for name in names
    )
