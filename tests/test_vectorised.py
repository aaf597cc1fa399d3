"""The vectorised surrogate is the textual one in distribution, draws by seed and writes chunks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import FULL, full, run, surrogate

import lineage
from lineage.core.errors import LineageError
from lineage.core.intervals import AMOUNT, FREE, SHARE, Interval, interval
from lineage.surrogate import chunks
from lineage.surrogate.chunks import Sweep, chunk_table
from lineage.surrogate.notes import CODE, ZONE, Note, Notes, fit, restate, tokens
from lineage.surrogate.setting import Setting
from lineage.surrogate.vectorised import simulate

ALONE = ("agent.docs=false", "arms.names=[inherit]", "arms.baseline=inherit")
ALONE = (*ALONE, "arms.ceiling=inherit")
R0, R1 = "smollm2-135m@r0", "smollm2-135m@r1"
FEW = () if FULL else ("experiment.probes={same: 2, similar: 2, dissimilar: 1}",)
CASES = {
    "as shipped": (f"schedule.versions=[{R0},{R0},{R1}]",),
    "drift, revisits, rewritten": (
        *("suite.drift=0.9", "experiment.revisit=0.34", "agent.memory_budget=110"),
        *("migration.kind=rewrite", f"schedule.versions=[{R0},{R1},{R0}{f',{R0}' * FULL}]"),
        *FEW,
    ),
    "forgotten at a release": (
        *("migration.kind=none", "experiment.working_generations=2", "suite.machines_per_kind=4"),
        # Forgotten once, and kept where the version stays.
        *("experiment.episodes=4", f"schedule.versions=[{R1},{R0},{R0}]"),
        "experiment.lineages=24",  # which tells a memory of 0.64 from one of 0.8
        *FEW,
    ),
}
SCORES = ("work", "same", "similar", "dissimilar")
AMOUNTS = ("memories", "memory_tokens")
PAIRS = 24 if FULL else 12
"""As many as one version's run has: what is told by them tells what the vectorised one says."""
CONFIDENCE = 0.9995 if FULL else 0.998
"""Of each interval; there are about 60 in all. Fewer pairs would let pass more at the greater."""


def ones(value: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array([value], dtype=np.int32)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """What lineages go through as shipped: verbatim, with one release."""
    return Setting.of(surrogate(tmp_path_factory.mktemp("shipped"), *ALONE))


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=full if name == "as shipped" else ()) for name in CASES]
)
def test_the_same_measures_from_text_and_from_arrays(case: str, tmp_path: Path) -> None:
    config = surrogate(tmp_path, *ALONE, f"experiment.lineages={PAIRS}", *CASES[case])
    run(config, tmp_path / "runs" / "text")
    log = lineage.open(tmp_path / "runs" / "text")
    real: dict[tuple[int, str], dict[int, float]] = defaultdict(dict)
    for generation, pair, what, score in log.execute(
        "SELECT generation, pair, CASE WHEN phase = 'work' THEN 'work' ELSE family END, avg(score) "
        "FROM episodes GROUP BY ALL"
    ).fetchall():
        real[generation, what][pair] = score
    for generation, pair, *amounts in log.execute(
        f"SELECT generation, pair, {', '.join(AMOUNTS)} FROM generations"
    ).fetchall():
        for what, amount in zip(AMOUNTS, amounts, strict=True):
            real[generation, what][pair] = amount
    seen = 0
    for one in simulate(Setting.of(config), 1024 if FULL else 512, np.random.default_rng(0)):
        for what in (*SCORES, *AMOUNTS):
            told = float(np.mean(getattr(one, what)))
            if (values := real.get((one.generation, what))) is None:
                assert np.isnan(told), "nothing was worked on"
                continue
            found = interval(values, CONFIDENCE, SHARE if what in SCORES else AMOUNT)
            assert within(found, told), (one.generation, what, told, found)
            seen += 1
    assert seen >= 5 * len(config.schedule.versions)


def within(found: Interval, told: float) -> bool:
    if found.low is None or found.high is None:
        return told == pytest.approx(found.mean)
    return found.low <= told <= found.high


def test_another_skill_is_another_distribution(tmp_path: Path) -> None:
    """So that the test above can fail: 24 pairs tell a chance to write of 0.8 from one of 0.4."""
    means = []
    for chance in (0.8, 0.4):
        skill = f"engine.surrogate.skills.default.write={chance}"
        setting = Setting.of(surrogate(tmp_path, *ALONE, skill))
        first = next(simulate(setting, 4096, np.random.default_rng(0)))
        means.append(dict(enumerate(first.memory_tokens[:24])))
    found = interval({pair: means[0][pair] - means[1][pair] for pair in means[0]}, CONFIDENCE, FREE)
    assert found.low is not None and found.low > 0


def test_a_release_leaves_verbatim_notes_as_they_are(setting: Setting) -> None:
    only_first = replace(setting, working=1)
    assert set(only_first.versions) == {0, 1}
    first, *later = simulate(only_first, 64, np.random.default_rng(0))
    assert len(later) == 3 and first.memories.mean() > 2
    for one in later:
        assert one.memories.tolist() == first.memories.tolist()
        assert one.memory_tokens.tolist() == first.memory_tokens.tolist()


def test_notes_go_as_in_text() -> None:
    notes, authors = Notes.empty(1, 8), ones(5)
    assert tokens(notes, authors)[0] == 0
    for name in range(4):
        note = Note(ones(CODE), ones(3), ones(name), ones(4821), ones(0))
        notes.add(ones(0), note, name, 0)
    # "<notes from="a"> ... </notes>" takes 11 tokens beside the name, a whole note 8.
    assert tokens(notes, authors)[0] == 11 + 5 + 4 * 8
    used = np.zeros((1, 8), dtype=bool)
    used[0, 2] = True
    fit(notes, used, 11 + 5 + 8, authors)
    # Two are dropped to compress, then the oldest of those that were not used.
    assert notes.id[notes.held].tolist() == [2]
    restate(notes, np.zeros((1, 8), dtype=bool), 5, 0)
    assert notes.lost[notes.held].tolist() == [1] and not notes.whole.any()
    assert tokens(notes, authors)[0] == 11 + 5 + 6
    # What reads alike is not written twice: cut to "The code of pump", two notes would be equal.
    other = Note(ones(CODE), ones(3), ones(7), ones(1234), ones(3))
    notes.add(ones(0), other, 5, 0)
    kept = np.zeros((1, 8), dtype=bool)
    notes.lost[notes.id == 2] = 2
    kept[notes.id == 4] = True
    restate(notes, kept, 6, 0)
    assert sorted(notes.lost[notes.held].tolist()) == [2, 3]
    assert ZONE != CODE


def test_chunks_are_drawn_by_seed_and_written_once(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK", 16)
    sweep = Sweep(setting, (R0, R1), 40, seed=7)
    assert list(chunks.run(sweep, tmp_path / "out")) == [16, 16, 8]
    assert list(chunks.run(sweep, tmp_path / "out")) == []
    (tmp_path / "out" / "chunk-000001.parquet").unlink()
    assert list(chunks.run(sweep, tmp_path / "out")) == [16]
    table = pq.read_table(tmp_path / "out")
    assert table.num_rows == 40 * 4 and table.schema.equals(chunks.SCHEMA)
    assert pq.read_table(tmp_path / "out" / "chunk-000001.parquet").equals(chunk_table(sweep, 1))
    assert set(table["version"].to_pylist()) == {R0, R1}
    other = Sweep(sweep.setting, sweep.versions, 40, seed=8)
    assert not chunk_table(other, 1).equals(chunk_table(sweep, 1))
    with pytest.raises(LineageError, match="another simulation"):
        list(chunks.run(other, tmp_path / "out"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("agent.docs=true", r"agent\.docs must be False"),
        ("agent.policy=append", r"agent\.policy must be edit"),
        ("migration.kind=distil", r"migration\.kind must be verbatim or rewrite or none"),
        ("suite.difficulty=2", r"suite\.difficulty must be 1"),
        ("suite=warehouse", r"suite\.name must be codebook"),
        ("experiment.episodes=12", "make suite.machines_per_kind larger"),
    ],
)
def test_what_has_no_vectorised_form_is_one_line(override: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(LineageError, match=words):
        setting = Setting.of(surrogate(tmp_path, *ALONE, override))
        list(simulate(setting, 4, np.random.default_rng(0)))
