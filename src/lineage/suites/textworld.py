"""The `textworld` suite: houses to act in, where what an episode learns of a house helps the next.

A world is one house: rooms that lead off the hall, containers in them, some locked, things in
the containers, keys on hooks in the hall, and dishes that are made of one of the things. A task
is to take one thing with few moves to spare, so that its room, the way there, its place, the key
and the ingredient have to be known: these are the facts. A group is the things of one room.

What an action does is decided by TextWorld's own rules and logic engine, in this process: no
game is compiled and no file is written. TextWorld: Côté et al. 2018, arXiv 1806.11532.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lineage.core.errors import LineageError
from lineage.core.fields import Count, Share, Whole
from lineage.core.seeds import last_drift, rng
from lineage.core.tasks import Environment, Fact, Observation, Suite, Task, World
from lineage.suites.houses import (
    CONTAINERS,
    DISHES,
    FOODS,
    HALL,
    METALS,
    ROOMS,
    THINGS,
    House,
    draw_ways,
    route_to,
)

HOOKS = "hooks"
OPENNESS = ("open", "closed", "locked")
RULES = ("go", "open", "unlock", "take")
"""Of TextWorld's rules, those that help; the others only make more choices."""

MOST_SPARE = 100
"""With more moves to spare than that, every house can be searched."""

@dataclass(frozen=True)
class Textworld(Suite):
    """Houses to find and take things in, played by TextWorld's rules."""

    extra: ClassVar[str] = "textworld"
    larger: ClassVar[str] = "suite.rooms or suite.things_per_room"

    rooms: Annotated[Count, Field(le=len(ROOMS))]  # besides the hall
    distance: Count  # of the farthest rooms from the hall
    containers_per_room: Count
    things_per_room: Count
    locked: Whole  # containers of the house that need a key
    dishes: Whole
    spare_moves: Annotated[Whole, Field(ge=0, le=MOST_SPARE)]  # beyond the fewest that win
    choices: bool  # whether the next move is one of those shown, or free text
    drift: Share  # chance a generation that a thing moves to another container of its room

    def __post_init__(self) -> None:
        containers = self.rooms * self.containers_per_room
        things = self.rooms * self.things_per_room
        for key, least, most in (
            ("containers_per_room", 1, len(CONTAINERS) // self.rooms),
            ("things_per_room", 1, len(THINGS) // self.rooms),
            ("locked", 0, min(len(METALS), containers)),
            ("dishes", 0, min(len(DISHES), things)),
        ):
            value = getattr(self, key)
            if not least <= value <= most:
                words = f"{least}" if least == most else f"between {least} and {most}"
                raise LineageError(f"suite.{key} is {value}: it must be {words}")

    def world(self, seed: int, generation: int) -> World:
        """Return the house of `seed` in `generation`: things may have moved within their room.

        Raises LineageError where TextWorld is missing.
        """
        _library()
        draw = rng("textworld", seed)
        ways = draw_ways(self.rooms, self.distance, draw)
        rooms = [room for _, _, room in ways]
        names = draw.sample(CONTAINERS, self.rooms * self.containers_per_room)
        containers = tuple((name, rooms[n % len(rooms)]) for n, name in enumerate(names))
        metals = draw.sample(METALS, self.locked)
        locks = tuple(zip(draw.sample(names, self.locked), metals))
        total = self.rooms * self.things_per_room
        foods = draw.sample(FOODS, self.dishes)
        things = foods + draw.sample(THINGS, total - len(foods))
        draw.shuffle(things)
        homes = {thing: rooms[n % len(rooms)] for n, thing in enumerate(things)}
        places = tuple(
            (thing, self._place(seed, generation, thing, [c for c, r in containers if r == room]))
            for thing, room in homes.items()
        )
        house = House(ways, containers, locks, places)
        dishes = dict(zip(draw.sample(DISHES, self.dishes), foods))
        facts = (
            *(_fact(f"way/{b}", f"way to the {b} from the {a}", way) for a, way, b in ways),
            *(_fact(f"key/{name}", f"key of the {name}", metal) for name, metal in locks),
            *(_fact(f"ingredient/{d}", f"ingredient of the {d}", dishes[d]) for d in dishes),
            *(_fact(f"room/{thing}", f"room of the {thing}", homes[thing]) for thing in things),
            *(_fact(f"place/{thing}", f"place of the {thing}", place) for thing, place in places),
        )
        world_id = f"textworld-{seed:x}"
        goals = {thing: thing for thing in things} | dishes
        tasks = tuple(
            self._task(world_id, house, homes[thing], name, thing) for name, thing in goals.items()
        )
        return World(world_id, generation, facts, tasks)

    def score(self, task: Task, completion: str) -> float:
        """0.0: only the environment can tell whether a move wins."""
        return 0.0

    def environment(self, task: Task, world: World) -> Environment:
        """Return the house of `task`, entered by its hall."""
        house, thing, moves = task.check
        return Play(house, thing, moves, self.choices)

    def _place(self, seed: int, generation: int, thing: str, options: list[str]) -> str:
        """Return the container of `thing`: the draw of the last drift up to now."""
        ids = ("textworld", seed, thing)
        drifted = last_drift(generation, self.drift, *ids)
        return rng(*ids, "place", drifted).choice(options)

    def _task(self, world_id: str, house: House, room: str, name: str, thing: str) -> Task:
        route = route_to(house, room)
        place = dict(house.places)[thing]
        locked = place in dict(house.locks)
        moves = len(route) + 2 * locked + 2 + self.spare_moves
        facts = [f"way/{further}" for _, _, further in route] + [f"room/{thing}", f"place/{thing}"]
        facts += [f"key/{place}"] * locked + [f"ingredient/{name}"] * (name != thing)
        what = f"the {thing}" if name == thing else f"what the {name} is made of"
        return Task(
            id=f"{world_id}/{name}",
            world=world_id,
            prompt=f"Find {what} in the house and take it. You have {moves} moves.",
            answer=thing,
            facts=tuple(facts),
            group=f"room/{room}",
            category="thing" if name == thing else "dish",
            check=(house, thing, moves),
        )


class Play:
    """One episode in a house: a move is spent whether it is possible or not."""

    def __init__(self, house: House, thing: str, moves: int, choices: bool) -> None:
        self._house, self._thing, self._moves, self._choices = house, thing, moves, choices

    def begin(self) -> Observation:
        """Return what is seen in the hall."""
        self._state = start(self._house)
        self._possible = self._now_possible()
        return self._seen()

    def act(self, action: str, last: bool) -> Observation:
        """Make the move that `action` names in its first line, as TextWorld's commands do."""
        self._moves -= 1
        lines = action.strip().splitlines()
        made = self._possible.get(_command(lines[0]) if lines else "")
        if made is not None:
            self._state.apply(made)
            self._possible = self._now_possible()
        if self._thing in self._within()["I"]:
            return Observation(f"You have the {self._thing}. You win.", 1.0)
        if last or self._moves <= 0:
            return Observation("No moves are left. You lose.", 0.0)
        return self._seen("" if made is not None else "That is not possible here. ")

    def close(self) -> None:
        """Nothing to free."""

    def _now_possible(self) -> dict[str, Any]:
        """Return the moves that are possible now by command, in alphabetical order."""
        rules, constants = _library()[2:]
        actions = self._state.all_applicable_actions(rules, constants)
        by_command = {str(action.format_command()): action for action in actions}
        return {command: by_command[command] for command in sorted(by_command)}

    def _within(self) -> dict[str, list[str]]:
        """Return what is in the inventory "I", and in, on or at every other place, sorted."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, *arguments in sorted(_read(self._state)):
            if name in ("in", "on", "at"):
                found[arguments[1]].append(arguments[0])
        return found

    def _seen(self, before: str = "") -> Observation:
        within, known = self._within(), _read(self._state)
        room = next(room for name, who, *room in known if (name, who) == ("at", "P"))[0]
        text = f"{before}You are in the {room}."
        if within["I"]:
            text += f" You carry: {', '.join(within['I'])}."
        text += f" Moves left: {self._moves}."
        commands = tuple(self._possible)
        if self._choices:
            # What is open, closed or carried shows in what is possible; a small model reads less.
            locked = [piece for piece in within[room] if ("locked", piece) in known]
            text += f" Locked: {', '.join(locked)}." if locked else ""
            return Observation(f"{text} Possible: {', '.join(commands)}.", choices=commands)
        shown = []
        for piece in within[room]:
            holds = f"with {', '.join(within[piece]) or 'nothing'}"
            if piece == HOOKS:
                shown.append(f"hooks {holds}")
            elif piece != "P":
                is_now = next(state for state in OPENNESS if (state, piece) in known)
                shown.append(f"{piece} ({is_now}{f', {holds}' if is_now == 'open' else ''})")
        ways = [command.removeprefix("go ") for command in commands if command.startswith("go ")]
        return Observation(f"{text} You see: {', '.join(shown)}. Ways: {', '.join(ways)}.")


def start(house: House) -> Any:
    """Return TextWorld's logical state of `house` with the worker in its hall."""
    logic, kinds, _, _ = _library()
    state = kinds.State(logic)

    def add(name: str, *arguments: tuple[str, str]) -> None:
        variables = [kinds.Variable(called, type) for called, type in arguments]
        state.add_fact(kinds.Proposition(name, variables))

    add("at", ("P", "P"), (HALL, "r"))
    add("at", (HOOKS, "s"), (HALL, "r"))
    for here, way, there in house.ways:
        # TextWorld has facts of these two only: "a is south of b" is "b is north of a".
        north_or_west = way in ("north", "west")
        further, nearer = (there, here) if north_or_west else (here, there)
        add("north_of" if way in ("north", "south") else "west_of", (further, "r"), (nearer, "r"))
        add("free", (here, "r"), (there, "r"))
        add("free", (there, "r"), (here, "r"))
    locks = dict(house.locks)
    for name, room in house.containers:
        add("at", (name, "c"), (room, "r"))
        add("locked" if name in locks else "closed", (name, "c"))
    for name, metal in house.locks:
        add("match", (f"{metal} key", "k"), (name, "c"))
        add("on", (f"{metal} key", "k"), (HOOKS, "s"))
    for thing, place in house.places:
        add("in", (thing, "o"), (place, "c"))
    return state


@lru_cache(1)
def _library() -> tuple[Any, Any, list[Any], Any]:
    """Return TextWorld's logic, the module of its values, the rules in use, and its constants."""
    try:
        from textworld import logic
        from textworld.generator.data import KnowledgeBase
    except ImportError as error:
        raise LineageError(
            "the suite 'textworld' needs TextWorld: pip install 'lineage[textworld]'"
        ) from error
    base = KnowledgeBase.default()
    rules = [rule for name, rule in sorted(base.rules.items()) if name.split("/")[0] in RULES]
    return base.logic, logic, rules, base.types.constants_mapping


def _read(state: Any) -> set[tuple[str, ...]]:
    return {(fact.name, *(variable.name for variable in fact.arguments)) for fact in state.facts}


def _fact(key: str, what: str, value: str) -> Fact:
    return Fact(key, value, f"The {what} is {value}.")


def _command(text: str) -> str:
    """Return `text` as TextWorld writes commands: lower case, without articles and marks."""
    words = re.findall(r"[a-z]+", text.lower())
    return " ".join(word for word in words if word not in ("the", "a", "an"))

