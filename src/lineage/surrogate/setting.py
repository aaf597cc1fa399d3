"""What vectorised lineages go through: of a configuration what has such a form, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lineage.core.config import Config
from lineage.core.config_engine import SkillConfig
from lineage.core.errors import LineageError
from lineage.models.surrogate import count_tokens
from lineage.models.versions import window_of

MIGRATIONS = ("verbatim", "rewrite", "none")
"""Those that have a vectorised form."""


@dataclass(frozen=True)
class Setting:
    """What lineages go through; `versions` has the number of a version a generation.

    `skills` and `authors` (tokens of the name) are by that number.
    """

    kinds: int
    machines_per_kind: int
    code_digits: int
    drift: float
    episodes: int
    working: int
    revisit: float
    same: int
    similar: int
    dissimilar: int
    budget: int
    migration: str
    versions: tuple[int, ...]
    skills: tuple[SkillConfig, ...]
    authors: tuple[int, ...]

    @classmethod
    def of(cls, config: Config, skills: Mapping[str, SkillConfig] | None = None) -> Setting:
        """Return the setting of `config`, by its own skills unless others are given.

        Raises LineageError where that has no vectorised form, with the key that hinders.
        """
        _check(config)
        suite, experiment, schedule = config.suite, config.experiment, config.schedule.versions
        known = config.engine.surrogate.skills if skills is None else skills
        names = tuple(dict.fromkeys(schedule))
        each = tuple(known.get(name, known["default"]) for name in names)
        if any(skill.token_letters for skill in each):
            raise _refused("engine.surrogate.skills.*.token_letters", "0")
        budgets = {config.agent.budget(window_of(config, name)) for name in names}
        if len(budgets) > 1:
            raise _refused("agent.memory_budget", "one number for all versions")
        return cls(
            kinds=int(suite["kinds"]),
            machines_per_kind=int(suite["machines_per_kind"]),
            code_digits=int(suite["code_digits"]),
            drift=float(suite["drift"]),
            episodes=experiment.episodes,
            working=experiment.working_generations or len(schedule),
            revisit=experiment.revisit,
            same=experiment.probes.same,
            similar=experiment.probes.similar,
            dissimilar=experiment.probes.dissimilar,
            budget=budgets.pop(),
            migration=config.migration.kind,
            versions=tuple(names.index(name) for name in schedule),
            skills=each,
            authors=tuple(count_tokens(name) for name in names),
        )

    @property
    def machines(self) -> int:
        """Machines of a world."""
        return self.kinds * self.machines_per_kind


def _refused(key: str, wanted: str) -> LineageError:
    return LineageError(f"{key} must be {wanted}: other settings have no vectorised form")


def _check(config: Config) -> None:
    """Raise LineageError where `config` is not of the kind that is vectorised."""
    suite, agent, migration = config.suite, config.agent, config.migration
    wanted: list[tuple[str, object, tuple[object, ...]]] = [
        ("suite.name", suite["name"], ("codebook",)),
        ("suite.difficulty", suite.get("difficulty"), (1,)),
        ("agent.docs", agent.docs, (False,)),
        ("agent.policy", agent.policy, ("edit",)),
        ("agent.episodes_per_handoff", agent.episodes_per_handoff, (1,)),
        ("migration.kind", migration.kind, MIGRATIONS),
        ("migration.when", migration.when, ("release",)),
        ("schedule.trained", dict(config.schedule.trained), ({},)),
        ("start.folder", config.start.folder, (None,)),
        ("start.run", config.start.run, (None,)),
    ]
    for key, value, fitting in wanted:
        if value not in fitting:
            raise _refused(key, " or ".join(str(one) for one in fitting))
