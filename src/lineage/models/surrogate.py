"""The surrogate engine: a deterministic behavioural model of a small language model.

It writes text like any other engine (`lineage.models.behaviour`). All its draws are hashed from
version, prompt and seed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lineage.core.config_engine import SkillConfig, SurrogateConfig
from lineage.core.errors import LineageError
from lineage.core.jsonfile import read_json
from lineage.core.seeds import rng
from lineage.models.behaviour import as_json, call_tool, respond
from lineage.models.dice import Dice
from lineage.models.protocol import OF_RUN, Completion, Example, Located, Request, TokenCounter

DEFAULT = "default"
TRAINED = "skills.json"
"""The file in the folder of a version that was trained here: skills by name."""


class Surrogate:
    """An `Engine` in this process; `skills` by version name, `default` for the others."""

    def __init__(self, config: SurrogateConfig) -> None:
        if DEFAULT not in config.skills:
            raise LineageError("engine.surrogate.skills needs an entry named 'default'")
        self.skills = dict(config.skills)
        self.folders: dict[str, Path] = {}
        self.adapted: dict[str, tuple[str, tuple[str, ...]]] = {}

    async def start(self, versions: Sequence[str]) -> None:
        """Nothing to get ready."""

    async def close(self) -> None:
        """Nothing to stop."""

    def describe(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}

    def faults(self) -> dict[str, int]:
        """It never fails."""
        return {}

    def spare_gpus(self) -> float:
        """It needs none, and neither does who trains for it."""
        return 0.0

    def weights(self, version: str) -> Located:
        """Return the folder of skills of a version that was trained."""
        return Located(Path(), self.folders.get(version))

    async def counter(self, version: str) -> TokenCounter:
        """Count words and marks, of long words their pieces: near enough to a tokenizer."""
        return counter_of(self._skill(version).token_letters)

    def tokenizer(self, version: str) -> str:
        """Return how many letters of a word are one token to `version`, "" for all of them."""
        return str(self._skill(version).token_letters or "")

    def _skill(self, version: str) -> SkillConfig:
        """Return the skills of `version`: of one that learnt examples those of its base."""
        base, _ = self.adapted.get(version, (version, ()))
        return self.skills.get(base, self.skills[DEFAULT])

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Remember some of the examples' last answers, by the base's skill `finetune`.

        What is remembered is known without any note, and crowds like notes do.
        """
        skill = self.skills.get(base, self.skills[DEFAULT])
        said = [example.turns[-1].content for example in examples]
        learnt = (a for a in said if rng("finetune", base, a).random() < skill.finetune)
        self.adapted[name] = base, tuple(dict.fromkeys(learnt))

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Serve `name`: the skills of `base`, but for those that `folder` holds."""
        if name in self.folders:
            return
        trained = read_json(folder / TRAINED, dict[str, Any])
        self.folders[name] = folder
        self.skills[name] = replace(self.skills.get(base, self.skills[DEFAULT]), **trained)

    async def generate(self, request: Request) -> Completion:
        """Return what the version's skills make of the prompt."""
        prompt = "".join(f"<|im_start|>{t.role}\n{t.content}<|im_end|>\n" for t in request.turns)
        version, learnt = self.adapted.get(request.version, (request.version, ()))
        # What a run made answers alike, whoever else is served here.
        known = version.partition(OF_RUN)[0]
        draw = Dice("surrogate", known, prompt, request.seed if request.temperature else 0)
        skill = self._skill(request.version)
        count = counter_of(skill.token_letters)
        call = call_tool(skill, request, draw) if request.tools else None
        if call is not None:
            text = as_json({"name": call.name, "arguments": call.arguments})
        else:
            text = respond(skill, request, draw, learnt)
        return Completion(
            text=text,
            calls=(call,) if call else (),
            prompt=prompt,
            finish_reason="stop",
            prompt_tokens=count(prompt),
            completion_tokens=count(text),
            tokens=tuple(draw.decisions) if request.logprobs else (),
            logprobs=tuple(draw.logprobs) if request.logprobs else (),
        )


def counter_of(letters: int) -> TokenCounter:
    """Return the counter of a version of which a token has so many letters at most, 0: any."""
    return partial(count_tokens, letters=letters) if letters else count_tokens


def count_tokens(text: str, letters: int = 0) -> int:
    """Return the number of words and marks; a word counts once for every so many `letters`."""
    if not letters:
        return len(re.findall(r"\w+|[^\w\s]", text))
    return sum(-(-len(word) // letters) for word in re.findall(r"\w+|[^\w\s]", text))
