"""A small suite for the tests of episodes with turns, lessons, judges and suites that fail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lineage.core.seeds import rng
from lineage.core.tasks import Environment, Fact, Observation, Referral, Suite, Task, World
from lineage.suites.words import KEYS, NAMES

BOXES = 60
NOISE = "The lamp of the vault is lit. "


@dataclass(frozen=True)
class Vaults(Suite):
    """Boxes that one button opens each: tried in turns, asked about, or read about first."""

    form: str  # turns | question | lessons | judged | failing
    colours: int
    slow: bool  # as a suite that needs threads
    noise: int  # how often an observation repeats a sentence that says nothing

    def world(self, seed: int, generation: int) -> World:
        draw = rng("vaults", seed)
        id = f"vaults-{seed:x}"
        colours = KEYS[: self.colours]
        buttons = {name: draw.choice(colours) for name in draw.sample(NAMES, BOXES)}
        facts = tuple(
            Fact(name, colour, f"The button of box {name} is {colour}.")
            for name, colour in buttons.items()
        )
        tasks = [self._task(id, name, colour) for name, colour in buttons.items()]
        if self.form == "lessons":
            tasks += self._lessons(id, facts)
        return World(id, generation, facts, tuple(tasks))

    def _task(self, world: str, name: str, colour: str) -> Task:
        return Task(
            f"{world}/{name}",
            world,
            f"What is the button of box {name}?",
            colour,
            (name,),
            group=colour,
            category=colour,
            needs=(f"{world}/page-{name}",) if self.form == "lessons" else (),
        )

    def _lessons(self, world: str, facts: tuple[Fact, ...]) -> list[Task]:
        return [
            Task(
                f"{world}/page-{fact.key}",
                world,
                "",
                "",
                (fact.key,),
                context=f"{NOISE * self.noise}\n{fact.text}\n{NOISE * self.noise}",
                order=number,
            )
            for number, fact in enumerate(facts)
        ]

    def environment(self, task: Task, world: World) -> Environment | None:
        if self.form == "failing" and task.answer == KEYS[0]:
            raise ValueError("no such box")
        return Box(self, task) if self.form in ("turns", "failing") else None

    def score(self, task: Task, completion: str) -> float | Referral:
        if self.form == "judged":
            return Referral(self.judges[0], f"Right: {task.answer}\nAnswer: {completion}")
        return float(task.answer in completion)

    @property
    def blocking(self) -> bool:
        return self.slow

    @property
    def judges(self) -> tuple[str, ...]:
        return ("smollm2-135m@r1",) if self.form == "judged" else ()


class Box:
    """One box; every button but the right one does nothing, and what it says is long."""

    def __init__(self, suite: Vaults, task: Task) -> None:
        self.suite, self.task, self.turns = suite, task, 0
        self.choices = KEYS[: suite.colours]

    def begin(self) -> Observation:
        return Observation("The box is shut.", choices=self.choices)

    def act(self, action: str, last: bool) -> Observation:
        self.turns += 1
        right = action.strip() == self.task.answer
        if right or last:
            return Observation("Open." if right else "Shut.", float(right and self.turns == 1))
        hint = f"The weight of try {self.turns} is {action}. "
        return Observation(hint + NOISE * self.suite.noise, choices=self.choices)

    def close(self) -> None:
        self.task = None  # type: ignore[assignment]


def entry(
    folder: Path, form: str, colours: int = 6, noise: int = 1, slow: bool = False
) -> list[str]:
    """Write the suite's conf entry into `folder` and return the overrides that choose it."""
    (folder / "suite").mkdir(parents=True, exist_ok=True)
    (folder / "suite" / "vaults.yaml").write_text(
        "_target_: vaults.Vaults\nname: vaults\ninstructions: Name one button.\n"
        f"form: {form}\ncolours: {colours}\nslow: {slow}\nnoise: {noise}\n"
    )
    return ["suite=vaults", f"hydra.searchpath=[file://{folder}]"]
