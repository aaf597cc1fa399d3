"""Credentials, duplicates and contradictions: found in plain notes, and nothing else taken."""

from __future__ import annotations

import pytest

from lineage.compose import load_suite
from lineage.core.credentials import credentials, redact
from lineage.core.findings import Finding, findings
from lineage.core.knowledge import IMPORT, Doc, Knowledge, Memory, Origin

ORIGIN = Origin(0, IMPORT, "MEMORY.md")
# In two parts, so that no scanner takes this file for one that holds keys.
GITHUB = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
BLOCK = "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIB\nAAAA\n-----END RSA PRIVATE " + "KEY-----"


def knowing(*texts: str, body: str = "") -> Knowledge:
    memories = tuple(Memory(f"m{i}", t, ORIGIN, ORIGIN) for i, t in enumerate(texts, start=1))
    docs = (Doc("d90", "Guide", body, ORIGIN, ORIGIN),) if body else ()
    return Knowledge(memories, docs, 91)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"push with {GITHUB}.", GITHUB),
        ("key AKIA" + "IOSFODNN7EXAMPLQ is ours", "AKIA" + "IOSFODNN7EXAMPLQ"),
        ("OPENAI_API_KEY=sk-" + "proj-abcdefghijklmnopqrst", "sk-" + "proj-abcdefghijklmnopqrst"),
        ("postgres://admin:" + "hunter2@db/x", "hunter2"),
        ("The password is " + "hunter22", "hunter22"),
        ("- API key: " + "9f8a7b6c5d4e3f2a1b0c", "9f8a7b6c5d4e3f2a1b0c"),
        (f"use\n{BLOCK}\nfor it", BLOCK),
    ],
)  # fmt: skip
def test_a_credential_is_found_whole(text: str, secret: str) -> None:
    (found,) = credentials(text)
    assert text[found.start : found.end] == secret


@pytest.mark.parametrize(
    "text",
    [
        "The code of pump Birch is 4821.",
        "commit def93210aa77bb8810def9321000000000000000",
        "Keep the API key in 1Password, never in .env",
        "password: <see vault>",
        "secret = os.environ['X2']",
        "token: 128k window, api key: rotate often",
        "use 123e4567-e89b-12d3-a456-426614174000",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert credentials(text) == ()


@pytest.mark.parametrize("suite", ["codebook", "warehouse"])
def test_no_fact_of_a_world_is_taken_for_one(suite: str) -> None:
    for fact in load_suite(suite).world(7, 0).facts:
        assert credentials(fact.text) == ()


def test_a_mark_stands_for_each_and_leads_back() -> None:
    came = knowing(f"push with {GITHUB}", "Use tabs.", body=f"a\n{GITHUB}\n{BLOCK}\nb")
    redacted = redact(came)
    assert redacted.knowledge.memories[0].text == "push with [secret 1: GitHub Token]"
    assert redacted.knowledge.docs[0].body.splitlines() == [
        "a", "[secret 1: GitHub Token]", "[secret 2: Private Key]", "b",
    ]  # fmt: skip
    assert redacted.kinds == {"m1": ("GitHub Token",), "d90": ("GitHub Token", "Private Key")}
    assert redacted.restored(redacted.knowledge) == came
    clean = knowing("Use tabs.")
    assert redact(clean).knowledge is clean


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (("The port of staging is 8080.", "Port of staging is **9090**"), "contradiction"),
        (("Ports: Staging is 8080.", "Ports: Staging is 9090."), "contradiction"),
        (("Use pnpm.", "Never use `pnpm`"), "contradiction"),
        (("Always run the tests", "Do not run the tests."), "contradiction"),
        (("Always run the tests", "Run the tests always"), "duplicate"),
        (
            ("Deploys go first to staging, then to all, on Fridays",
             "Deploys go first to staging, then to all, on Friday"), "duplicate",
        ),
    ],
)  # fmt: skip
def test_what_two_notes_do_to_each_other_is_found(texts: tuple[str, ...], kind: str) -> None:
    (found,) = findings(knowing(*texts))
    assert (found.kind, found.entries) == (kind, ("m1", "m2"))


def test_notes_about_many_things_are_neither() -> None:
    texts = [f"Service {i} listens on port {8000 + i}." for i in range(60)]
    more = ("The user is a chemist.", "The user is an early riser.", "Note: ask", "Note: test")
    more += (
        "It is slow",
        "It is needed",
        "Use uv: it is fast",
        "Use uv: never pip",
        "The plan: ask first",
        "Staging: the port is 8080",
        "Production: the port is 9090",
        "Never guess",
        "Feedback: keep commits small",
        "Feedback: see also the release page",
    )
    assert findings(knowing(*texts, *more)) == ()


def test_docs_are_compared_with_docs() -> None:
    doc = Doc("d1", "Pumps", "one two three four", ORIGIN, ORIGIN)
    twice = Knowledge((), (doc, Doc("d2", "Pumps", "one two three four", ORIGIN, ORIGIN)), 3)
    assert findings(twice) == (Finding("duplicate", ("d1", "d2"), "say the same"),)
