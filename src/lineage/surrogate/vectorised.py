"""The surrogate without text: many lineages of arm `inherit` on `codebook` at once, as arrays.

Equal in distribution to `engine=surrogate` where `Setting.of` takes a configuration: worlds, tasks,
probes, notes, handoffs, overflow and migrations go by the same rules, and each decision is drawn
with the same chance. Draws are independent; the textual surrogate gives the same answer to the same
prompt. Arm `cold` scores 0 throughout: who has read nothing knows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lineage.core.config_engine import SkillConfig
from lineage.core.curriculum import HELD_OUT
from lineage.core.errors import LineageError
from lineage.models.behaviour import recall
from lineage.suites.words import KINDS, NAMES, ZONES
from lineage.surrogate import notes as memory
from lineage.surrogate.notes import CODE, WORDS, ZONE, Flags, Ints, Note, Notes
from lineage.surrogate.outcomes import GUESS
from lineage.surrogate.setting import Setting

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Generation:
    """What is measured of one generation, a value a lineage; NaN where nothing was probed."""

    generation: int
    version: int
    work: Shares
    same: Shares
    similar: Shares
    dissimilar: Shares
    memories: Ints
    stated: Ints
    memory_tokens: Ints


def simulate(
    setting: Setting,
    lineages: int,
    draw: Generator,
    skills: Sequence[Sequence[SkillConfig]] | None = None,
) -> Iterator[Generation]:
    """Yield the generations of so many lineages, one after another.

    `skills`, in place of those of the setting, are several a version, as many of each: lineage i
    has those at i modulo that number.
    """
    several = [(skill,) for skill in setting.skills] if skills is None else skills
    run = _Lineages(setting, lineages, draw, several)
    for number in range(len(setting.versions)):
        yield run.generation(number)


class _Chances:
    """The skills of one version, by lineage; `recall` by number of notes too."""

    def __init__(self, skills: Sequence[SkillConfig], lineages: int, notes: int) -> None:
        of = np.arange(lineages) % len(skills)
        self.infer, self.write, self.edit = (
            np.array([getattr(skill, name) for skill in skills])[of]
            for name in ("infer", "write", "edit")
        )
        self._of = of
        self._recall = np.array([[recall(s, held) for held in range(notes + 1)] for s in skills])

    def recall(self, notes: NDArray[np.intp]) -> Shares:
        found: Shares = self._recall[self._of, notes]
        return found


class _Lineages:
    """The state of lineages between two generations."""

    def __init__(
        self,
        setting: Setting,
        lineages: int,
        draw: Generator,
        skills: Sequence[Sequence[SkillConfig]],
    ) -> None:
        self.setting, self.draw, self.rows = setting, draw, np.arange(lineages)
        count, machines = lineages, setting.machines
        self.kinds = self._shuffled(len(KINDS), setting.kinds)
        self.names = self._shuffled(len(NAMES), machines)
        self.codes = self._code((count, machines))
        self.zones = self._zone((count, setting.kinds))
        # Tasks: codes of all machines, then zones of all; some zones are kept for probes.
        kept = np.zeros((count, 2 * machines), dtype=bool)
        share = round(setting.machines_per_kind * HELD_OUT)
        for kind in range(setting.kinds):
            places = self._shuffled(setting.machines_per_kind, share) * setting.kinds + kind
            np.put_along_axis(kept, machines + places, True, axis=1)
        keys = self.draw.random(kept.shape)
        self.fresh = np.argsort(keys + kept, axis=1)[:, : (~kept[0]).sum()].astype(np.int32)
        self.kin = np.argsort(keys - kept, axis=1)[:, : kept[0].sum()].astype(np.int32)
        self.starts = [0]
        self.known = np.zeros((count, setting.kinds), dtype=bool)
        # A note has as many tokens as words, but for a whole one; only `rewrite` cuts twice.
        least = 1 if setting.migration == "rewrite" else WORDS - 1
        most = min(setting.budget // least, setting.episodes * len(setting.versions))
        room = most + setting.episodes
        self.notes = Notes.empty(count, room)
        self.authors = np.array(setting.authors, dtype=np.int32)
        self.chances = [_Chances(its, count, room) for its in skills]

    def generation(self, number: int) -> Generation:
        """Let one generation pass: migration, work, handoff, probes."""
        setting, by = self.setting, self.setting.versions[number]
        skill = self.chances[by]
        if number:
            self._drift()
            if setting.versions[number - 1] != by:
                self._migrate(skill, number, by)
        work = self._work(number)
        used = np.zeros(self.notes.id.shape, dtype=bool)
        right = np.zeros((len(self.rows), work.shape[1]), dtype=bool)
        facts = [self._fact(work[:, place]) for place in range(work.shape[1])]
        for place, fact in enumerate(facts):
            right[:, place] = self._right(fact, by)
            used |= self._echoed(fact) & right[:, place, None]
        self._hand_over(facts, right, used, skill, number, by)
        probes = {name: self._probed(name, by) for name in ("same", "similar", "dissimilar")}
        return Generation(
            number,
            by,
            right.mean(axis=1) if work.shape[1] else np.full(len(self.rows), np.nan),
            **probes,
            memories=self.notes.held.sum(axis=1).astype(np.int32),
            stated=self._stated(),
            memory_tokens=memory.tokens(self.notes, self.authors),
        )

    def _shuffled(self, of: int, count: int) -> Ints:
        """Return `count` different numbers below `of`, in random order, for each lineage."""
        keys = self.draw.random((len(self.rows), of))
        return np.argsort(keys, axis=1)[:, :count].astype(np.int32)

    def _code(self, shape: tuple[int, ...]) -> Ints:
        low = 10 ** (self.setting.code_digits - 1)
        return len(ZONES) + self.draw.integers(low, 10 * low, shape, dtype=np.int32)

    def _zone(self, shape: tuple[int, ...]) -> Ints:
        return self.draw.integers(0, len(ZONES), shape, dtype=np.int32)

    def _drift(self) -> None:
        for values, again in ((self.codes, self._code), (self.zones, self._zone)):
            drifts = self.draw.random(values.shape) < self.setting.drift
            values[drifts] = again(values.shape)[drifts]

    def _migrate(self, skill: _Chances, now: int, by: int) -> None:
        notes, none_used = self.notes, np.zeros(self.notes.id.shape, dtype=bool)
        if self.setting.migration == "none":
            notes.id[:] = -1
        elif self.setting.migration == "rewrite":
            kept = self.draw.random(notes.id.shape) < skill.write[:, None]
            memory.restate(notes, kept, now, by)
        memory.fit(notes, none_used, self.setting.budget, self.authors)

    def _work(self, number: int) -> Ints:
        """Return the tasks of this generation, lineages x episodes."""
        setting, met = self.setting, self.starts[-1]
        if number >= setting.working:
            self.starts.append(met)
            return np.zeros((len(self.rows), 0), dtype=np.int32)
        again = min(round(setting.revisit * setting.episodes), met)
        until = met + setting.episodes - again
        if until > self.fresh.shape[1]:
            raise LineageError(
                f"a world has {self.fresh.shape[1]} tasks to work on and generation {number} needs "
                f"{until}: make suite.machines_per_kind larger, or experiment.episodes or "
                "experiment.working_generations smaller"
            )
        self.starts.append(until)
        old = np.take_along_axis(self.fresh, self._shuffled(met, again), axis=1) if again else None
        new = self.fresh[:, met:until]
        for place in range(new.shape[1]):
            ruled = new[:, place] >= setting.machines
            self.known[self.rows[ruled], new[ruled, place] % setting.kinds] = True
        return new if old is None else np.concatenate([old, new], axis=1)

    def _fact(self, task: Ints) -> Note:
        """Return the fact that each lineage's `task` asks for, as it is now."""
        machine = task % self.setting.machines
        ruled = task >= self.setting.machines
        kind = machine % self.setting.kinds
        value = np.where(ruled, self.zones[self.rows, kind], self.codes[self.rows, machine])
        return Note(
            np.where(ruled, ZONE, CODE).astype(np.int32),
            self.kinds[self.rows, kind],
            self.names[self.rows, machine],
            value,
            np.zeros(len(task), dtype=np.int32),
        )

    def _right(self, fact: Note, by: int) -> Flags:
        """Draw whether each lineage's version answers right what `fact` says."""
        notes = self.notes
        whole, held = notes.whole, notes.held.sum(axis=1)
        kind, name = notes.kind == fact.kind[:, None], notes.name == fact.name[:, None]
        asked, ruled = notes.attribute == fact.attribute[:, None], notes.attribute == ZONE
        direct = whole & asked & kind & name
        # A note that lacks one word of the question, and says a word and no number.
        near = np.where((fact.attribute == ZONE)[:, None], kind ^ name, kind & name)
        kin = whole & ruled & near
        hits = whole & (notes.value == fact.value[:, None])
        share = hits.sum(axis=1) / np.maximum(whole.sum(axis=1), 1)
        by_chance = GUESS * share
        skill = self.chances[by]
        chance = by_chance.copy()
        for found, used in ((kin, skill.infer), (direct, skill.recall(held))):
            some = found.any(axis=1)
            last = np.argmax(np.where(found, notes.id, -1), axis=1)
            told = some & hits[self.rows, last]
            chance = np.where(some, used * told + (1 - used) * by_chance, chance)
        right: Flags = self.draw.random(len(self.rows)) < chance
        return right

    def _echoed(self, fact: Note) -> Flags:
        """Return which note an answer with the value of `fact` repeats: the first that says it."""
        hits: Flags = self.notes.whole & (self.notes.value == fact.value[:, None])
        first = np.argmin(np.where(hits, self.notes.id, np.iinfo(np.int32).max), axis=1)
        found = np.zeros(hits.shape, dtype=bool)
        found[self.rows, first] = True
        found &= hits
        return found

    def _hand_over(
        self,
        facts: Sequence[Note],
        right: Flags,
        used: Flags,
        skill: _Chances,
        now: int,
        by: int,
    ) -> None:
        """Let the instances of a generation write, all from the notes that it began with."""
        notes, count = self.notes, len(self.rows)
        proposed = []
        for place, fact in enumerate(facts):
            about = notes.about(fact.attribute, fact.kind, fact.name)
            whole = about & (notes.lost == 0)
            held = (whole & (notes.value == fact.value[:, None])).any(axis=1)
            # One that lost its value and "is" names the fact, and nothing else.
            stale = whole | (about & (notes.lost == 2))
            first = np.argmin(np.where(stale, notes.id, np.iinfo(np.int32).max), axis=1)
            lost = (self.draw.random(count) >= skill.write).astype(np.int32)
            careful = self.draw.random(count) < skill.edit
            note = Note(fact.attribute, fact.kind, fact.name, fact.value, lost)
            silent = careful & (right[:, place] | held)
            revises = ~silent & careful & stale.any(axis=1)
            proposed.append((note, first, revises, ~silent & ~revises))
        for note, first, revises, adds in proposed:
            same = notes.same_text(note)
            rows = self.rows[revises]
            used[rows, first[revises]] = True
            own = np.zeros_like(same)
            own[rows, first[revises]] = True
            fresh = ~(same & ~own).any(axis=1)
            chosen = self.rows[revises & fresh].astype(np.int32)
            notes.put(chosen, first[chosen].astype(np.int32), note, now, by)
            chosen = self.rows[adds & fresh].astype(np.int32)
            places = notes.add(chosen, note, now, by)
            used[chosen, places] = True
        memory.fit(notes, used, self.setting.budget, self.authors)

    def _probed(self, family: str, by: int) -> Shares:
        count = int(getattr(self.setting, family))
        facts = {"same": self._same, "similar": self._similar, "dissimilar": self._dissimilar}
        scores = [self._right(fact, by) for fact in facts[family](count)]
        if not scores:
            return np.full(len(self.rows), np.nan)
        found: Shares = np.mean(scores, axis=0)
        return found

    def _same(self, count: int) -> Iterator[Note]:
        """Yield tasks that were met, spread over the generations that met them, the last first."""
        spans = list(zip(self.starts, self.starts[1:], strict=False))
        slots = [
            (rank, -generation)
            for generation, (start, until) in enumerate(spans)
            for rank in range(until - start)
        ]
        orders = {}
        for rank, generation in sorted(slots)[:count]:
            start, until = spans[-generation]
            if generation not in orders:
                orders[generation] = self._shuffled(until - start, until - start)
            yield self._fact(self.fresh[self.rows, start + orders[generation][:, rank]])

    def _similar(self, count: int) -> Iterator[Note]:
        """Yield tasks that no generation works on: first those whose kin was met."""
        kinds = self.kin % self.setting.kinds
        unknown = ~np.take_along_axis(self.known, kinds, axis=1)
        order = np.argsort(self.draw.random(kinds.shape) + unknown, axis=1)
        for place in range(min(count, order.shape[1])):
            yield self._fact(self.kin[self.rows, order[:, place]])

    def _dissimilar(self, count: int) -> Iterator[Note]:
        """Yield tasks of other worlds: any machine, with a value of its own."""
        rows = len(self.rows)
        for _ in range(count):
            attribute = self.draw.integers(0, 2, rows, dtype=np.int32)
            yield Note(
                attribute,
                self.draw.integers(0, len(KINDS), rows, dtype=np.int32),
                self.draw.integers(0, len(NAMES), rows, dtype=np.int32),
                np.where(attribute == ZONE, self._zone((rows,)), self._code((rows,))),
                np.zeros(rows, dtype=np.int32),
            )

    def _stated(self) -> Ints:
        """Return how many notes say what is so in the world now."""
        notes, setting = self.notes, self.setting
        found = np.zeros(len(self.rows), dtype=np.int32)
        for machine in range(setting.machines):
            kind = machine % setting.kinds
            of = notes.whole & (notes.name == self.names[:, machine, None])
            values = np.where(
                notes.attribute == ZONE, self.zones[:, kind, None], self.codes[:, machine, None]
            )
            found += (of & (notes.value == values)).sum(axis=1).astype(np.int32)
        return found
