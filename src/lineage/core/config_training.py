"""The nodes of the configuration that say how a version is trained, but for what it is called."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from lineage.core.config_agent import Opening
from lineage.core.config_engine import Precision
from lineage.core.fields import NODE, Number, Share, Whole, key, wrong

LATER_COURSES = {"tasks": "families", "explore": False}
"""Keys of a curriculum that count in no hash while they are so: as it was before they were."""


@dataclass(frozen=True, config=NODE)
class CurriculumConfig:
    """Histories of one kind, for one behaviour, and how often a training step draws them."""

    trains: Literal["handoff", "episode"] = key("what is written; what is opened and answered")
    share: Number = key("of a step's groups and samples", "relative to the others", gt=0)
    generations: Whole = key("of work in one world; each handoff a history", "generations", ge=1)
    revisit: Share = key("meet an earlier task again", "share of a generation's episodes")
    drift: Share = key("that a fact changes, where the suite has that", "chance a generation")
    docs: bool = key("whether docs are written and read")
    opening: Opening = key("as agent.opening")
    library: Literal["own", "ideal", "growing"] = key(
        "what is read: the history's; made of the facts; first these, then ever more of those"
    )
    stale: Number = key("handoff", "price of memories that contradict the world", ge=0)
    tasks: Literal["families", "balanced"] = key(
        "episode: as many of each family as train.probes says; by turns what a memory answers, a "
        "doc, and neither",
        default="families",
    )
    explore: bool = key("episode: see `lineage.training.exploring`", default=False)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.explore and (self.trains, self.docs, self.opening) != ("episode", True, "choice"):
            raise wrong(
                "curricula: explore tries each choice of a doc: it needs trains=episode, docs=true "
                "and opening=choice"
            )
        if self.library == "growing" and self.generations < 2:
            raise wrong(
                "curricula: library=growing reads what a generation inherits: generations must be "
                "2 or more"
            )
        return self


@dataclass(frozen=True, config=NODE)
class MethodConfig:
    """How a training step learns."""

    kind: str = key("grpo | rft: see lineage.training.learners")
    warm_steps: Whole = key("that are rft's, whatever the kind", "first steps", ge=0)
    steps: Whole = key("warm ones included", "steps", ge=1)
    groups: Whole = key("", "groups a step", ge=1)
    warm_groups: Whole = key("of grpo", "groups a warm step", ge=1)
    group: Whole = key("G: that branch from one snapshot", "alternatives, to be compared", ge=2)
    temperature: Number = key("of what is sampled", "at 0 all alternatives are one", gt=0, le=10)
    warm_temperature: Number = key("in warm steps", "at 0 all alternatives are one", gt=0, le=10)
    learning_rate: Number = key("", "of the optimiser", gt=0, le=1)
    warm_learning_rate: Number = key("in the warm steps of grpo", "of the optimiser", gt=0, le=1)
    epochs: Whole = key("", "passes over what one step learns from", ge=1)
    most: Whole = key("that one step learns from, at most", "samples", ge=1)
    warm_most: Whole = key("the same of a warm step", "samples", ge=1)
    batch: Whole = key("of one forward pass", "samples", ge=1)
    rank: Whole = key("", "rank of the LoRA", ge=1, le=512)
    beta: Number = key("grpo", "weight of the KL divergence to the parent", ge=0)
    clip: Number = key("grpo", "how far a token's probability ratio may move", ge=0)
    dtype: Precision = key("of the base weights; the adapter learns in float32")
