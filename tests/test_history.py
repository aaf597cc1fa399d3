"""What the git history of a memory folder tells, and beginning with one of its commits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import run, steps, surrogate
from histories import AIDER, NOTES, OPUS, SONNET, Step, commit, git, repository
from test_carry import code, reading

from lineage.commands.foretold import check_start
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Knowledge, Origin
from lineage.core.lives import Said, Snapshot, lives, matched, median_life
from lineage.log.reader import finished
from lineage.markdown.folder import read_folder
from lineage.markdown.git import Place, Repository, place_of
from lineage.markdown.history import at_commit, pinned, read_at, read_history
from lineage.markdown.writers import model_key, undone, writers
from lineage.runs.lineage import place_of as generation_of
from lineage.runs.plan import prepare
from lineage.runs.replay import changes_to

DAY = 86_400


def memory(text: str, path: str = "MEMORY.md") -> Said:
    return Said("memory", path, "", text)


def page(text: str, path: str, title: str = "") -> Said:
    return Said("doc", path, title, text, whole=True)


def told(*states: list[Said], undoes: dict[int, int] | None = None) -> list[Snapshot]:
    """Return a snapshot a day; `undoes` says which reverts the commit of which other."""
    ids = [f"{number:040x}" for number in range(1, len(states) + 1)]
    back = undoes or {}
    return [
        Snapshot(ids[n], n * DAY, (), tuple(said), (ids[back[n]][:12],) if n in back else ())
        for n, said in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (OPUS, ["Claude Opus 4.5"]),
        (
            "Fix\n\n🤖 Generated with [Claude Code](https://claude.com/claude-code)\n\n"
            "Co-Authored-By: Claude Opus 4.7 (1M context) <noreply@anthropic.com>",
            ["Claude Opus 4.7"],
        ),
        ("Co-Authored-By: Claude <noreply@anthropic.com>", ["Claude"]),
        (AIDER, ["gpt-4o"]),
        ("Co-authored-by: aider (openai/gpt-4.1) <a@aider.chat>", ["openai/gpt-4.1"]),
        (SONNET, ["claude-sonnet-4-6"]),
        (
            "Assisted-by: Claude:claude-opus-4-7 Sashiko:claude-haiku-4-5\nSigned-off-by: Jo <j@x>",
            ["claude-opus-4-7", "claude-haiku-4-5"],
        ),
        ("Assisted-by: Claude:claude-3-opus coccinelle sparse", ["claude-3-opus"]),
        (
            "💘 Generated with Crush\n\nAssisted-by: Kimi-K2-Thinking via Crush <crush@charm.land>",
            ["Kimi-K2-Thinking"],
        ),
        ("Generated-by: GPT-5.5", ["GPT-5.5"]),
        ("Assisted-by: Claude Code", ["Claude Code"]),
        ("Co-authored-by: Cursor <cursoragent@cursor.com>", ["Cursor"]),
        ("Co-authored-by: Copilot <223556219+Copilot@users.noreply.github.com>", ["Copilot"]),
        # Two spellings of one model count once, also from the middle of a squashed commit.
        (f"* a\n\n{OPUS}\n\n* b\n\nAssisted-by: X:claude-opus-4-5\n\nMore.", ["Claude Opus 4.5"]),
        # People, and machines that write nothing.
        ("Co-authored-by: Claude Dupont <claude@example.org>", []),
        ("Co-authored-by: Jo <jo@example.org>\nReviewed-by: Claude Opus 4.5 <n@x>", []),
        ("Co-authored-by: dependabot[bot] <1+dependabot[bot]@users.noreply.github.com>", []),
        ("Docs generated with care\nGenerated with sphinx", []),
        ("Say what Co-Authored-By: is for", []),
    ],
)
def test_who_wrote_a_commit_is_what_its_message_says(message: str, names: list[str]) -> None:
    assert list(writers(message)) == names


def test_an_agent_may_commit_in_its_own_name() -> None:
    bot = ("copilot-swe-agent[bot]", "198982749+Copilot@users.noreply.github.com")
    assert writers("Fix", [bot]) == ("copilot-swe-agent[bot]",)
    assert writers("Fix", [("Jo (aider)", "jo@example.org")]) == ("aider",)
    assert writers(OPUS, [("Jo (aider)", "jo@example.org")]) == ("Claude Opus 4.5",)
    assert writers("Fix", [("Devin Booker", "devin@example.org")]) == ()
    assert model_key("anthropic/claude-opus-4-5-20251101") == model_key("Claude Opus 4.5")
    assert undone("Revert\n\nThis reverts commit abc1234def.") == ("abc1234def",)


def test_an_entry_is_followed_by_what_it_says() -> None:
    before = [memory("builds run with make"), memory("the port is 80"), page("A.", "a.md")]
    after = [
        memory("never push"),
        memory("the port is 8080", "ops.md"),
        page("Quite another text.", "a.md"),
        memory("builds run with make"),
    ]
    assert matched(before, after) == {1: 1, 2: 2, 3: 0}
    # A file that is renamed, and at the same time edited a little.
    old, new = page("One two three four five.", "a.md"), page("One two three four six.", "b/c.md")
    assert matched([page("Else.", "z.md"), old], [new]) == {0: 1}
    assert matched([memory("a b c d")], [page("a b c d", "x.md")]) == {}
    twice = [memory("same"), memory("same")]
    assert matched(twice, twice) == {0: 0, 1: 1}


def test_what_a_later_commit_takes_back_counts_as_reverted() -> None:
    a, b, c = memory("alpha one two"), memory("alpha one three"), memory("gamma")
    (life,) = lives(told([a], [b], [a]))
    assert [one.what for one in life.events] == ["written", "revised", "revised"]
    assert [one.undone for one in life.events] == [None, 2, None] and life.gone is None
    first, second = lives(told([a, c], [a], [a, c]))
    assert first.undone == 0 and second.gone is None
    assert [(one.what, one.undone) for one in second.events] == [
        ("written", None),
        ("dropped", 2),
        ("restored", None),
    ]
    # What goes later is not reverted, unless the commit says so or brings all back.
    said = [[a], [a, c], [b, c], [b]]
    assert [one.undone for one in lives(told(*said))] == [0, 0]
    assert [one.undone for one in lives(told(*said, undoes={3: 1}))] == [0, 1]
    assert [one.undone for one in lives(told([a], [a, c], [a]))] == [0, 1]


def test_the_median_life_counts_what_is_still_there() -> None:
    """The figures of Freireich's 6-mercaptopurine arm, known from every text on the method."""
    ended = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    lasting = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    last = 40
    spans = [(last - days, None) for days in lasting] + [(0, days) for days in ended]
    states = [
        [
            memory(f"entry {'x' * n}")
            for n, (born, gone) in enumerate(spans)
            if born <= day and (gone is None or day < gone)
        ]
        for day in range(last + 1)
    ]
    history = told(*states)
    found = median_life(history, lives(history), last * DAY, 0.95)
    assert (found.days, found.n, found.ended) == (23, 21, 9)
    assert found.low == 13 and found.high is None
    # Of those of the first snapshot nobody knows the age where older ones are not there.
    rest = median_life(history, lives(history), last * DAY, 0.95, known=False)
    assert (rest.days, rest.n, rest.ended) == (None, 12, 0)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A code repository with its memory below .claude/memory."""
    folder = tmp_path_factory.mktemp("history") / "code"
    repository(folder, NOTES, ".claude/memory")
    commit(folder, Step(30, "Code", {"main.py": "print()\n", "README.md": "Read me.\n"}))
    return folder


def test_a_folder_in_a_repository_has_the_history_of_its_own_files(
    repo: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(repo), str(bare))
    for top in (repo, bare):
        place = place_of(top / ".claude" / "memory")
        assert place is not None and place.prefix == ".claude/memory"
        found = read_history(place)
        assert found is not None and found.whole
        assert [one.by for one in found.snapshots] == [
            *[("Claude Opus 4.5",)] * 2,
            *[("claude-sonnet-4-6",), ("gpt-4o",), ()],
        ]
        assert [(life.last.text, life.born, life.gone, life.undone) for life in found.lives] == [
            ("builds run with make", 0, None, 1),
            ("tests need redis", 0, 4, 0),
            ("Deploy to staging first.", 1, None, 0),
            ("never push to main", 2, None, 0),
        ]
        assert [one.what for one in found.lives[2].events] == ["written", "moved"]
        assert found.end - found.snapshots[0].at == 30 * DAY
    few = read_history(place, most=2)
    assert few is not None and not few.whole and len(few.snapshots) == 2


def test_a_merge_is_by_those_whom_it_brought(tmp_path: Path) -> None:
    repository(tmp_path, NOTES[:1])
    git(tmp_path, "checkout", "-q", "-b", "side")
    commit(tmp_path, Step(1, f"More\n\n{SONNET}", {"a.md": "A page.\n"}))
    git(tmp_path, "checkout", "-q", "main")
    commit(tmp_path, Step(2, "Code", {"main.py": "x"}))
    git(tmp_path, "merge", "-q", "--no-ff", "-m", "Merge side", "side", day=3)
    place = place_of(tmp_path)
    assert place is not None
    found = read_history(place)
    assert found is not None
    assert [one.by for one in found.snapshots] == [("Claude Opus 4.5",), ("claude-sonnet-4-6",)]


def test_a_commit_is_read_as_the_folder_was(repo: Path) -> None:
    for step in range(5):
        at = read_at(repo / ".claude" / "memory", f"main~{5 - step}")
        files = {}
        for done in NOTES[: step + 1]:
            files |= done.files
        folder = repo.parent / f"as-{step}"
        for path, text in files.items():
            if text is not None:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
        assert at.reading.knowledge == read_folder(folder).knowledge
        assert at.reading.knowledge.entries and len(at.commit) == 40


def test_nothing_of_a_repository_is_run(tmp_path: Path) -> None:
    """Not by its settings, nor by what its files say; links and modules are not entered."""
    repository(tmp_path, NOTES[:2])
    (tmp_path / "link.md").symlink_to("/etc/hostname")
    (tmp_path / ".gitattributes").write_text("*.md filter=evil diff=evil\n")
    git(tmp_path, "update-index", "--add", "--cacheinfo", "160000", "1" * 40, "module")
    commit(tmp_path, Step(3, f"Odd\n\n{OPUS}", {"late.md": "Late.\n"}))
    touched = tmp_path / "touched"
    for key in (
        *("core.fsmonitor", "core.pager", "core.sshCommand", "gpg.program", "diff.external"),
        *("diff.evil.textconv", "filter.evil.smudge", "filter.evil.clean", "core.editor"),
    ):
        git(tmp_path, "config", key, f"touch {touched};")
    git(tmp_path, "config", "log.showSignature", "true")
    place = place_of(tmp_path)
    assert place is not None
    status = sorted(path.name for path in (tmp_path / ".git").iterdir())
    found, at = read_history(place), read_at(tmp_path, "HEAD")
    assert found is not None and found.lives[-1].last.path == "late.md"
    assert "link.md is a link and not read" in at.reading.warnings
    assert not touched.exists()
    assert sorted(path.name for path in (tmp_path / ".git").iterdir()) == status


def test_what_names_a_commit(repo: Path, tmp_path: Path) -> None:
    notes = repo / ".claude" / "memory"
    odd = tmp_path / "a@b"
    odd.mkdir()
    assert at_commit(str(odd)) is None and at_commit(str(notes)) is None
    assert at_commit(f"{notes}@HEAD~1") == (notes, "HEAD~1")
    assert at_commit(f"{odd}@v1@{{0}}") == (odd, "v1@{0}")
    assert at_commit(f"{repo}/gone@main") == (repo / "gone", "main")
    assert at_commit("nothing") is None
    full = git(repo, "rev-parse", "HEAD")
    assert pinned(f"{notes}@main") == f"{notes}@{full}" and pinned(str(notes)) == str(notes)


def test_what_cannot_be_read_is_one_line(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path, revision: str = "HEAD") -> str:
        with pytest.raises(LineageError) as error:
            read_at(folder, revision)
        assert str(error.value).isprintable()
        return str(error.value)

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is in no git repository" in refused(empty)
    git(empty, "init", "-q")
    assert "has no commits yet" in refused(empty)
    for wrong in ("nope", "--all", "f" * 40, "a\x1bb"):
        assert "has no commit" in refused(repo, wrong)
    assert "was no folder at commit" in refused(repo / "src", "main")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{repo}", str(shallow))
    assert "it is a shallow clone" in refused(shallow, git(repo, "rev-parse", "HEAD~4"))
    place = place_of(shallow / ".claude" / "memory")
    assert place is not None and place.is_shallow
    found = read_history(place)
    assert found is not None and not found.whole
    git(empty, "commit", "-q", "--allow-empty", "-m", "x")
    assert read_history(Place(empty, "", False)) is None
    with Repository(Place(repo, "", False)) as objects, pytest.raises(LineageError) as error:
        objects.commit("1" * 40)
    assert "lacks object" in str(error.value)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no program git" in refused(repo)


def test_check_says_first_how_long_entries_live(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = repo / ".claude" / "memory"
    lines = reading(capsys, "check", str(notes)).splitlines()
    assert lines[1].startswith(
        "history: 4 entries over 5 commits from 2026-01-01 to 2026-01-31 by 3 models: "
    )
    assert lines[1].endswith("; 1 change was reverted")
    (entry,) = (line for line in lines if line.startswith("m2 "))
    assert entry.rstrip().endswith("claude-sonnet-4-6, 2026-01-06")
    (row,) = (line for line in lines if line.startswith("Claude Opus 4.5 "))
    assert row.split()[3:8] == ["3", "2", "0", "0", "0"]
    each = reading(capsys, "check", str(notes), "--history")
    assert "tests need redis" in each and "revised 2x, 1 reverted" in each
    found = json.loads(reading(capsys, "check", f"{notes}@main~2", "--json"))
    assert [one["models"] for one in found["history"]["commits"]][-1] == ["gpt-4o"]
    assert found["memories"][0]["text"] == "builds run with bazel now"
    assert found["history"]["entries"][1]["events"][0]["what"] == "written"
    assert "history" not in reading(capsys, "check", str(notes), "--no-history")
    (notes / "new.md").write_text("New.\n")
    try:
        assert "not committed" in reading(capsys, "check", str(notes))
    finally:
        (notes / "new.md").unlink()
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "MEMORY.md").write_text("- a\n")
    assert "history" not in reading(capsys, "check", str(plain))
    assert code("check", str(plain), "--history") == 1
    assert "no commit of a git repository holds it" in capsys.readouterr().err


def test_credentials_of_old_commits_are_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "ghp_" + "a1B2" * 9
    repository(tmp_path, [Step(0, "A", {"MEMORY.md": f"- the token is {key}\n- b\n"})])
    commit(tmp_path, Step(1, "B", {"MEMORY.md": "- b\n"}))
    for more in (["--history"], ["--json"]):
        shown = reading(capsys, "check", str(tmp_path), *more)
        assert key not in shown and ", none of which names a model: " in shown


def test_a_run_begins_with_a_commit_and_names_it_in_full(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = repo / ".claude" / "memory"
    job = prepare(surrogate(tmp_path, f"start.folder='{notes}@main~3'", "agent.memory_budget=320"))
    full = git(repo, "rev-parse", "main~3")
    assert job.config.start.folder == f"{notes}@{full}"
    assert job.start.knowledge == read_at(notes, full).reading.knowledge.rooted()
    assert prepare(job.config).hash == job.hash
    assert (
        prepare(surrogate(tmp_path, f"start.folder={notes}@{full}")).hash
        == prepare(surrogate(tmp_path, f"start.folder='{notes}@main~3'")).hash
    )
    assert code("migrate", f"{notes}@main", str(tmp_path / "out"), "--to", "smollm2-135m@r1") == 1
    assert "is a commit, and files that come back need a folder" in capsys.readouterr().err
    with pytest.raises(LineageError, match="has no commit 'nope'"):
        prepare(surrogate(tmp_path, f"start.folder={notes}@nope"))


def says(knowledge: Knowledge) -> list[tuple[str, str]]:
    memories = [("", one.text) for one in knowledge.memories]
    return sorted([*memories, *((one.title, one.body) for one in knowledge.docs)])


def test_the_edits_to_a_snapshot_keep_ids_and_name_who_wrote_them(repo: Path) -> None:
    place = place_of(repo / ".claude" / "memory")
    assert place is not None
    found = read_history(place)
    assert found is not None
    knowledge, ops = EMPTY, []
    for generation, snapshot in enumerate(found.snapshots):
        changes = list(changes_to(knowledge, snapshot, generation))
        for change in changes:
            assert change.before.id == knowledge.id == change.after.parent
            knowledge = change.after
        ops.append([(one.outcome.edit.op, one.outcome.entry) for one in changes])
        assert says(knowledge) == sorted((one.title, one.text) for one in snapshot.entries)
    assert ops == [
        [("add", "m1"), ("add", "m2")],
        [("write", "d3")],
        [("revise", "m1"), ("add", "m4")],
        [],
        [("drop", "m2"), ("revise", "m1")],
    ]
    first, second = (found.snapshots[n].commit[:12] for n in (0, 4))
    m1 = next(one for one in knowledge.memories if one.id == "m1")
    assert m1.created == Origin(
        0, "import", f"MEMORY.md, commit {first} by Claude Opus 4.5"
    ) and m1.edited == Origin(4, "import", f"MEMORY.md, commit {second}")


def test_a_doc_that_is_replayed_keeps_its_lines() -> None:
    body = "Run:\n\n```\nif x:\n    y()\n```\n"
    (snapshot,) = told([page(body, "a.md", "A")])
    (change,) = changes_to(EMPTY, snapshot, 0)
    (doc,) = change.after.docs
    assert (doc.title, doc.body) == ("A", body)


WILD = ("experiment=wild", "experiment.lineages=1", "experiment.probes.similar=1")


@pytest.fixture
def wild(repo: Path, tmp_path: Path) -> tuple[str, ...]:
    tasks = tmp_path / "tasks.jsonl"
    rows = ({"id": f"q{n}", "world": "w", "prompt": f"{n}?", "answer": "x"} for n in range(4))
    tasks.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return (*WILD, f"suite.path={tasks}", f"start.folder={repo}/.claude/memory@main")


def test_a_history_is_replayed_as_a_lineage(
    repo: Path, wild: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "wild"
    config = surrogate(tmp_path, *wild)
    job = prepare(config)
    run(job.config, folder)
    ids = git(repo, "rev-list", "--reverse", "main").split()
    # Of five commits four, evenly, to the newest of the memory.
    assert [one.commit for one in job.start.replayed] == [ids[n] for n in (1, 2, 3, 4)]
    for generation, snapshot in enumerate(job.start.replayed):
        left = finished(folder, generation_of("replay", 0, generation))
        assert left is not None
        assert says(left) == sorted((one.title, one.text) for one in snapshot.entries)
    log = [row for row in steps(folder) if row["arm"] == "replay"]
    asked = [row for row in log if row["prompt"]]
    assert {row["kind"] for row in asked} <= {"act", "search", "open", "probe"}, "no handoff"
    probes = [row["prompt"] for row in asked if row["episode"].startswith("p")]
    assert any("builds run with bazel now" in one for one in probes)
    (dropped,) = (row for row in log if row["detail"] == "drop: applied")
    assert (dropped["generation"], dropped["entry"], dropped["kind"]) == (3, "m2", "edit")
    shown = {row["detail"] for row in log if row["kind"] == "handoff"}
    assert f"{ids[2][:12]} by claude-sonnet-4-6" in shown


def test_what_cannot_be_replayed_is_one_line(wild: tuple[str, ...], tmp_path: Path) -> None:
    by_model = prepare(surrogate(tmp_path, *wild, "start.replays=models")).start.replayed
    assert [one.by for one in by_model] == [
        *[("Claude Opus 4.5",), ("claude-sonnet-4-6",), ("gpt-4o",), ()]
    ]
    six = f"schedule.versions=[{','.join(['smollm2-135m@r1'] * 6)}]"
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "MEMORY.md").write_text("- a\n")
    for overrides, words in (
        ((six,), "has 5 snapshots by start.replays=commits, and schedule.versions 6"),
        ((f"start.folder={plain}",), "has none: set start.folder=REPO@COMMIT"),
        (("start.folder=null",), "replays the git history of a memory folder"),
    ):
        with pytest.raises(LineageError, match=words):
            prepare(surrogate(tmp_path, *wild, *overrides))


def test_a_snapshot_that_the_budget_does_not_hold_is_refused(
    wild: tuple[str, ...], tmp_path: Path
) -> None:
    """Also where the newest one fits."""
    long = "".join(f"- {'word ' * 40}{n}\n" for n in range(9))
    made = [Step(n, "A", {"MEMORY.md": long if n == 2 else f"- note {n}\n"}) for n in range(4)]
    repository(tmp_path / "long", made)
    folder = f"start.folder={tmp_path / 'long'}"
    for more, lost in ((("agent.memory_budget=100",), True), (("agent.memory_budget=900",), False)):
        job = prepare(surrogate(tmp_path, *wild, folder, *more))
        if lost:
            with pytest.raises(LineageError, match="of 9 entries would be lost"):
                check_start(job)
        else:
            check_start(job)


def test_credentials_of_a_history_are_not_replayed(wild: tuple[str, ...], tmp_path: Path) -> None:
    key = "ghp_" + "a1B2" * 9
    made = [Step(n, "A", {"MEMORY.md": f"- note {n}\n- the token is {key}\n"}) for n in range(4)]
    repository(tmp_path / "keys", made)
    folder = f"start.folder={tmp_path / 'keys'}"
    for kept in (False, True):
        more = ("start.secrets=keep",) if kept else ()
        start = prepare(surrogate(tmp_path, *wild, folder, *more)).start
        texts = [one.text for snapshot in start.replayed for one in snapshot.entries]
        assert len(texts) == 8 and any(key in text for text in texts) == kept
