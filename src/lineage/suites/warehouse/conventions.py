"""The kinds of convention: what each is about in words, in SQL, and which values it may have.

A sentence that tells a convention is "The STEM is VALUE.". A question names it by `phrase`: a
condition on rows ("are cancelled"), or, where the convention is about what is summed, a quantity
("weight in grams"). `{t}` stands for the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from lineage.suites.warehouse import mechanics as how
from lineage.suites.warehouse import moments as when
from lineage.suites.warehouse.mechanics import Mechanic

BLANK = "___"
KEYS = 40
"""Rows of the tables that others have keys of; the first half are of tier gold, or grade A."""


@dataclass(frozen=True)
class Kind:
    """One kind of convention. `sql` has one blank, in quotes where its options are texts.

    With `measure` the phrase is a quantity and `sql` a number, else both are conditions.
    `type` is that of the columns that it adds, `lookup` the table that it needs.
    """

    name: str
    stem: str
    phrase: str
    sql: str
    options: tuple[str, ...]
    mechanic: Mechanic
    type: str
    measure: bool = False
    lookup: str = ""

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """The columns that it adds, each with its type."""
        return tuple((name, self.type) for name in self.mechanic.columns(self.options))

    def fact(self, table: str, value: str) -> str:
        """Return the sentence that tells the convention of `table`."""
        return f"The {self.stem.format(t=table)} is {value}."


def _numbers(*values: int) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


DIGITS = _numbers(*range(1, 10))
LETTERS = ("B", "H", "K", "N", "Q", "V", "X", "Z")
DEPOTS = ("D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9")
COSTS = ("cost_a", "cost_b", "cost_c", "cost_d", "cost_e", "cost_f")
CLIENTS = ("client_a", "client_b", "client_c", "client_d", "client_e", "client_f")
DAY = date(2024, 3, 5)

KINDS = (
    Kind("status", "status code of cancelled {t}", "are cancelled", "status = ___",
         DIGITS, how.Code("status"), "INTEGER"),
    Kind("deletion", "deletion mark of deleted {t}", "are not deleted", "mark <> '___'",
         LETTERS, how.Code("mark", negate=True), "VARCHAR"),
    Kind("test", "account number of test {t}", "are not test entries", "account <> ___",
         _numbers(*range(11, 19)), how.Code("account", negate=True), "INTEGER"),
    Kind("currency", "currency code of euro {t}", "are in euro", "currency = ___",
         DIGITS, how.Code("currency"), "INTEGER"),
    Kind("depot", "depot code of harbour {t}", "went through the harbour", "depot = '___'",
         DEPOTS, how.Code("depot"), "VARCHAR"),
    Kind("yes", "letter of fragile {t}", "are fragile", "fragile = '___'",
         LETTERS, how.Code("fragile"), "VARCHAR"),
    Kind("weekday", "weekday number of sunday {t}", "fall on a sunday", "weekday = ___",
         _numbers(*range(7)), how.Code("weekday"), "INTEGER"),
    Kind("priority", "priority level of urgent {t}", "are urgent", "priority = ___",
         DIGITS, how.Code("priority"), "INTEGER"),
    Kind("revision", "revision number of current {t}", "are current", "revision = ___",
         DIGITS, how.Code("revision"), "INTEGER"),
    Kind("sign", "sign of moved pieces in returned {t}", "are returned", "sign(moved) = ___",
         _numbers(-1, 1), how.Code("moved", signed=True), "INTEGER"),
    Kind("sentinel", "unknown height in {t}", "have a known height", "height <> ___",
         _numbers(-1, -9, -99, 0, 99, 999, 9999), how.Sentinel("height", 60), "INTEGER"),
    Kind("open_end", "end year of open {t}", "are open", "year(ended) = ___",
         _numbers(1900, 1901, 1970, 2099, 2100, 2999, 9999), when.OpenEnd("ended"), "DATE"),
    Kind("flag", "flag bit of insured {t}", "are insured", "flags & ___ > 0",
         _numbers(1, 2, 4, 8, 16, 32, 64), how.Flag("flags"), "INTEGER"),
    Kind("fiscal", "first month of the fiscal year of {t}", "belong to fiscal year 2023",
         "(year(booked) * 12 + month(booked) - ___) // 12 = 2023",
         _numbers(*range(2, 13)), when.FiscalYear("booked", 2023), "DATE"),
    Kind("zone", "lead over UTC in hours of logged {t}", "were logged before 08:00 UTC",
         "hour(logged - to_hours(___)) < 8",
         _numbers(*range(1, 12)), when.Zone("logged", 8), "TIMESTAMP"),
    Kind("day_start", "first hour of the business day of {t}",
         "were taken on business day 2024-03-05",
         "CAST(taken - to_hours(___) AS DATE) = DATE '2024-03-05'",
         _numbers(2, 4, 6, 8, 10, 12), when.DayStart("taken", DAY), "TIMESTAMP"),
    Kind("bulk", "smallest volume of bulk {t}", "count as bulk", "volume >= ___",
         _numbers(*range(10, 90, 10)), how.Threshold("volume"), "INTEGER"),
    Kind("position", "plant position in the batch of {t}", "come from plant P",
         "substr(batch, ___, 1) = 'P'", _numbers(*range(1, 7)), how.Position("batch"), "VARCHAR"),
    Kind("origin", "origin year of day numbers in {t}", "were due in 2023",
         "year(make_date(___, 1, 1) + due) = 2023",
         _numbers(1900, 1950, 1960, 1970, 1980, 1990, 2000), when.Origin("due", 2023), "INTEGER"),
    Kind("join", "client key column of {t}", "belong to gold clients",
         "___ IN (SELECT id FROM clients WHERE tier = 'gold')", CLIENTS, how.Key("client", KEYS),
         "INTEGER", lookup="clients"),
    Kind("offset", "lot offset of {t}", "have a lot of grade A",
         "lot - ___ IN (SELECT id FROM lots WHERE grade = 'A')",
         _numbers(*range(100, 1000, 100)), how.Offset("lot", KEYS), "INTEGER", lookup="lots"),
    Kind("amount", "dollar divisor of amounts in {t}", "amount in dollars", "{a}(amount) / ___",
         _numbers(10, 20, 50, 100, 200, 1000, 10000), how.Unit("amount", divides=True),
         "BIGINT", measure=True),
    Kind("weight", "weight unit in grams of {t}", "weight in grams", "{a}(weight) * ___",
         _numbers(28, 31, 200, 454, 500, 1000, 6350), how.Unit("weight", divides=False),
         "DOUBLE", measure=True),
    Kind("pack", "pack size in pieces of {t}", "number of pieces", "{a}(packs) * ___",
         _numbers(6, 8, 10, 12, 20, 24, 36, 48), how.Factor("packs"), "INTEGER", measure=True),
    Kind("duration", "time unit in seconds of {t}", "duration in seconds",
         "{a}(duration) * ___", _numbers(5, 10, 15, 30, 60, 90, 300, 3600),
         how.Factor("duration"), "INTEGER", measure=True),
    Kind("tax", "tax percent of {t}", "price before tax", "{a}(price) * 100 / (100 + ___)",
         _numbers(5, 7, 10, 15, 19, 20, 21, 25), how.Tax("price"), "INTEGER", measure=True),
    Kind("default", "default discount of {t}", "discount with defaults",
         "{a}(coalesce(discount, ___))", DIGITS, how.Default("discount"), "INTEGER", measure=True),
    Kind("live", "live cost column of {t}", "live cost", "{a}(___)", COSTS, how.Alike("cost"),
         "INTEGER", measure=True),
)  # fmt: skip

LOOKUPS = {"clients": ("tier", "gold", "basic"), "lots": ("grade", "A", "B")}
"""The tables that others have keys of: a column, its value in the first half, and in the rest."""
