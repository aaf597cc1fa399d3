"""The token counter of a version: by the tokenizer of its engine, or before that is started."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from lineage.core.config import Config
from lineage.models.checkpoint import locate
from lineage.models.protocol import TokenCounter
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
    if config.engine.kind != "vllm":
        return None
    try:
        found = locate(lookup(registry(config.model), version), Path(config.run.cache))
        return token_counter((found.checkpoint / TOKENIZER).read_text(encoding="utf-8"))
    except Exception:  # ours where it is missing; the library's is of no kind of its own
        return None


def token_counter(tokenizer: str) -> TokenCounter:
    """Return the counter of a `tokenizer` as its engine gives it: a surrogate's is a number."""
    if not tokenizer or tokenizer.isdecimal():
        return lettered(int(tokenizer or 0))
    loaded = Tokenizer.from_str(tokenizer)
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)
