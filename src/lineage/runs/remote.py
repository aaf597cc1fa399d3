"""What a run on models behind an API cannot do, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence

from lineage.core.config import Config
from lineage.core.config_engine import OPENAI
from lineage.core.errors import LineageError, nearest
from lineage.models.factory import behind_api
from lineage.models.versions import no_weights
from lineage.runs.arms import Arm
from lineage.runs.parts import in_shards


def check_remote(config: Config, versions: Sequence[str], arms: Sequence[Arm]) -> None:
    """Raise LineageError where a run of `versions` cannot be served as `config` says.

    It asks no API, and needs no key.
    """
    behind = behind_api(config)
    remote = [name for name in versions if name in behind]
    own = [name for name in versions if name not in behind and name in config.model.versions]
    if config.engine.kind == OPENAI and own:
        kind = config.model.versions[own[0]].checkpoint.kind
        raise LineageError(
            f"engine=openai serves only models behind an API, and the checkpoint of {own[0]} is "
            f"of kind {kind!r}: use engine=vllm, which serves both in one run, or other versions"
        )
    for name in remote:
        _check_version(config, name)
    if not remote:
        if config.run.most_usd is not None and config.engine.kind != "surrogate":
            raise LineageError(
                "run.most_usd is set, and no version of this run is behind an API: leave it null"
            )
        return
    for name, parent in config.schedule.trained.items():
        if parent in behind:
            raise LineageError(f"schedule.trained.{name}: {no_weights(parent)}")
    for arm in arms:
        taught = [name for name in arm.versions if name in behind]
        if arm.receives.weights and taught:
            raise LineageError(f"arm {arm.name} trains weights, and {no_weights(taught[0])}")
    if in_shards(config):
        raise LineageError(
            f"{remote[0]} is behind an API, whose rate limits and costs are kept in one process: "
            "set run.shards=1"
        )


def _check_version(config: Config, name: str) -> None:
    version, endpoints = config.model.versions[name], config.model.endpoints
    checkpoint = version.checkpoint
    if checkpoint.endpoint not in endpoints:
        hint = nearest(checkpoint.endpoint, sorted(endpoints)) or ": define one there"
        raise LineageError(
            f"checkpoint.endpoint of {name} is {checkpoint.endpoint!r}, which is none of "
            f"model.endpoints{hint}"
        )
    if not checkpoint.path:
        raise LineageError(f"checkpoint.path of {name} is empty: set it to the model's id there")
    if version.adapter:
        raise LineageError(
            f"{name} is behind an API and has an adapter, which only an engine of our own loads: "
            "leave it out; a server that has it serves it as a model with an id of its own"
        )
    if checkpoint.chat_template:
        raise LineageError(
            f"{name} is behind an API and has a chat_template: the template is the server's, leave "
            "it out"
        )
    if config.run.most_usd is not None and version.price is None:
        raise LineageError(
            f"run.most_usd is set, and {name} has no price: set its price.prompt and "
            "price.completion, in USD a million tokens"
        )
    if checkpoint.tokenizer:
        # Loaded only where there is one.
        from lineage.models.counting import counted_by

        counted_by(name, checkpoint)


def check_learner(config: Config, parent: str) -> None:
    """Raise LineageError where `parent` has no weights that a training could change."""
    if parent in behind_api(config):
        raise LineageError(f"train.parent: {no_weights(parent)}")
    if config.engine.kind == OPENAI:
        raise LineageError(
            "engine=openai trains nothing, since the weights are elsewhere: use engine=vllm"
        )
