"""The words that generated worlds are made of. Values of different attributes never coincide."""

from __future__ import annotations

KINDS = (
    "pump", "valve", "boiler", "fan", "press", "lathe", "crane", "mixer",
    "dryer", "furnace", "filter", "motor", "tank", "belt", "drill", "chiller",
)
NAMES = (
    "Alder", "Aspen", "Birch", "Bramble", "Cedar", "Clover", "Cypress", "Dahlia",
    "Elder", "Fern", "Fig", "Ginger", "Hazel", "Heather", "Holly", "Iris",
    "Ivy", "Jasmine", "Juniper", "Larch", "Laurel", "Lily", "Linden", "Lotus",
    "Maple", "Mint", "Myrtle", "Nettle", "Oak", "Olive", "Orchid", "Palm",
    "Pear", "Pine", "Plum", "Poplar", "Poppy", "Reed", "Rose", "Rowan",
    "Sage", "Sorrel", "Spruce", "Tansy", "Thistle", "Thyme", "Tulip", "Violet",
    "Walnut", "Willow", "Yarrow", "Yew", "Acacia", "Basil", "Beech", "Daisy",
    "Hemlock", "Hickory", "Lupin", "Magnolia", "Mulberry", "Peony", "Teak", "Sumac",
)  # fmt: skip
ZONES = (
    "north", "south", "east", "west", "center", "upper", "lower", "inner",
    "outer", "front", "rear", "middle",
)  # fmt: skip
KEYS = (
    "red", "blue", "green", "yellow", "white", "black", "brown", "purple",
    "silver", "golden", "orange", "pink",
)  # fmt: skip
