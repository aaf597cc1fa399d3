"""The token counter of a version: by the tokenizer of its engine, or before that is started."""

from __future__ import annotations

import math
from pathlib import Path

from tokenizers import Tokenizer

from lineage.core.config import Config
from lineage.core.config_engine import OPENAI, CheckpointConfig
from lineage.core.errors import LineageError, first_line
from lineage.models.checkpoint import locate, shared_cache
from lineage.models.protocol import CHARS_PER_TOKEN, TokenCounter
from lineage.models.surrogate import DEFAULT
from lineage.models.surrogate import counter_of as lettered
from lineage.models.versions import lookup, registered, registry

TOKENIZER = "tokenizer.json"
"""The file of a checkpoint that the `tokenizers` library reads."""


def counter_of(config: Config, version: str) -> TokenCounter | None:
    """Return how the engine of `config` will count the tokens of `version`.

    A checkpoint is fetched or converted first, as the engine would. None where that cannot be told
    here: another machine may have the checkpoint, another kind of engine its own tokenizer.
    """
    version = registered(config, version)
    if config.engine.kind == "surrogate":
        skills = config.engine.surrogate.skills
        return lettered(skills.get(version, skills[DEFAULT]).token_letters)
    one = lookup(registry(config.model), version)
    if one.checkpoint.kind == OPENAI:
        return counted_by(version, one.checkpoint)
    if config.engine.kind != "vllm":
        return None
    try:
        found = locate(one, Path(config.run.cache_folder), shared_cache(config.run))
        return token_counter((found.checkpoint / TOKENIZER).read_text(encoding="utf-8"))
    except Exception:  # ours where it is missing; the library's is of no kind of its own
        return None


def counted_by(version: str, checkpoint: CheckpointConfig) -> TokenCounter:
    """Return the counter of a `version` behind an API: of the tokenizer that its `checkpoint`
    names, else by letters, rounded up. Raises LineageError where that cannot be read.
    """
    if not checkpoint.tokenizer:
        each = checkpoint.chars_per_token or CHARS_PER_TOKEN
        return lambda text: math.ceil(len(text) / each)
    place = Path(checkpoint.tokenizer).expanduser()
    file = place / TOKENIZER if place.is_dir() else place
    try:
        return token_counter(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library's is of no kind of its own
        raise LineageError(
            f"checkpoint.tokenizer of {version} is no {TOKENIZER} ({first_line(error)}): name one, "
            "or its folder, or leave it empty"
        ) from error


def token_counter(tokenizer: str) -> TokenCounter:
    """Return the counter of a `tokenizer` as its engine gives it: a surrogate's is a number."""
    if not tokenizer or tokenizer.isdecimal():
        return lettered(int(tokenizer or 0))
    loaded = Tokenizer.from_str(tokenizer)
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)
