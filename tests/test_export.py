"""Knowledge as a folder of Markdown: nothing lost either way, nothing written elsewhere."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import FULL, run, surrogate
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lineage.cli import main
from lineage.commands.export import _exported as exported
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Doc, Knowledge, Memory, Origin
from lineage.inspect.snapshots import Snapshots
from lineage.log.views.connect import connect
from lineage.markdown import disk, frontmatter
from lineage.markdown.blocks import without_comments
from lineage.markdown.bullets import bullets
from lineage.markdown.conventions.front import head_of
from lineage.markdown.folder import export_knowledge, import_knowledge, read_folder
from lineage.markdown.format import doc_path, render
from lineage.markdown.frontmatter import Flaw
from lineage.markdown.parsing import INDEX, interpret

ORIGIN = Origin(0, "smollm2-135m@r0", "w003")
LATER = Origin(2, "smollm2-135m@r1", "w001")

NASTY = (
    "---",
    "---\nlineage-format: 1\n---\n",
    "\n---\n",
    "a\n\n\n",
    " a",
    "a ",
    "  two spaces \t",
    "- bullet",
    "* * *",
    "```",
    "# heading",
    "foo <!--m1-->",
    "<!--x-0123456789abcdef-->",
    "../../etc/passwd",
    "a/b\\c",
    "C:",
    "key: value # no comment",
    "'\"`",
    "&a *a !!python/object:os.system",
    "null",
    "yes",
    "2024-01-01",
    "1e3",
    "~",
    "{a: b}, [c]",
    "%YAML 1.1",
    "🧭👩‍👩‍👧 é ﬀ",
    "\x00\x07\x1b[31m\x7f\x85\x9f",
    "\r\n\r",
    "\u2028\u2029\x0b\x0c\x1c",
    "\ufeff\ufffe\uffff\U0010ffff",
    "\ud800",
    "\ud83d\ude00",
    "\u3000 \u00a0",
    "long " * 400,
)
characters = st.one_of(st.characters(), st.characters(categories=["Cs", "Cc", "Zs", "Zl", "Zp"]))
texts = st.one_of(
    st.text(characters, max_size=30),
    st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=8)), max_size=4).map("".join),
)
origins = st.builds(Origin, st.integers(), texts, texts)
odd_ids = texts.filter(bool)


def ids(letter: str) -> st.SearchStrategy[str]:
    plain = st.integers(0, 99).map(lambda number: f"{letter}{number}")
    return st.one_of(plain, plain, plain, odd_ids)


memories = st.builds(Memory, ids("m"), texts, origins, origins)
docs = st.builds(Doc, ids("d"), texts, texts, origins, origins)
knowledges = st.builds(
    Knowledge,
    st.lists(memories, max_size=5, unique_by=lambda memory: memory.id).map(tuple),
    st.lists(docs, max_size=4, unique_by=lambda doc: doc.id).map(tuple),
    st.integers(),
    texts,
)


def tree(folder: Path) -> dict[str, bytes]:
    """Return all below `folder` by relative path; of links, where they lead."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent, name)
            if path.is_symlink():
                content = b"-> " + os.fsencode(path.readlink())
            else:
                content = b"folder" if path.is_dir() else path.read_bytes()
            found[path.relative_to(folder).as_posix()] = content
    return found


def memory(number: int, text: str) -> Memory:
    return Memory(f"m{number}", text, ORIGIN, LATER)


def doc(number: int, title: str, body: str) -> Doc:
    return Doc(f"d{number}", title, body, ORIGIN, LATER)


SMALL = Knowledge(
    (memory(1, "Zone codes have four digits."), memory(3, "Ask twice.")),
    (doc(4, "Zones", "# All zones\n\nNorth: 1234\n"), doc(2, "Zones", "South: 4321")),
    next_id=7,
    parent="0123456789abcdef",
)


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


# Round trip


@given(knowledges)
@settings(
    deadline=None,
    max_examples=200 if FULL else 8,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_what_is_rendered_reads_back_the_same(knowledge: Knowledge) -> None:
    files = render(knowledge)
    found = interpret(files)
    assert found.knowledge == knowledge
    assert found.knowledge.id == knowledge.id == found.exported
    assert not found.warnings
    assert render(found.knowledge) == files


@given(knowledges, knowledges)
@settings(
    deadline=None,
    max_examples=30 if FULL else 3,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_disk_keeps_all_and_nothing_else_is_touched(
    tmp_path_factory: pytest.TempPathFactory, knowledge: Knowledge, other: Knowledge
) -> None:
    parent = tmp_path_factory.mktemp("parent")
    write(parent, {"passwd": "x", "etc/passwd": "x", "docs/d1.md": "x"})
    before = tree(parent)
    folder = parent / "notes"
    written = export_knowledge(knowledge, folder)
    assert import_knowledge(folder) == knowledge
    first = tree(folder)
    assert {path.relative_to(folder).as_posix() for path in written} == set(first) - {"docs"}

    assert export_knowledge(knowledge, folder) == written
    assert tree(folder) == first, "exported again, the bytes are the same"

    export_knowledge(other, folder)
    assert import_knowledge(folder) == other
    export_knowledge(knowledge, folder)
    assert tree(folder) == first, "nothing of the other one is left"

    outside = {name: data for name, data in tree(parent).items() if not name.startswith("notes")}
    assert outside == before


@pytest.mark.parametrize("text", NASTY)
def test_each_nasty_text_survives_anywhere(text: str, tmp_path: Path) -> None:
    origin = Origin(-1, text, text)
    knowledge = Knowledge(
        (Memory(text, text, origin, ORIGIN), memory(1, f"a{text}b"), memory(2, text)),
        (Doc(text, text, text, ORIGIN, origin), doc(1, f"a{text}", f"a{text}b"), doc(2, text, "")),
    )
    export_knowledge(knowledge, tmp_path)
    assert import_knowledge(tmp_path) == knowledge
    assert len(tree(tmp_path)) == 5
    assert all(0 not in data for data in tree(tmp_path).values())


@settings(deadline=None)
@given(texts, st.one_of(st.integers(), texts))
def test_front_matter_holds_any_text(key_text: str, value: int | str) -> None:
    text = frontmatter.dump({"a": {"b": [key_text, {"c": value}]}, "d": key_text})
    assert "\n---\n" not in f"\n{text}"
    parsed = frontmatter.parse(text)
    inner = frontmatter.list_of(frontmatter.mapping_of(parsed["a"], "a")["b"], "b")
    assert inner[0].value == parsed["d"].value == key_text
    assert frontmatter.mapping_of(inner[1], "")["c"].value == str(value)


@given(st.text(st.sampled_from("ab:-&*!|>'\"{}[],#?%@\\x0U \n\t\x00"), max_size=40))
@example('"\\UFFFFFFFF"')
@example("? [a]\n: b")
@example("2024-13-45: 2024-13-45")
@example("[" * (3000 if FULL else 1000))  # of a key of 1,024 YAML tries every beginning
@settings(deadline=None)
def test_any_front_matter_is_read_or_refused(text: str) -> None:
    try:
        assert isinstance(frontmatter.parse(text), dict)
    except Flaw as flaw:
        assert 1 <= flaw.line <= text.count("\n") + 3


def test_files_are_markdown_that_people_can_read() -> None:
    files = render(SMALL)
    assert list(files) == ["docs/d4-zones.md", "docs/d2-zones.md", INDEX]
    assert files[INDEX].endswith(
        "---\n\n- Zone codes have four digits. <!--m1-->\n- Ask twice. <!--m3-->\n"
    )
    assert files["docs/d4-zones.md"] == (
        "---\nlineage-format: 1\nid: d4\ntitle: Zones\n"
        "created: {generation: 0, version: smollm2-135m@r0, episode: w003}\n"
        "edited: {generation: 2, version: smollm2-135m@r1, episode: w001}\n"
        "---\n# All zones\n\nNorth: 1234\n\n"
    )


@settings(deadline=None)
@given(odd_ids, texts)
def test_no_title_or_id_decides_where_a_file_is(id: str, title: str) -> None:
    path = doc_path(replace(doc(1, title, ""), id=id))
    assert re.fullmatch(r"docs/[a-z0-9-]{1,80}\.md", path)


def test_line_ends_of_another_system_change_nothing(tmp_path: Path) -> None:
    export_knowledge(SMALL, tmp_path)
    for path in tmp_path.rglob("*.md"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert import_knowledge(tmp_path) == SMALL
    export_knowledge(SMALL, tmp_path)


def test_what_we_wrote_has_no_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SIZE_LIMIT", 1000)
    large = replace(SMALL, docs=(doc(4, "Zones", "é" * 2000),), memories=(memory(1, "a" * 2000),))
    export_knowledge(large, tmp_path)
    assert import_knowledge(tmp_path) == large


@pytest.mark.parametrize(
    "bad",
    [
        Knowledge(memories=(memory(1, "a"), memory(1, "b"))),
        Knowledge(docs=(doc(1, "a", ""), doc(1, "b", ""))),
        Knowledge(docs=(doc(1, "a", ""), doc(1, "a", ""))),
        Knowledge(memories=(Memory("", "a", ORIGIN, ORIGIN),)),
        Knowledge(memories=(Memory("m1", None, ORIGIN, ORIGIN),)),  # type: ignore[arg-type]
        Knowledge(docs=(Doc("d1", 3, "", ORIGIN, ORIGIN),)),  # type: ignore[arg-type]
    ],
)
def test_what_could_not_be_read_back_is_not_written(bad: Knowledge, tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="cannot be written as Markdown"):
        export_knowledge(bad, tmp_path / "notes")
    assert not tree(tmp_path)


# The target folder


def test_a_folder_of_others_is_left_alone_unless_told(tmp_path: Path) -> None:
    write(tmp_path, {"MEMORY.md": "- mine\n", "docs/d4-zones.md": "mine", "docs/mine.md": "mine"})
    before = tree(tmp_path)
    with pytest.raises(LineageError, match="no earlier export: choose another folder"):
        export_knowledge(SMALL, tmp_path)
    assert tree(tmp_path) == before
    export_knowledge(SMALL, tmp_path, replace=True)
    export_knowledge(EMPTY, tmp_path, replace=True)
    after = tree(tmp_path)
    assert set(after) == {"MEMORY.md", "docs", "docs/mine.md"}
    assert after["docs/mine.md"] == b"mine"


def test_an_export_that_was_changed_is_left_alone_unless_told(tmp_path: Path) -> None:
    export_knowledge(SMALL, tmp_path)
    index = tmp_path / INDEX
    index.write_text(index.read_text() + "- By hand.\n")
    before = tree(tmp_path)
    with pytest.raises(LineageError, match="was changed since it was exported"):
        export_knowledge(SMALL, tmp_path)
    assert tree(tmp_path) == before
    export_knowledge(SMALL, tmp_path, replace=True)
    assert import_knowledge(tmp_path) == SMALL


def test_only_docs_that_an_export_wrote_are_dropped(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    export_knowledge(SMALL, folder)
    write(tmp_path, {"victim.md": "---\nlineage-format: 1\n---\n"})
    index = folder / INDEX
    index.write_text(index.read_text().replace("d2-zones.md]", "d2-zones.md, ../../victim.md]"))
    (folder / "docs" / "d2-zones.md").write_text("rewritten by hand")
    export_knowledge(EMPTY, folder, replace=True)
    left = tree(tmp_path)
    assert "victim.md" in left
    assert left["notes/docs/d2-zones.md"] == b"rewritten by hand"
    assert "notes/docs/d4-zones.md" not in left


@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        ("notes", "is no folder"),
        ("notes/docs", "is no folder"),
        ("notes/docs/d4-zones.md/x", "is a folder"),
        ("notes/MEMORY.md/x", "is a folder"),
    ],
)
def test_what_stands_in_the_way_is_named(obstacle: str, words: str, tmp_path: Path) -> None:
    write(tmp_path, {obstacle: "x"})
    before = tree(tmp_path)
    with pytest.raises(LineageError, match=words):
        export_knowledge(SMALL, tmp_path / "notes", replace=True)
    assert tree(tmp_path) == before


def test_links_lead_no_write_out_of_the_folder(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"d4-zones.md": "x", "MEMORY.md": "x"})
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "docs").symlink_to(outside)
    before = tree(tmp_path)
    with pytest.raises(LineageError, match="docs is a link"):
        export_knowledge(SMALL, folder, replace=True)
    assert tree(tmp_path) == before
    (folder / "docs").unlink()
    (folder / INDEX).symlink_to(outside / INDEX)
    export_knowledge(SMALL, folder, replace=True)
    assert (outside / INDEX).read_text() == "x"
    assert import_knowledge(folder) == SMALL


# What people change by hand


def test_bullets_can_be_changed_moved_deleted_and_added(tmp_path: Path) -> None:
    export_knowledge(SMALL, tmp_path)
    index = tmp_path / INDEX
    head = index.read_text().partition("\n\n")[0]
    index.write_text(f"{head}\n\n- New.\n* Ask thrice,\n\n  at least. <!--m3-->\n")
    write(tmp_path, {"docs/more.md": "# More\n\ntext\n"})
    found = read_folder(tmp_path)
    new, kept = found.knowledge.memories
    assert (new.id, new.text, new.created) == ("m7", "New.", Origin(0, "import", INDEX))
    assert kept == memory(3, "Ask thrice, at least.")
    assert found.knowledge.docs[:2] == SMALL.docs
    assert (found.knowledge.docs[2].id, found.knowledge.docs[2].title) == ("d8", "More")
    assert found.knowledge.next_id == 9
    assert any("memory m1 has no bullet" in warning for warning in found.warnings)
    assert any("changed since" in warning for warning in found.warnings)


def test_a_doc_of_another_export_keeps_its_id(tmp_path: Path) -> None:
    other = replace(SMALL, docs=(doc(9, "Other", "text"),))
    export_knowledge(SMALL, tmp_path / "a")
    export_knowledge(other, tmp_path / "b")
    (tmp_path / "b/docs/d9-other.md").rename(tmp_path / "a/docs/d9-other.md")
    found = import_knowledge(tmp_path / "a")
    assert found.docs == (*SMALL.docs, *other.docs)
    assert found.next_id == 10


# Folders that others wrote

FOREIGN: dict[str, str | bytes] = {
    "MEMORY.md": (
        "# Memory\n\n"
        "- [Deploys](deploys.md) - how to ship, and when not to\n"
        "* Tabs,  not spaces,\n  in Makefiles\n"
        "    - nested: use `make check`\n"
        "-\n"
        "+ [ ] to do\n"
    ),
    "deploys.md": "---\nname: Deploying\n---\n\nNever on Friday.\n\n\n",
    "notes/tests.md": "Intro.\n\n```sh\n# no heading\n```\n\n# Running the tests #\n\nmake test\n",
    "notes/tags.md": "---\ntitle: 2024-01-01\ntags: [a, b]\n---\nBody.\n",
    "notes/comment.md": "---\ntitle: Kept # why\n---\nBody.\n",
    "notes/plain.MD": b"\xef\xbb\xbfA\x00B\r\nC\tD\r\n",
    "notes/empty.md": "",
    "other.txt": b"\xff not read",
    ".git/HEAD.md": "not read",
}


def test_a_foreign_folder_becomes_memories_and_docs(tmp_path: Path) -> None:
    found = read_folder(write(tmp_path, FOREIGN))
    knowledge = found.knowledge
    assert [(m.id, m.text) for m in knowledge.memories] == [
        ("m1", "Tabs,  not spaces, in Makefiles\n- nested: use `make check`"),
        ("m2", "[ ] to do"),
    ]
    assert [(d.id, d.title, d.body) for d in knowledge.docs] == [
        (
            "d3",
            "Deploys: how to ship, and when not to",
            "---\nname: Deploying\n---\nNever on Friday.",
        ),
        ("d4", "Kept", "---\ntitle: Kept # why\n---\nBody."),
        ("d5", "empty", ""),
        ("d6", "plain", "A B\nC\tD"),
        ("d7", "2024-01-01", "---\ntitle: 2024-01-01\ntags: [a, b]\n---\nBody."),
        (
            "d8",
            "Running the tests",
            "Intro.\n\n```sh\n# no heading\n```\n\n# Running the tests #\n\nmake test",
        ),
    ]
    assert {m.created for m in knowledge.memories} == {Origin(0, "import", "MEMORY.md")}
    assert knowledge.docs[1].edited == Origin(0, "import", "notes/comment.md")
    assert knowledge.next_id == 9
    assert found.warnings == ("notes/plain.MD: control characters were read as spaces",)
    export_knowledge(knowledge, tmp_path / "out")
    assert import_knowledge(tmp_path / "out") == knowledge


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("## Build\n\n", ["Build: One."]),
        (
            "- \n\nprose below an empty bullet and a blank line\n\n",
            ["prose below an empty bullet and a blank line", "One."],
        ),
        ("Some prose.\n\n", ["Some prose.", "One."]),
        ("Never do:\n\n", ["Never do: One."]),
        ("```\n- code\n```\n\n", ["```\n- code\n```", "One."]),
        ("---\nscope: user\n---\n", ["scope: user", "One."]),
    ],
)
def test_an_index_with_more_than_bullets_comes_in_once(
    more: str, said: list[str], tmp_path: Path
) -> None:
    write(tmp_path, {INDEX: f"{more}- One.\n"})
    found = read_folder(tmp_path)
    assert [m.text for m in found.knowledge.memories] == said
    assert not found.knowledge.docs
    assert not found.warnings


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["MEMORY.md", "a.md", "b/c.md"]), texts, min_size=1))
def test_any_text_of_others_is_read_or_refused_and_then_lossless(files: dict[str, str]) -> None:
    try:
        found = interpret(files).knowledge
    except LineageError as error:
        assert "\n" not in str(error)
        assert any(name in str(error) for name in files)
        return
    assert interpret(render(found)).knowledge == found
    for name, text in files.items():
        if name == INDEX:
            text = commented_out(text)
        said = " ".join([*(m.text for m in found.memories), *(d.body for d in found.docs)])
        words = re.findall(r"[^\W\d_]{3,}", frontmatter.plain(text))
        titles = " ".join(d.title for d in found.docs)
        assert all(word in f"{said} {titles}" for word in words), name


LINES = (
    *("# abc", "## def", "ghi jkl", "---", "***", "===", "-", "- one two", "<!-- said -->"),
    "- <!-- said -->",
    *("leads:", "", "```", "  more", "**Bold**", "> quote", "1. num", "- [link](other.md)"),
)


def commented_out(text: str) -> str:
    """Return `text` without comments: code that begins in its front matter ends with that."""
    end = head_of(text).end
    return "\n".join(without_comments(part)[0] for part in (text[:end], text[end:]))


@settings(deadline=None)
@example(["------", "lineage-format: 1", "---", "---"])  # found by the test above
@example(["---", "```", "---", "<!-- said -->"])
@example(["# abc", "***", "", "## def", "<!-- said -->"])
@example(["leads:", "", "-"])
@example(["leads:", "- <!-- said -->"])
@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=7))
def test_no_word_of_an_index_is_lost_whatever_stands_beside_it(lines: list[str]) -> None:
    text = commented_out("\n".join(lines))
    found = interpret({INDEX: "\n".join(lines)}).knowledge
    said = " ".join([*(m.text for m in found.memories), *(d.body for d in found.docs)])
    assert all(word in said for word in re.findall(r"[^\W\d_]{3,}", text))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["- a", "  b", "c", "", "```", "~~~~", "# d", "---", "* * *"])))
def test_bullets_and_the_rest_are_the_whole_text(lines: list[str]) -> None:
    found, more = bullets("\n".join(lines))
    assert all(lines[bullet.number - 1] == "- a" for bullet in found)
    assert more or sum(len(b.lines) for b in found) == sum(
        line not in ("", "---", "* * *") for line in lines
    )


def test_links_inside_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": "one", "b/c.md": "two"})
    (tmp_path / "b" / "again.md").symlink_to(tmp_path / "a.md")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.md")
    found = read_folder(tmp_path)
    assert [d.body for d in found.knowledge.docs] == ["one", "two"]
    assert len(found.warnings) == 3


# Bad input: one line, the file named

BOMB = "---\na: &a [x, x]\nb: [*a, *a]\n---\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.md", "---\ntitle: [\n---\n", "a.md, line 2: broken YAML front matter"),
        ("a.md", "---\nx: 1\n\t- y\n---\n", "a.md, line 3: broken YAML front matter"),
        ("a.md", '---\nx: "\\UFFFFFFFF"\n---\n', "a.md, line 1: broken YAML"),
        ("a.md", "---\n- a\n- b\n---\n", "a.md, line 2: the front matter is no mapping"),
        ("a.md", "---\ntitle: x\n\ntext\n", "a.md, line 1: the front matter that begins here"),
        ("a.md", BOMB, "a.md, line 2: anchors and aliases"),
        ("a.md", f"---\nx: {'[' * 99}{']' * 99}\n---\n", "a.md, line 2: the front matter nests"),
        ("a.md", "---\nx: 1\nx: 2\n---\n", "a.md, line 3: 'x' stands twice"),
        ("a.md", "---\n[a]: 2\n---\n", "a.md, line 2: a key of the front matter must be text"),
        ("a.md", "---\ntitle: [a]\n---\n", "a.md, line 2: title must be text"),
        ("b/a.md", b"one\ntwo \xff\n", "b/a.md, line 2: not UTF-8"),
        ("a.md", b"a" * (disk.SIZE_LIMIT + 1), "a.md is over 1,048,576 bytes: split it"),
        ("a.md", "---\nlineage-format: 2\n---\n", "a.md, line 2: lineage-format 2 is not read"),
        ("a.md", "---\nlineage-format: x\n---\n", "a.md, line 2: lineage-format must be a whole"),
        ("a.md", "---\nlineage-format: 1\n---\n", "a.md, line 1: id is missing"),
        ("a.txt", "text", "holds no Markdown: put MEMORY.md"),
    ],
)
def test_bad_files_are_one_line(
    name: str, content: str | bytes, words: str, tmp_path: Path
) -> None:
    write(tmp_path, {name: content})
    before = tree(tmp_path)
    with pytest.raises(LineageError) as raised:
        import_knowledge(tmp_path, strict=True)
    assert words in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (INDEX, "next-id: 7", "next-id: many", "line 4: next-id must be a whole number"),
        (INDEX, "next-id: 7\n", "", "line 1: next-id is missing"),
        (INDEX, "generation: 0", "generation: [0]", "line 7: generation must be a whole number"),
        (INDEX, "knowledge:", "tags: x\nknowledge:", "line 3: unknown key 'tags'"),
        (INDEX, "docs: [d4-zones.md, d2-zones.md]", "docs: 3", "docs must be a list"),
        (INDEX, "d2-zones.md]", "../d2.md]", "no name of a file in docs/"),
        (INDEX, "d2-zones.md]", "d4-zones.md]", "d4-zones.md stands twice"),
        (INDEX, "d2-zones.md]", "d5.md]", "docs/d5.md is listed but missing"),
        (INDEX, "<!--m3-->", "<!--m1-->", "line 16: duplicate id m1"),
        (INDEX, "<!--m3-->", "<!--m9-->", "line 16: m9 is not among the memories"),
        (INDEX, "  m3:", "  m3:\n    id: m4", "line 10: the id of m3 is another"),
        (INDEX, "  m3:", "  m3:\n    text: x", "line 10: m3 has a text here and one at"),
        (INDEX, "m3:", "m1:", "line 9: 'm1' stands twice"),
        (INDEX, "- Ask", "Ask", "line 15: m1 and m3 share a bullet"),
        ("docs/d2-zones.md", "id: d2", "id: d4", "line 3: two files have the doc id d4"),
        ("docs/d2-zones.md", "id: d2", "id: ''", "line 3: id is empty"),
        ("docs/d2-zones.md", "title: Zones", "title: {a: b}", "line 4: title must be text"),
        ("docs/d2-zones.md", "id: d2", "id: d2\nbody: x", "line 4: a body stands here"),
        ("docs/d2-zones.md", ", episode: w003", "", "line 5: episode is missing"),
        ("docs/d2-zones.md", "{generation: 0,", "{generation: 0, who: x,", "unknown key 'who'"),
    ],
)
def test_a_damaged_export_is_one_line(
    name: str, old: str, new: str, words: str, tmp_path: Path
) -> None:
    export_knowledge(SMALL, tmp_path)
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    with pytest.raises(LineageError, match=re.escape(words)) as raised:
        import_knowledge(tmp_path)
    assert f"{tmp_path}/{name}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_folders_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="notes does not exist"):
        import_knowledge(tmp_path / "notes")
    write(tmp_path, {"file.md": "x"})
    with pytest.raises(LineageError, match=r"file\.md is no folder"):
        import_knowledge(tmp_path / "file.md")


@pytest.mark.parametrize("target", ["../secret.md", "../secret", "/etc", "../notes-2"])
def test_a_link_that_leaves_the_folder_is_left_out_or_refused(
    target: str, tmp_path: Path
) -> None:
    write(tmp_path, {"secret.md": "x", "secret/a.md": "x", "notes-2/a.md": "x", "notes/a.md": ""})
    (tmp_path / "notes" / "link.md").symlink_to(target)
    leaves = r"link\.md is a link that leaves the folder"
    with pytest.raises(LineageError, match=leaves):
        import_knowledge(tmp_path / "notes", strict=True)
    found = read_folder(tmp_path / "notes")
    assert [doc.title for doc in found.knowledge.docs] == ["a"]
    assert re.match(leaves, found.warnings[0])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": "x"})
    (tmp_path / "a.md").chmod(0)
    if os.access(tmp_path / "a.md", os.R_OK):
        pytest.skip("this user reads everything")
    with pytest.raises(LineageError, match=r"a\.md cannot be read: Permission denied"):
        import_knowledge(tmp_path, strict=True)


# The command line


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with memories and docs."""
    tmp = tmp_path_factory.mktemp("export")
    folder = tmp / "runs" / "small"
    few = ("experiment.lineages=2", "arms.names=[inherit,cold]", "arms.ceiling=inherit")
    run(surrogate(tmp, "experiment=tiny", *few), folder)
    return folder


@pytest.fixture(scope="module")
def snapshots(ran: Path) -> Snapshots:
    """What it left."""
    return Snapshots(connect(ran))


def ends(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert stopped.value.code is None or isinstance(stopped.value.code, int)
    return stopped.value.code or 0


def test_export_takes_what_the_last_generation_left(
    ran: Path, snapshots: Snapshots, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = {place.at: id for place, id in snapshots.left.items()}
    last = max(int(name.partition("@")[2]) for name in left)
    first = left["000-inherit@0"]
    assert ends("export", ran, tmp_path / "a", "--at", first[:12]) == 0
    assert import_knowledge(tmp_path / "a").id == first
    capsys.readouterr()
    assert ends("export", ran, tmp_path / "a") == 0, "over an earlier export"
    found = import_knowledge(tmp_path / "a")
    assert first != found.id == left[f"000-inherit@{last}"]
    assert found.memories and found.docs
    assert found.id in capsys.readouterr().out
    export_knowledge(found, tmp_path / "c")
    assert tree(tmp_path / "c") == tree(tmp_path / "a")

    assert ends("export", ran, tmp_path / "b", "--lineage", "001-inherit") == 0
    assert import_knowledge(tmp_path / "b").id == left[f"001-inherit@{last}"]


def test_export_says_what_is_wrong(
    ran: Path, snapshots: Snapshots, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = write(tmp_path / "notes", {"mine.md": "mine"})
    ids = {*snapshots.left.values(), EMPTY.id}
    unknown = next(
        f"{n:04x}" for n in range(1 << 16) if not any(id.startswith(f"{n:04x}") for id in ids)
    )
    # Each command opens the log anew, which takes longest: what one of them asks of it is enough.
    for at, lineage, words in (
        (unknown, "", "the nearest are"),
        ("", "000-inherti", "000-inherit"),
        ("", "000-cold", "000-cold hands no Knowledge over"),
    ):
        with pytest.raises(LineageError, match=words) as refused:
            exported(snapshots, ["inherit", "cold"], at, lineage)
        assert "\n" not in str(refused.value)
    for arguments, words in (
        ((ran, tmp_path / "x", "--at", "zz"), "is no Knowledge id"),
        ((tmp_path, tmp_path / "x"), "is no run folder"),
        ((ran, notes), "--replace"),
    ):
        assert ends("export", *arguments) == 1
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert tree(tmp_path) == {"notes": b"folder", "notes/mine.md": b"mine"}
    assert ends("export", ran, notes, "--replace") == 0
    assert "holds other Markdown" in capsys.readouterr().out
    assert (notes / "mine.md").read_text() == "mine"


def test_check_shows_what_a_folder_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, FOREIGN | {"x.md": "---\ntitle: '[bold]\\x1b[31m'\n---\n", "y.md": "# \x1b[2J"})
    assert ends("check", tmp_path) == 0
    out = capsys.readouterr().out
    assert "2 memories, 8 docs" in out
    assert import_knowledge(tmp_path).id in out
    assert "[bold]" in out and "\x1b" not in out
    assert "warning: notes/plain.MD: control characters" in out
    assert "m2" in out and "d10" in out
    assert ends("check", tmp_path / "nothing") == 1
    assert capsys.readouterr().err.startswith("lineage: ")


def test_check_lists_so_many_entries_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage.commands.check.MOST_ROWS", 3)
    write(tmp_path, {"MEMORY.md": "- a\n- b\n", "x.md": "# x", "y.md": "# y"})
    assert ends("check", tmp_path) == 0
    out = capsys.readouterr().out
    assert "\nm2 " in out and "\nd3 " in out and "\nd4 " not in out
    assert "the first 3 of 4 entries; all of them with --all" in out
    assert "2 memories, 2 docs" in out
    assert ends("check", tmp_path, "--all") == 0
    out = capsys.readouterr().out
    assert "\nd4 " in out and "the first" not in out
