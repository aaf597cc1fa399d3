"""The warehouse suite: solvable with its facts, chance without, from seeds alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from helpers import FULL

from lineage.compose import load_suite
from lineage.core.config import ExperimentConfig, ProbeConfig
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.core.facts import Truth
from lineage.core.seeds import rng
from lineage.core.tasks import Task, World
from lineage.suites.warehouse import suite as plans_of_worlds
from lineage.suites.warehouse.answers import filled, fragments, statement
from lineage.suites.warehouse.conventions import BLANK, KINDS, Kind
from lineage.suites.warehouse.data import NAMES
from lineage.suites.warehouse.results import same
from lineage.suites.warehouse.suite import Warehouse

SEEDS = 200 if FULL else 12
KIND = {kind.name: kind for kind in KINDS}


@cache
def suite(*overrides: str) -> Warehouse:
    # One process for all of them: each has to import DuckDB first.
    made = load_suite("warehouse", *(f"suite.{each}" for each in ("processes=1", *overrides)))
    assert isinstance(made, Warehouse)
    return made


BLANKS = suite()
QUERIES = suite("form=query")
ALL_KINDS = ("conventions=28", "tasks_per_convention=1")
HARD = ("difficulty=2", "rows=600", "tasks_per_convention=4")


def kinds(task: Task) -> list[Kind]:
    return [KIND[key.partition("/")[0]] for key in task.facts]


def told(world: World, task: Task) -> list[str]:
    """Return the values that the sentences of the task's facts tell, in the order of `facts`."""
    texts = {fact.key: fact.text for fact in world.facts}
    return [re.fullmatch(r"The .+ is (\S+)\.", texts[key])[1] for key in task.facts]  # type: ignore[index]


def fill_in(world: World, task: Task) -> str:
    """Return the answer of an ideal worker to a blank: the values of the stems that it reads."""
    asked = task.prompt.splitlines()[-1]
    sentences = world.fact_texts(task.facts)
    found = []
    for sentence in sentences:
        stem, value = re.fullmatch(r"The (.+) is (\S+)\.", sentence).groups()  # type: ignore[union-attr]
        found.append((asked.index(f"the {stem}"), value))
    return ", ".join(value for _, value in sorted(found))


def write_sql(question: str, values: dict[str, str]) -> str:
    """Return the SQL of an ideal worker: `values` by the name of the convention's kind."""
    of = "|".join(NAMES)
    head = re.fullmatch(
        rf"How many ({of})\b(.*)\?|What is the (total|average) (.+) of ({of})\b(.*)\?", question
    )
    assert head is not None
    table, rest = (head[1], head[2]) if head[1] else (head[5], head[6])
    aggregate = {None: "count", "total": "sum", "average": "avg"}[head[3]]
    value = {"count": "count(*)", "sum": "sum(quantity)", "avg": "avg(quantity)"}[aggregate]
    where = []
    for kind in KINDS:
        if kind.measure and kind.phrase == head[4]:
            value = kind.sql.format(a=aggregate).replace(BLANK, values[kind.name])
        elif not kind.measure and re.search(rf"(^| that| and|\w) {kind.phrase}($| and)", rest):
            where.append(kind.sql.replace(BLANK, values[kind.name]))
    for pattern, condition in (
        (r" at site (\w+)", "site = '{}'"),
        (r" of line (\w+)", "line = '{}'"),
        (r" with quantity above (\d+)", "quantity > {}"),
    ):
        where += [condition.format(found) for found in re.findall(pattern, rest)]
    return f"SELECT {value} FROM {table} WHERE {' AND '.join(where) or 'true'}"


def samples(made: Warehouse, seeds: int, each: int) -> Iterator[tuple[World, Task]]:
    for seed in range(seeds):
        world = made.world(seed, 0)
        for task in rng("sample", seed).sample(world.tasks, each):
            yield world, task


def solve_and_guess(seed: int) -> tuple[float, float]:
    """Solve a task of the world of `seed` in both forms; return a guess's score and its chance."""
    world, queries = BLANKS.world(seed, 0), QUERIES.world(seed, 0)
    draw = rng("sample", seed)
    place = draw.randrange(len(world.tasks))
    task, asked = world.tasks[place], queries.tasks[place]
    assert BLANKS.score(task, fill_in(world, task)) == 1.0, task
    values = {kind.name: value for kind, value in zip(kinds(asked), told(queries, asked))}
    written = write_sql(asked.prompt.splitlines()[-1], values)
    assert QUERIES.score(asked, written) == 1.0, (asked, written)
    guesses = {kind.name: draw.choice(kind.options) for kind in kinds(task)}
    guessed = BLANKS.score(task, ", ".join(guesses.values()))
    if seed % 4 == 0:
        guess = write_sql(asked.prompt.splitlines()[-1], guesses)
        assert QUERIES.score(asked, guess) == guessed
    return guessed, math.prod(1 / len(kind.options) for kind in kinds(task))


def test_with_its_facts_every_task_is_solved_and_without_them_by_chance() -> None:
    with ThreadPoolExecutor(2) as pool:
        scores, chances = zip(*pool.map(solve_and_guess, range(SEEDS if FULL else 5)))
    spread = math.sqrt(sum(chance * (1 - chance) for chance in chances))
    assert abs(sum(scores) - sum(chances)) < 4 * spread


def test_no_value_but_the_right_one_is_right_for_any_kind() -> None:
    made, met = suite(*ALL_KINDS), Counter[str]()
    for seed in range(5 if FULL else 1):
        world = made.world(seed, 0)
        for task in world.tasks:
            (kind,), (fact,) = kinds(task), [f for f in world.facts if f.key in task.facts]
            others = [option for option in kind.options if option != fact.value]
            for other in rng("other", seed, task.id).sample(others, min(1 + FULL, len(others))):
                assert made.score(task, other) == 0.0, (task, other)
            assert made.score(task, fact.value) == 1.0
            met[kind.name] += 1
    assert set(met) == set(KIND)


NAIVE = {
    "amount": "{a}(amount)",
    "weight": "{a}(weight)",
    "pack": "{a}(packs)",
    "duration": "{a}(duration)",
    "tax": "{a}(price)",
    "default": "coalesce({a}(discount), 0)",
}


def test_a_worker_that_ignores_the_convention_is_wrong() -> None:
    made = suite(*ALL_KINDS, "form=query")
    for seed in range(4 if FULL else 1):
        for task in made.world(seed, 0).tasks:
            (kind,), check = kinds(task), task.check
            if not kind.measure:
                naive = check.sql.replace(kind.sql, "true")
            elif kind.name in NAIVE:
                aggregate = "sum" if "SELECT sum" in check.sql else "avg"
                if kind.name == "default" and aggregate == "avg":
                    continue
                read = kind.sql.format(a=aggregate)
                naive = check.sql.replace(read, NAIVE[kind.name].format(a=aggregate))
            else:
                continue
            assert BLANK not in naive
            assert made.score(task, naive) == 0.0, naive


def test_two_conventions_in_one_question() -> None:
    blanks, queries = suite(*HARD), suite(*HARD, "form=query")
    for seed in range(4 if FULL else 1):
        world, asked = blanks.world(seed, 0), queries.world(seed, 0)
        for place in rng("hard", seed).sample(range(len(world.tasks)), 3 + (not FULL)):
            task, twin = world.tasks[place], asked.tasks[place]
            assert task.check.sql.count(BLANK) == 2
            right = fill_in(world, task)
            assert blanks.score(task, right) == 1.0
            values = dict(zip((kind.name for kind in kinds(twin)), told(asked, twin)))
            assert queries.score(twin, write_sql(twin.prompt.splitlines()[-1], values)) == 1.0
            first, second = right.split(", ")
            for at, kind in enumerate(kinds(task)):
                wrong = next(o for o in kind.options if o not in (first, second))
                given = (wrong, second) if at == 0 else (first, wrong)
                assert blanks.score(task, ", ".join(given)) == 0.0
            assert blanks.score(task, first) == 0.0


def test_same_seed_same_bytes_and_other_seed_other_world() -> None:
    worlds = {repr((suite().world(seed, 1), suite().tables_of(seed, 1))) for seed in (5, 5, 6)}
    assert len(worlds) == 2
    before = repr(suite().world(5, 0))
    plans_of_worlds._plan.cache_clear()
    assert repr(suite().world(5, 0)) == before


def test_the_bytes_of_one_world_are_these() -> None:
    """Kept, so that a change of what seeds give is seen: then old runs cannot be compared."""
    assert [fact.text for fact in BLANKS.world(1, 0).facts] == GOLDEN


GOLDEN = [
    "The flag bit of insured receipts is 8.",
    "The origin year of day numbers in receipts is 1950.",
    "The dollar divisor of amounts in receipts is 50.",
    "The revision number of current payments is 7.",
    "The default discount of payments is 5.",
    "The tax percent of payments is 5.",
    "The end year of open refunds is 1901.",
    "The weight unit in grams of refunds is 454.",
]


def test_worlds_are_large_enough_and_varied() -> None:
    met: Counter[str] = Counter()
    for seed in range(SEEDS):
        world = BLANKS.world(seed, 0)
        assert len(world.tasks) >= 48
        assert len({task.id for task in world.tasks}) == len(world.tasks)
        assert len({task.prompt for task in world.tasks}) == len(world.tasks)
        met.update({kind.name for task in world.tasks for kind in kinds(task)})
        groups = Counter(task.group for task in world.tasks)
        assert set(groups.values()) == {BLANKS.tasks_per_convention}
    assert set(met) == set(KIND) and len(KIND) >= 20
    experiment = ExperimentConfig("t", 0, 8, 6, None, 0.0, ProbeConfig(4, 4, 2))
    assert all(len(plan.work) == 6 for plan in plans(BLANKS, experiment, 4, 0))


def test_prompts_tell_the_schema_and_no_convention() -> None:
    for world, task in samples(BLANKS, *((30, 4) if FULL else (4, 9))):
        stated = Truth(world.facts).stated(task.prompt)
        assert not stated
        table = task.group.partition("/")[2]
        assert task.prompt.startswith(f"{table}(id INTEGER, ")
        assert task.prompt.count(BLANK) == 1
        stem = world.fact_texts(task.facts)[0].removeprefix("The ").partition(" is ")[0]
        assert task.prompt.endswith(f"What is the {stem}?")
    for world, task in samples(QUERIES, 10 if FULL else 4, 2):
        assert all(f"\n{f.key.partition('/')[2]}(id INTEGER" in task.prompt for f in world.facts)
        assert task.answer not in task.prompt and BLANK not in task.prompt


def test_sentences_are_read_back_as_facts() -> None:
    for seed in range(30 if FULL else 4):
        facts = suite(*ALL_KINDS).world(seed, 0).facts
        truth = Truth(facts)
        for fact in facts:
            assert truth.stated(fact.text) == {fact.key}
            other = fact.text.replace(f"is {fact.value}.", "is 5555.")
            assert truth.read(other).denied == {fact.key}


def test_the_stored_schema_is_the_one_in_the_prompt() -> None:
    for seed in range(10 if FULL else 4):
        stored = {table.schema for table in QUERIES.tables_of(seed, 0)}
        prompt = QUERIES.world(seed, 0).tasks[0].prompt.splitlines()
        assert stored == set(prompt[1:-2])


def test_drift_changes_facts_data_and_results_but_no_question() -> None:
    made = suite("drift=0.4")
    changed = kept = 0
    for seed in range(4):
        before, after = made.world(seed, 0), made.world(seed, 2)
        assert [t.id for t in before.tasks] == [t.id for t in after.tasks]
        assert [t.prompt for t in before.tasks] == [t.prompt for t in after.tasks]
        moved = {a.key for a, b in zip(before.facts, after.facts) if a.value != b.value}
        changed, kept = changed + len(moved), kept + len(before.facts) - len(moved)
        assert {a.key for a, b in zip(before.facts, after.facts) if a.text != b.text} == moved
        if seed > 0 and not FULL:
            continue  # to build the tables of a world takes longer than all else
        for old, new in list(zip(before.tasks, after.tasks))[:: made.tasks_per_convention]:
            assert made.score(new, new.answer) == made.score(old, old.answer) == 1.0
            assert made.score(new, old.answer) == float(old.group not in moved)
    # Of 32 facts each changes with a chance of 1 - 0.6 ** 2 = 0.64, less those that change back.
    assert 12 < changed < 29 and changed + kept == 32
    assert BLANKS.world(3, 0).facts == BLANKS.world(3, 5).facts


def test_data_migrate_with_their_conventions() -> None:
    made = suite(*ALL_KINDS, "drift=0.9")
    met = set()
    for seed in range(2):
        for old, new in zip(made.world(seed, 0).tasks, made.world(seed, 1).tasks):
            (kind,) = kinds(old)
            if old.answer == new.answer or kind.mechanic.fixed or (kind.name in met and not FULL):
                continue
            sql = {task.answer: filled(task.check.sql, [task.answer]) for task in (old, new)}
            right = made._run(old.check, sql[old.answer])
            assert right.rows[0][0]
            assert same(made._run(new.check, sql[new.answer]), right, False, 1e-4), kind.name
            assert not same(made._run(old.check, sql[new.answer]), right, False, 1e-4), kind.name
            met.add(kind.name)
    assert met == {kind.name for kind in KINDS if not kind.mechanic.fixed}


def test_the_desk_shows_results_and_errors_and_scores_the_answer() -> None:
    world = QUERIES.world(2, 0)
    task = world.tasks[0]
    table = task.group.partition("/")[2]
    desk = QUERIES.environment(task, world)
    assert desk is not None and BLANKS.environment(task, world) is None
    assert desk.begin().text == ""
    looked = desk.act(f"```sql\nSELECT * FROM {table} ORDER BY id\n```", False)
    assert looked.score is None and looked.text.startswith("id | site | line | quantity")
    assert len(looked.text.splitlines()) == 1 + QUERIES.result_rows + 1
    wide = desk.act("SELECT repeat('x', 900)", False)
    assert len(wide.text) == QUERIES.result_chars
    failed = desk.act("SELECT nothing FROM nowhere", False)
    assert failed.score is None and failed.text.startswith("Error: ")
    assert desk.act(f"DROP TABLE {table}", False).score is None
    assert desk.act("I do not know.", False).score is None
    assert desk.act("ANSWER SELECT -5", False).score == 0.0
    assert desk.act("ANSWER", False).score == 0.0
    assert desk.act(f"ANSWER {task.answer}", False).score == 1.0
    assert desk.act(f"ANSWER\n```sql\n{task.answer};\n```\nDone.", False).score == 1.0
    assert desk.act(task.answer, False).score is None
    assert desk.act(task.answer, True).score == 1.0
    assert desk.act("nonsense", True).score == 0.0
    desk.close()


@pytest.mark.parametrize(
    ("completion", "options", "values"),
    [
        ("7", ("1", "7"), ("7",)),
        ("The blank is 7.", ("1", "7"), ("7",)),
        ("status = 7\n8", ("1", "7"), ("7",)),
        ("7 7", ("1", "7"), ("7",)),
        ("7 or 8", ("1", "7"), None),
        ("-9", ("-1", "-9"), ("-9",)),
        ("'k'", ("K", "N"), ("K",)),
        ("It is K.", ("K", "N"), ("K",)),
        ("K, N", ("K", "N"), None),
        ("cost_b of 12 orders", ("cost_a", "cost_b"), ("cost_b",)),
        ("K); DROP TABLE orders", ("K", "N"), ("K",)),
        ("", ("1",), None),
        ("I do not know.", ("1",), None),
    ],
)
def test_the_value_of_a_blank_is_found(
    completion: str, options: tuple[str, ...], values: tuple[str, ...] | None
) -> None:
    assert fragments(completion, [options]) == values


def test_values_of_two_blanks_are_taken_in_order() -> None:
    options = [("1", "2"), ("K", "N")]
    assert fragments("2 and K", options) == ("2", "K")
    assert fragments("K and 2", options) is None
    assert fragments("2, 1, K", options) is None
    assert fragments("2 2", [("1", "2"), ("2", "3")]) == ("2", "2")
    assert filled(f"a {BLANK} b {BLANK}", ("2", "K")) == "a 2 b K"


def test_statements_are_found_in_what_is_written() -> None:
    assert statement("SELECT 1") == ("SELECT 1", False)
    assert statement("Let me see.\n```sql\nSELECT 1\n```\nSo.") == ("SELECT 1", False)
    assert statement("answer: SELECT 1") == ("SELECT 1", True)
    assert statement("ANSWER ```SELECT 1```") == ("SELECT 1", True)
    assert statement("```\nANSWER SELECT 1\n```") == ("SELECT 1", True)
    assert statement("SELECT 1 AS answer") == ("SELECT 1 AS answer", False)


def test_feedback_tells_what_is_configured() -> None:
    world = BLANKS.world(4, 0)
    task = world.tasks[0]
    sentence = world.fact_texts(task.facts)[0]
    assert BLANKS.feedback(task, world, 0.0) == f"Wrong. {sentence}"
    shown = suite("feedback_tells=query").feedback(task, world, 1.0)
    assert shown == f"Right. {task.check.sql.replace(BLANK, task.answer)}"
    assert suite("feedback_tells=verdict").feedback(task, world, 0.0) == "Wrong."


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("form=essay", "form"),
        ("feedback_tells=all", "feedback_tells"),
        ("conventions=2", "conventions"),
        ("conventions=99", "conventions"),
        ("tables=13", "tables"),
        ("drift=2.0", "drift"),
        ("rows=0", "rows"),
        ("seconds=0", "seconds"),
    ],
)
def test_a_wrong_knob_is_named(override: str, key: str) -> None:
    with pytest.raises(LineageError, match=rf"suite\.{key} is "):
        suite(override)


def test_too_few_rows_are_one_clear_line() -> None:
    with pytest.raises(LineageError, match=r"make suite\.rows larger"):
        suite("rows=3").world(0, 0)
