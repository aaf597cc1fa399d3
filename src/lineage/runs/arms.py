"""The arms: what a successor receives. Everything else is the same for all arms of a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lineage.agent.history import Past
from lineage.agent.inputs import NOTHING, Inputs
from lineage.agent.migrations import check_migration
from lineage.core.config import AgentConfig, ArmConfig, Config, Opening, Policy
from lineage.core.curriculum import TaskInstance
from lineage.core.errors import LineageError, nearest
from lineage.core.knowledge import EMPTY, Knowledge, Memory, Origin
from lineage.core.tasks import World

ORACLE = Origin(0, "oracle", "")


@dataclass(frozen=True)
class Receives:
    """What reaches a successor: which parts of Knowledge, raw history, or something else."""

    memories: bool = False
    docs: bool = False
    transcript: bool = False  # the newest raw episodes, in every prompt
    retrieval: bool = False  # the raw episodes that a search finds for the task
    weights: bool = False  # an adapter that was trained on the history
    borrowed: bool = False  # the Knowledge of another pair, of another world
    facts: bool = False  # the facts that the task asks for
    replayed: bool = False  # no handoff: each generation leaves a snapshot of a git history

    @property
    def hands_over(self) -> bool:
        """Whether instances of this arm write Knowledge."""
        return self.memories or self.docs


RECEIVES = {
    "inherit": Receives(memories=True, docs=True),
    "memories": Receives(memories=True),
    "docs": Receives(docs=True),
    "transcript": Receives(transcript=True),
    "retrieval": Receives(retrieval=True),
    "finetune": Receives(weights=True),
    "shuffled": Receives(borrowed=True),
    "replay": Receives(memories=True, docs=True, replayed=True),
    "cold": Receives(),
    "oracle": Receives(facts=True),
}


@dataclass(frozen=True)
class Arm:
    """One arm of a run, with all that it does not share with the others.

    `opening` is None where it opens docs as `agent.opening` says.
    """

    name: str
    kind: str
    receives: Receives
    policy: Policy
    migration: str
    versions: tuple[str, ...]
    poisoned: bool
    without: tuple[str, ...] = ()
    opening: Opening | None = None

    def opens(self, agent: AgentConfig) -> Opening:
        """Return how it opens docs in a run of `agent`."""
        return self.opening or agent.opening

    @property
    def record(self) -> dict[str, object]:
        """The arm as `run.json` holds it."""
        more: dict[str, object] = {"without": list(self.without)} if self.without else {}
        if self.opening:
            more["opening"] = self.opening
        return {
            "receives": self.kind,
            "policy": self.policy,
            "migration": self.migration,
            "versions": list(self.versions),
            "poisoned": self.poisoned,
            **more,
        }


def find_arm(config: Config, name: str) -> Arm:
    """Return the arm `name` of `config`.

    Raises LineageError where nothing is known by that name, or what it is made of is unknown.
    """
    found = config.arms.defined.get(name, ArmConfig(receives=name))
    if found.receives not in RECEIVES:
        known = ", ".join((*RECEIVES, *config.arms.defined))
        what = f"arm {name!r}" if name == found.receives else f"arms.defined.{name}.receives"
        raise LineageError(f"{what} is unknown ({found.receives!r}): choose from {known}")
    schedule = config.schedule.versions
    versions = found.versions or schedule
    if len(versions) != len(schedule):
        raise LineageError(
            f"arms.defined.{name}.versions names {len(versions)} versions, the schedule has "
            f"{len(schedule)} generations: name one a generation"
        )
    arm = Arm(
        name,
        found.receives,
        RECEIVES[found.receives],
        found.policy or config.agent.policy,
        found.migration or config.migration.kind,
        tuple(versions),
        found.poisoned,
        tuple(found.without or ()),
        found.opening,
    )
    check_migration(arm.migration)
    return arm


def donor_arm(config: Config, arm: Arm) -> Arm | None:
    """Return the arm whose Knowledge `arm` borrows; None where it borrows none.

    Raises LineageError where there is no such arm, or no other pair.
    """
    if not arm.receives.borrowed:
        return None
    if config.start.run:
        raise LineageError(
            f"arm {arm.name!r} borrows from another pair, and a fork goes on with one: "
            "leave it out of arms.names"
        )
    arms = (find_arm(config, name) for name in config.arms.names)
    donor = next((a for a in arms if a.kind == "inherit" and a.versions == arm.versions), None)
    if donor is None or config.experiment.lineages < 2:
        raise LineageError(
            f"arm {arm.name!r} borrows from another pair of arm 'inherit': name that arm too, "
            "and set experiment.lineages to 2 or more"
        )
    return donor


def donor_of(
    config: Config, arm: Arm, pair: int, home: Callable[[int], str]
) -> tuple[Arm, int] | None:
    """Return the arm and pair whose Knowledge `arm` borrows; None where it borrows none.

    It is that of the next pair of another world: the very texts that `inherit` uses, where they are
    not about what is asked. `home` returns the id of a pair's world. Raises LineageError as
    `donor_arm` does, and where all pairs have the same world.
    """
    donor = donor_arm(config, arm)
    if donor is None:
        return None
    lineages = config.experiment.lineages
    others = ((pair + step) % lineages for step in range(1, lineages))
    # Of a file with few worlds two pairs may have the same.
    found = next((other for other in others if home(other) != home(pair)), None)
    if found is None:
        raise LineageError(
            f"arm {arm.name!r} borrows from another world, and all pairs have {home(pair)!r}: "
            "leave it out of arms.names, or set experiment.lineages higher"
        )
    return donor, found


def begins_with(arm: Arm, knowledge: Knowledge) -> Knowledge:
    """Return what a lineage of `arm` begins with, of the `knowledge` that its run starts from.

    Raises LineageError where it is to lack an entry that is not there.
    """
    if not arm.receives.hands_over or arm.receives.replayed:
        return EMPTY
    known = [entry.id for entry in knowledge.entries]
    for id in arm.without:
        if id not in known:
            raise LineageError(
                f"arms.defined.{arm.name}.without names {id!r}, which is no entry that the run "
                f"starts from{nearest(id, known)}"
            )
    if not arm.without:
        return knowledge
    return knowledge.evolve(
        memories=tuple(one for one in knowledge.memories if one.id not in arm.without),
        docs=tuple(one for one in knowledge.docs if one.id not in arm.without),
    )


def inputs_of(
    arm: Arm, knowledge: Knowledge, past: tuple[Past, ...], home: World, task_instance: TaskInstance
) -> Inputs:
    """Return what an episode of `arm` on `task_instance` receives.

    `past` are the raw episodes that the prompt may hold: the newest ones for `transcript`.
    """
    receives = arm.receives
    if receives.facts:
        return Inputs(_facts(home, task_instance))
    if receives.transcript:
        return Inputs(transcript=past)
    if receives.retrieval:
        return Inputs(pool=past)
    return Inputs(knowledge) if receives.hands_over or receives.borrowed else NOTHING


def _facts(home: World, task_instance: TaskInstance) -> Knowledge:
    """The facts of the lineage's own world that the task asks for: memory without a flaw."""
    if task_instance.task.world != home.id:
        return EMPTY
    memories = (
        Memory(f"m{number}", text, ORACLE, ORACLE)
        for number, text in enumerate(home.fact_texts(task_instance.task.facts), start=1)
    )
    return EMPTY.evolve(memories=tuple(memories))
