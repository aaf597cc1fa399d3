"""Any agent's memory folder, in and out: nothing lost, nothing twice, the rest byte for byte."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import FULL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Doc, Knowledge, Memory, Origin
from lineage.markdown.adopted import SIDECAR, Reading
from lineage.markdown.blocks import blocks, lines_of, without_comments
from lineage.markdown.conventions import CONVENTIONS
from lineage.markdown.disk import SIZE_LIMIT, gather
from lineage.markdown.folder import changes_of, put_back, read_folder, summary, write_changes
from lineage.markdown.links import redirected, resolved, targets
from lineage.markdown.parsing import interpret
from lineage.markdown.patch import patch
from lineage.markdown.writing import converted, written

DATA = Path(__file__).parent / "data" / "folders"
FOLDERS = sorted(path.name for path in DATA.iterdir())
LATER = Origin(1, "smollm2-135m@r1", "w001")
PROFILE = settings(
    deadline=None,
    max_examples=40 if FULL else 6,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)

memory_texts = {
    "agents": ["Setup: `pnpm install`", "Style: TypeScript strict"],
    "claude": [
        "Feedback: Never do these:\n- force-push to main\n- delete the backups",
        "Feedback: keep commits small",
        "Feedback: See also [[project_release]].",
    ],
    "claude-project": [
        "@docs/git.md\nRead @docs/style.md too, but not `@docs/other.md`.",
        "Commands > Run the tests with:\n```bash\nmake test\n    make lint\n```",
        "Rules:\n1. Tabs in Makefiles.\n2. No new dependency.",
        "look at error paths first",
        "Git: rebase, never merge",
        "Names are words.",
    ],
    "cline": [
        "Project Brief: A shop for used books.",
        "Active Context > Next steps: add the basket",
    ],
    "codex": ["User Profile: Works on compilers."],
    "cursor": ["Use early returns"],
    "gemini": [
        "Project: Prefer functions.",
        "Project: I live in Turin",
        "Project: The build needs Node 22",
    ],
    "goose": [
        "formatting style: Use black with 100 columns",
        "testing: Run pytest -q\nbefore each commit",
        "No tags here",
    ],
    "hermes": [
        "The repository is a monorepo of pnpm",
        "CI runs on push:\n- lint\n- test",
        "Staging is eu-1",
        "Prefers short answers",
    ],
    "letta": ["persona: I am careful.\nI ask twice.", "human: Lives in Zürich"],
    "memfs": ["works at night", "I am a careful agent."],
    "okf": [],
    "openclaw": ["the door code changes on Mondays", "Soul: Be plain.", "User: Name: Ada"],
    "plain": [],
    "serena": [],
    "skills": [],
}
doc_titles = {
    "agents": ["AGENTS"],
    "claude": [
        "No mocks: integration tests run against a real database",
        "release: Release freeze",
        "Role: maintains the billing service, reads Go better than Python",
    ],
    "claude-project": ["Other"],
    "codex": ["Task Group: parser", "Task Group: release", "Parser fix", "release: Make a release"],
    "cursor": ["How tests are written"],
    "memfs": ["How the project is built"],
    "okf": ["Log", "Orders: one row per order"],
    "openclaw": ["2026-02-03"],
    "plain": ["Notes"],
    "serena": ["Code style", "suggested_commands"],
    "skills": ["pdf: Fill in forms", "Forms"],
}


def texts_of(name: str) -> dict[str, str]:
    return gather(DATA / name).texts


def convention_of(found: Reading) -> str:
    assert found.folder is not None
    return found.folder.convention.name


def edited(knowledge: Knowledge, number: int = 0) -> Knowledge:
    """Return `knowledge` with one entry of each kind changed, one gone and one new."""
    memories, docs = list(knowledge.memories), list(knowledge.docs)
    if len(memories) > 1:
        del memories[number % len(memories)]
    if memories:
        at = number % len(memories)
        memories[at] = replace(memories[at], text=f"{memories[at].text} indeed", edited=LATER)
    if len(docs) > 1:
        del docs[number % len(docs)]
    if docs:
        at = number % len(docs)
        docs[at] = replace(docs[at], body=f"{docs[at].body}\nindeed", edited=LATER)
    next_id = knowledge.next_id
    memories.append(Memory(f"m{next_id}", "A new memory.", LATER, LATER))
    docs.append(Doc(f"d{next_id + 1}", "A new doc", "Its words.", LATER, LATER))
    return Knowledge(tuple(memories), tuple(docs), next_id + 2)


def after(texts: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    return {path: text for path, text in {**texts, **changes}.items() if text is not None}


def leads(texts: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return which file links to which, of those that are there."""
    found = set()
    for path, text in texts.items():
        for target in targets(text):
            if (to := resolved(path, target, texts.keys())) is not None:
                found.add((path, to))
    return found


# Each convention, by a folder in its form


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_known_and_read_as_its_agent_does(name: str) -> None:
    found = read_folder(DATA / name)
    assert convention_of(found) == name.partition("-")[0]
    assert [memory.text for memory in found.knowledge.memories] == memory_texts[name]
    assert [doc.title for doc in found.knowledge.docs] == doc_titles.get(name, [])
    files = "file" if len(texts_of(name)) == 1 else "files"
    assert f": {len(texts_of(name))} {files}, " in summary(found)


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_of_a_folder_is_lost_or_twice(name: str) -> None:
    found = read_folder(DATA / name)
    assert found.folder is not None
    said = [entry.text for entry in found.knowledge.entries]
    whole = "\n".join([*said, *(doc.title for doc in found.knowledge.docs)])
    for path, form in found.folder.forms.items():
        text = found.folder.texts[path]
        text = text if form.whole or path.endswith(".af") else without_comments(text)[0]
        if path.endswith(".af") or path.startswith(("system/", ".cursor/rules/always")):
            continue  # what stands around the memories is not in the prompt
        words = set(re.findall(r"[^\W\d_]{4,}", re.sub(r"\]\([^)]*\)|^# .*", "", text)))
        words -= {"Added", "Gemini", "Memories", "User"}  # headings of an index
        assert words <= set(re.findall(r"[^\W\d_]{4,}", whole)), path
    for entry in found.knowledge.entries:
        assert sum(entry.text in other for other in said) == 1


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_which_nothing_changed_stays_as_it_is(name: str, tmp_path: Path) -> None:
    found = read_folder(DATA / name)
    assert written(found, found.knowledge).texts == {}
    put_back(found.knowledge, found, DATA / name, tmp_path / "out")
    for path in (path for path in (DATA / name).rglob("*") if path.is_file()):
        assert (tmp_path / "out" / path.relative_to(DATA / name)).read_bytes() == path.read_bytes()
    assert read_folder(tmp_path / "out").knowledge == found.knowledge


@pytest.mark.parametrize("number", range(3 if FULL else 2))
@pytest.mark.parametrize("name", FOLDERS)
def test_what_changes_is_written_and_the_rest_stays(name: str, number: int) -> None:
    texts, found = texts_of(name), interpret(texts_of(name))
    left = edited(found.knowledge, number)
    change = written(found, left)
    now = after(texts, change.texts)
    again = interpret(now)
    assert again.knowledge == left
    assert convention_of(again) == convention_of(found)
    assert not [finding for finding in change.findings if "gone" not in finding.what]
    assert "lineage-format" not in "".join(text for path, text in now.items() if path != SIDECAR)
    was = {entry.id: entry for entry in found.knowledge.entries}
    for id, part in found.parts.items():
        if was[id] in left.entries:
            assert texts[part.source.path][slice(*part.span)].strip() in now[part.source.path]
    gone = texts.keys() - now.keys()
    assert {link for link in leads(texts) if not gone & set(link)} <= leads(now) | {
        (path, to) for path, to in leads(texts) if texts[path] != now.get(path)
    }
    assert written(again, left).texts == {}


BECOMES = [
    (name, format)
    for row, name in enumerate(FOLDERS)
    for column, format in enumerate(CONVENTIONS)
    if FULL or format == name.partition("-")[0] or (row - column) % 5 == 0
]
"""Which folder becomes which convention: each of either meets two others and more, and its own."""


@pytest.mark.parametrize(("name", "format"), BECOMES)
def test_a_folder_may_become_one_of_another_convention(name: str, format: str) -> None:
    found = interpret(texts_of(name))
    change = converted(found.knowledge, format, found)
    assert not change.findings
    now = after({}, change.texts)
    again = interpret(now)
    assert again.knowledge == found.knowledge, "by what the sidecar tells"
    assert convention_of(again) == format
    read = interpret({path: text for path, text in now.items() if path != SIDECAR}, format=format)
    assert len(read.knowledge.entries) == len(found.knowledge.entries)
    for path, text in now.items():
        for target in targets(text) if path != SIDECAR else ():
            was = target.rpartition("/")[2].removesuffix(".mdc")
            known = {doc.created.episode.rpartition("/")[2] for doc in found.knowledge.docs}
            if was in known:
                assert resolved(path, target, now) is not None, (path, target)


@pytest.mark.parametrize(
    ("link", "led"),
    [
        ("[[deploy#Ship]]", "[[new/deploy#Ship]]"),
        ("[[Deploy|how]]", "[[new/deploy|how]]"),
        ("[[What now?]]", "[[new/What now?]]"),
        ("[D](<my file.md>)", "[D](<new/my%20file.md>)"),
        ("[D](a_(b).md#x)", "[D](new/a_%28b%29.md#x)"),
        ("![D](deploy.md?raw=1)", "![D](new/deploy.md?raw=1)"),
        ("[d]: deploy.md 'How'", "[d]: new/deploy.md 'How'"),
        ("[d]: <my file.md>\r\n", "[d]: <new/my%20file.md>\r\n"),
        ("[^d]: deploy.md", "[^d]: deploy.md"),
        ("[d]: deploy.md is old", "[d]: deploy.md is old"),
        ('<a class="x" href="deploy.md">D</a>', '<a class="x" href="new/deploy.md">D</a>'),
    ],
)
def test_a_link_of_any_form_is_led_elsewhere(link: str, led: str) -> None:
    files = ("deploy.md", "my file.md", "a_(b).md", "What now?.md")

    def change(target: str, of_wiki: bool) -> str | None:
        name = resolved("MEMORY.md", target, files)
        return f"new/{name}" if name else None

    assert redirected(link, change) == led


def test_a_file_that_a_link_leads_to_and_that_stays_behind_is_named(tmp_path: Path) -> None:
    (tmp_path / "MEMORY.md").write_text("- see ![a](a.png), ![b](b.png), [c](c.md), [[d]]\n")
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "c.md").write_text("Text.\n")
    found = read_folder(tmp_path, format="claude")
    made = converted(found.knowledge, "memfs", found)
    (finding,) = made.findings
    assert "[c](../reference/c.md), [[d]]" in (made.texts["system/memory.md"] or "")
    said = "system/memory.md: links to a.png, which is no memory and no doc: copy it there"
    assert str(finding) == said


# Property: folders of each convention with any text in them

PIECES = (
    "- a bullet about pumps",
    "- parent:",
    "  - child one",
    "    - grandchild",
    "* other mark",
    "1. first step",
    "2. second step",
    "Some prose that goes on",
    "and on",
    "It says:",
    "**Bold**",
    "# Title",
    "## Section",
    "### Deeper: yes",
    "Setext",
    "===",
    "```",
    "~~~sh",
    "    indented = 1",
    "| a | b |",
    "|---|---|",
    "> quoted",
    "<!-- hidden -->",
    "<!--",
    "-->",
    "keep <!-- out --> this",
    "<b>html</b>",
    "---",
    "***",
    "§",
    "# tag other",
    "[x]: y.md",
    "see [m](MEMORY.md) and [[notes]]",
    "",
    "",
    "\tTab",
    "é 🧭 \u2028 end",
    "-",
    "- [ ] open",
)
FRONTS = (
    "",
    "---\nname: a\ndescription: b\ntype: user\n---\n",
    "---\ndescription: x: y\nglobs: *.py\nalwaysApply: false\n---\n",
    "---\ntitle: [Draft] t\n---\n",
    "---\nno end\n",
    "+++\ntitle = 'T'\n+++\n",
)
bodies = st.builds(
    lambda front, lines, end, last: (front + "\n".join(lines) + last).replace("\n", end),
    st.sampled_from(FRONTS),
    st.lists(st.sampled_from(PIECES), max_size=9),
    st.sampled_from(["\n", "\n", "\r\n"]),
    st.sampled_from(["", "\n", "\n\n"]),
)


def folders(name: str) -> st.SearchStrategy[dict[str, str]]:
    paths = [path for path in texts_of(name) if not path.endswith(".af")]
    return st.fixed_dictionaries(dict.fromkeys(paths, bodies))


@pytest.mark.parametrize("name", [name for name in FOLDERS if name != "letta"])
def test_any_folder_of_a_convention_goes_in_and_out(name: str) -> None:
    format = name.partition("-")[0]

    @PROFILE
    @given(folders(name), st.integers(0, 5))
    def holds(texts: dict[str, str], number: int) -> None:
        found = interpret(texts, format=format)
        assert found.folder is not None
        assert written(found, found.knowledge).texts == {}
        for part in found.parts.values():
            raw = texts[part.source.path]
            assert 0 <= part.span[0] <= part.span[1] <= len(raw)
        left = edited(found.knowledge, number)
        change = written(found, left)
        now = after(texts, change.texts)
        kept = {entry.id for entry in found.knowledge.entries if entry in left.entries}
        for id in kept:
            part = found.parts[id]
            raw = texts[part.source.path][slice(*part.span)]
            assert raw.strip("\r\n") in now[part.source.path]
        if not change.findings:
            assert interpret(now, format=format).knowledge == left
        seen.append(len(change.findings))

    seen: list[int] = []
    holds()
    assert sum(map(bool, seen)) <= len(seen) / 3, "most are read back as they were meant"


@settings(PROFILE, max_examples=40 if FULL else 25)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(["\n", "\r\n", "\r"]))
def test_blocks_hold_every_line_once(lines: list[str], end: str) -> None:
    found = lines_of(end.join(lines))
    assert "".join(found) == end.join(lines)
    spans = blocks(found)
    covered = [number for block in spans for number in range(block.first, block.end)]
    assert covered == sorted(set(covered))
    rest = set(range(len(found))) - set(covered)
    assert not any(found[number].strip() for number in rest)


def test_what_differs_in_white_space_alone_stays_as_it_is_written() -> None:
    texts = texts_of("claude")
    found = interpret(texts)
    left = replace(
        found.knowledge,
        memories=tuple(
            replace(m, text=" ".join(m.text.split()), edited=LATER)
            for m in found.knowledge.memories
        ),
        docs=tuple(
            replace(d, body="\n".join(" ".join(line.split()) for line in d.body.split("\n")))
            for d in found.knowledge.docs
        ),
    )
    change = written(found, left)
    assert set(change.texts) == {SIDECAR}
    again = interpret(after(texts, change.texts)).knowledge
    assert [m.text for m in again.memories] == memory_texts["claude"]
    assert {m.edited for m in again.memories} == {LATER}


def test_front_matter_outlives_words_that_have_other() -> None:
    found = interpret({"a.md": "---\ntitle: A\nmetadata:\n  type: user\n---\nOne.\n"})
    (doc,) = found.knowledge.docs
    body = doc.body.replace("  type", "type").replace("One", "Two")
    left = replace(found.knowledge, docs=(replace(doc, body=body),))
    text = written(found, left).texts["a.md"]
    assert text == "---\ntitle: A\nmetadata:\n  type: user\n---\nTwo.\n"


# Structure and front matter that is loose


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "- Never do these:\n  - force-push to main\n  - delete the backups\n- Always:\n"
            "  - run the tests\n",
            [
                "Never do these:\n- force-push to main\n- delete the backups",
                "Always:\n- run the tests",
            ],
        ),
        (
            "## Never do these:\n- force-push to main\n",
            ["Never do these: force-push to main"],
        ),
        (
            "**Never do these**\n\n- force-push to main\n- delete the backups\n\nElse.\n\n- ask\n",
            [
                "Never do these: force-push to main",
                "Never do these: delete the backups",
                "Else.",
                "ask",
            ],
        ),
        ("- keep <!-- hidden --> this\n<!-- - not me -->\n<!--\n- nor me\n-->\n- last\n", None),
        ("Use `<!-- this -->` in HTML.\n", ["Use `<!-- this -->` in HTML."]),
        ("<!-- begins and never ends\n- a\n", ["<!-- begins and never ends\n- a"]),
        ("# Alone\n", ["Alone"]),
        ("- a\n\n  ```py\n  if x < 1:\n      y\n  ```\n", ["a\n\n```py\nif x < 1:\n    y\n```"]),
    ],
)
def test_a_memory_keeps_what_it_stands_under(text: str, said: list[str] | None) -> None:
    found = interpret({"MEMORY.md": text})
    assert [memory.text for memory in found.knowledge.memories] == (said or ["keep this", "last"])
    assert not found.knowledge.docs


def test_where_an_entry_stands_is_told() -> None:
    found = interpret({"MEMORY.md": "# Memory\n\n## Build\n- a\n  b\n- c\n", "x.md": "y\n"})
    sources = [str(part.source) for part in found.parts.values()]
    assert sources == ["MEMORY.md:4-5 under Build", "MEMORY.md:6 under Build", "x.md:1"]


@pytest.mark.parametrize(
    ("front", "warnings"),
    [
        ("---\ntitle: [Draft] plan\n---\n", 1),
        ("---\nname: deploy\ndescription: Use for deploys: staging first\n---\n", 1),
        ("---\ntitle: 2024-01-01\ndate: 2024-01-01T10:00:00Z\n---\n", 0),
        ("---\ntags: a\ntags: b\n---\n", 1),
        ("---\ndescription: tests\nglobs: *.py\n---\n", 1),
        ("---\ncreated: {{date}}\n---\n", 1),
        ("---\n\nSession of Monday.\n", 1),
        ("---\nname:\tdeploy\n\ttags: x\n---\n", 1),
        ('+++\ntitle = "T"\ndate = 2024-01-01\n+++\n', 0),
        ("---\nbase: &a [1]\nmore: *a\n---\n", 1),
        ("---\n- a list\n---\n", 1),
    ],
)
def test_loose_front_matter_costs_a_warning(front: str, warnings: int, tmp_path: Path) -> None:
    files = {"MEMORY.md": "- uses uv\n", "a.md": f"{front}Steps.\n", "b.md": "Fine.\n"}
    found = interpret(files)
    assert [memory.text for memory in found.knowledge.memories] == ["uses uv"]
    kept, fine = found.knowledge.docs
    assert kept.body == f"{front}Steps." and fine.body == "Fine."
    assert [finding.path for finding in found.findings] == ["a.md"] * warnings
    left = replace(found.knowledge, docs=(replace(kept, body=f"{front}Stages."), fine))
    assert written(found, left).texts["a.md"] == f"{front}Stages.\n"
    for path, text in files.items():
        (tmp_path / path).write_text(text)
    if warnings:
        with pytest.raises(LineageError, match=r"a\.md, line "):
            read_folder(tmp_path, strict=True)


def test_what_cannot_be_read_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "MEMORY.md").write_text("- uses uv\n")
    bad = {
        "latin.md": "caf\xe9\n".encode("latin-1"),
        "wide.md": "- a\n".encode("utf-16"),
        "large.md": b"a" * (SIZE_LIMIT + 1),
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    found = read_folder(tmp_path)
    assert {finding.path for finding in found.findings} == set(bad)
    assert len(found.knowledge.entries) == 1
    with pytest.raises(LineageError) as raised:
        read_folder(tmp_path, strict=True)
    assert all(name in str(raised.value) for name in bad), "all at once"
    put_back(edited(found.knowledge), found, tmp_path, tmp_path.with_name("out"))
    for name, data in bad.items():
        assert (tmp_path.with_name("out") / name).read_bytes() == data


def test_an_import_that_leaves_the_folder_is_a_warning() -> None:
    found = interpret({"CLAUDE.md": "@~/.claude/mine.md\n@../up.md\n- a\n@in.md", "in.md": "- b\n"})
    assert [memory.text for memory in found.knowledge.memories][-1] == "b"
    assert len(found.findings) == 2


# Writing


def test_line_ends_marks_and_titles_stay_as_they_are(tmp_path: Path) -> None:
    index = "\ufeff# Memory\r\n\r\n* [Deploy](deploy.md) — how we ship\r\n* uses uv"
    topic = "---\r\nname: deploy\r\n# why\r\n---\r\n\r\nSteps.\r\n\r\n\r\n"
    (tmp_path / "MEMORY.md").write_bytes(index.encode())
    (tmp_path / "deploy.md").write_bytes(topic.encode())
    found = read_folder(tmp_path)
    (memory,), (doc,) = found.knowledge.memories, found.knowledge.docs
    left = replace(
        found.knowledge,
        memories=(replace(memory, text="uses pip\nand pipx"),),
        docs=(replace(doc, title="Deploy: how to ship", body=doc.body.replace("S", "Few s")),),
    )
    write_changes(tmp_path, changes_of(tmp_path, written(found, left)))
    now = (tmp_path / "MEMORY.md").read_bytes().decode()
    assert now == index.replace("we ship", "to ship").replace("uses uv", "uses pip\r\n  and pipx")
    assert (tmp_path / "deploy.md").read_bytes().decode() == topic.replace("S", "Few s")
    assert read_folder(tmp_path).knowledge == left


def test_ids_outlive_what_people_change(tmp_path: Path) -> None:
    texts = {"MEMORY.md": "- one\n- two\n", "a.md": "A.\n"}
    found = interpret(texts)
    left = edited(found.knowledge)
    now = after(texts, written(found, left).texts)
    now["MEMORY.md"] = "- zero\n" + now["MEMORY.md"]
    now["a.md"] = "By hand.\n"
    again = interpret(now)
    assert {memory.text: memory.id for memory in again.knowledge.memories} == {
        **{memory.text: memory.id for memory in left.memories},
        "zero": f"m{left.next_id}",
    }
    (changed,) = (doc for doc in again.knowledge.docs if doc.body == "By hand.")
    assert changed.id == left.docs[0].id and changed.edited == Origin(0, "import", "a.md")
    now[SIDECAR] = "{"
    assert SIDECAR in interpret(now).warnings[0]


def test_a_patch_is_what_git_applies(tmp_path: Path) -> None:
    texts = {
        "MEMORY.md": "# M\n- [A b](a%20b.md)\n- one\r\n- two\n- [C](c.md)",
        "a b.md": "A.\n",
        "c.md": "no end",
    }
    folder = tmp_path / "notes"
    folder.mkdir()
    for path, text in texts.items():
        (folder / path).write_bytes(text.encode())
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    found = read_folder(folder)
    left = edited(found.knowledge)
    changes = changes_of(folder, written(found, left))
    (tmp_path / "p.patch").write_bytes(patch(changes))
    subprocess.run(["git", "apply", "--whitespace=nowarn", "../p.patch"], cwd=folder, check=True)
    for path, (_, new) in changes.items():
        there = folder / path
        assert (there.read_bytes() if there.exists() else None) == new
    assert read_folder(folder).knowledge == left


def test_no_file_is_written_through_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "notes.md").write_text("- a\n")
    (tmp_path / "outside").mkdir()
    (folder / "docs").symlink_to(tmp_path / "outside")
    found = read_folder(folder, format="agents")
    with pytest.raises(LineageError, match="docs is a link"):
        put_back(edited(found.knowledge), found, folder, folder)
    assert not list((tmp_path / "outside").iterdir())
    assert sorted(path.name for path in folder.iterdir()) == ["docs", "notes.md"]


def test_a_convention_that_is_none_is_named() -> None:
    with pytest.raises(LineageError, match="did you mean claude"):
        interpret({"a.md": "x"}, format="cluade")


def test_a_second_line_about_a_file_that_says_something_else_is_a_memory() -> None:
    index = "- [A](a.md): one\n- [[a]] asks for tabs\n- [A](a.md): one\n- [A](a.md)\n"
    texts = {"MEMORY.md": index, "a.md": "Text.\n"}
    found = interpret(texts)
    assert [one.text for one in found.knowledge.memories] == ["[[a]] asks for tabs"]
    assert [one.title for one in found.knowledge.docs] == ["A: one"]
    gone = written(found, found.knowledge.evolve(docs=()))
    assert gone.texts["MEMORY.md"] == "- [[a]] asks for tabs\n" and gone.texts["a.md"] is None


def test_a_doc_with_several_first_headings_is_one_chapter() -> None:
    body = "---\nname: pdf\n---\n# PDF\n```\n# not one\n```\nOther\n=====\nText."
    doc = Doc("d1", "pdf", body, Origin(0, "v", ""), Origin(0, "v", ""))
    files = converted(EMPTY.evolve(docs=(doc,), next_id=2), "codex")
    assert not files.findings
    chapter = files.texts["MEMORY.md"]
    assert chapter is not None and "\n## PDF\n" in chapter and "\nOther\n-----\n" in chapter
    assert "\n# not one\n" in chapter
    again = interpret({path: text or "" for path, text in files.texts.items()}).knowledge
    assert again.docs == (doc,)


def test_a_rule_of_claude_for_some_paths_is_not_in_every_prompt() -> None:
    rules = {
        ".claude/rules/all.md": "Be brief.\n",
        ".claude/rules/ts.md": '---\npaths: "**/*.ts"\n---\nUse strict.\n',
    }
    found = interpret(rules)
    assert [one.text for one in found.knowledge.memories] == ["Be brief."]
    assert [one.body.splitlines()[-1] for one in found.knowledge.docs] == ["Use strict."]
