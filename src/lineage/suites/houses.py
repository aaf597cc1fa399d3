"""Houses of the `textworld` suite: their words, their rooms, and the way to each."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lineage.core.errors import LineageError

HALL = "hall"
STEP = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}

# No word stands in two lists, so that a word names one thing of a house.
ROOMS = (
    "attic", "balcony", "bedroom", "cellar", "chapel", "conservatory", "gallery", "garage",
    "garden", "kitchen", "laundry", "library", "nursery", "pantry", "parlour", "study",
)
CONTAINERS = (
    "barrel", "basket", "bin", "box", "bureau", "cabinet", "canister", "case", "casket", "chest",
    "coffer", "crate", "cupboard", "drawer", "dresser", "fridge", "hamper", "jar", "locker",
    "oven", "rucksack", "safe", "satchel", "sideboard", "strongbox", "suitcase", "toolbox",
    "trunk", "tub", "vault", "wardrobe", "washtub",
)
METALS = (
    "brass", "bronze", "copper", "gold", "iron", "nickel", "pewter", "silver", "steel", "tin",
)
FOODS = (
    "apple", "banana", "carrot", "celery", "cheese", "cucumber", "egg", "garlic", "lemon",
    "lettuce", "mushroom", "onion", "orange", "parsley", "peach", "pear", "pepper", "potato",
    "pumpkin", "radish", "spinach", "tomato", "turnip", "walnut",
)
DISHES = (
    "broth", "cake", "casserole", "chutney", "curry", "dumpling", "fritter", "jam", "muffin",
    "omelette", "pancake", "pie", "pudding", "ragout", "roast", "salad", "sauce", "soup", "stew",
    "tart",
)
THINGS = (
    "anvil", "axe", "bell", "blanket", "book", "bottle", "broom", "brush", "bucket", "camera",
    "candle", "clock", "coin", "comb", "compass", "cup", "dagger", "dice", "doll", "drum", "fan",
    "feather", "flag", "flute", "fork", "glove", "hammer", "harp", "hat", "helmet", "horn",
    "kettle", "kite", "ladder", "lamp", "lantern", "magnet", "map", "mask", "mirror", "mug",
    "needle", "oar", "paint", "pencil", "pillow", "pipe", "plate", "quill", "ring", "rope",
    "ruler", "saddle", "saw", "scarf", "shield", "shovel", "spoon", "stamp", "sword", "torch",
    "towel", "umbrella", "vase", "violin", "wallet", "whistle", "wig",
)


@dataclass(frozen=True)
class House:
    """A house as it is in one generation; rooms and things are in the order they were drawn."""

    ways: tuple[tuple[str, str, str], ...]  # (room, direction, room further from the hall)
    containers: tuple[tuple[str, str], ...]  # (container, its room)
    locks: tuple[tuple[str, str], ...]  # (container, metal of its key)
    places: tuple[tuple[str, str], ...]  # (thing, its container)


def draw_ways(rooms: int, distance: int, draw: Random) -> tuple[tuple[str, str, str], ...]:
    """Return the exits of a house drawn on a grid: each room leads off one nearer to the hall."""
    at = {(0, 0): HALL}
    depth = {HALL: 0}
    ways = []
    for room in draw.sample(ROOMS, rooms):
        free = [
            ((x + dx, y + dy), here, way)
            for (x, y), here in at.items()
            for way, (dx, dy) in STEP.items()
            if depth[here] < distance and (x + dx, y + dy) not in at
        ]
        if not free:
            raise LineageError(
                f"suite.rooms is {rooms}: so many do not fit within suite.distance={distance}"
            )
        cell, here, way = draw.choice(free)
        at[cell], depth[room] = room, depth[here] + 1
        ways.append((here, way, room))
    return tuple(ways)


def route_to(house: House, room: str) -> list[tuple[str, str, str]]:
    """Return the exits from the hall to `room`."""
    came = {way[2]: way for way in house.ways}
    route: list[tuple[str, str, str]] = []
    while room != HALL:
        route.insert(0, came[room])
        room = came[room][0]
    return route
