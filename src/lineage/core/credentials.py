"""Credentials in text: found by the patterns of detect-secrets and a few more, and taken out.

What is taken out leaves a visible mark, by which it can be put back. Nothing is ever asked of the
services that such a key is for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module

from lineage.core.knowledge import Knowledge

DETECTORS = {
    "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector",
    "basic_auth": "BasicAuthDetector",
    "discord": "DiscordBotTokenDetector",
    "github_token": "GitHubTokenDetector",
    "gitlab_token": "GitLabTokenDetector",
    "jwt": "JwtTokenDetector",
    "mailchimp": "MailchimpDetector",
    "npm": "NpmDetector",
    "openai": "OpenAIDetector",
    "pypi_token": "PypiTokenDetector",
    "sendgrid": "SendGridDetector",
    "slack": "SlackDetector",
    "square_oauth": "SquareOAuthDetector",
    "stripe": "StripeDetector",
    "twilio": "TwilioKeyDetector",
}
"""The detectors of detect-secrets that go by the form of one service's keys, by their module.

Not those that go by entropy or by a word before: in prose they take ids and advice for keys, and
are slow.
"""
_NAMED = r"(?:password|passwd|passphrase|pwd)"
_KEYED = r"(?:secret|token|api[ _-]?key|access[ _-]?key|secret[ _-]?key|auth[ _-]?key)"
_MORE = {
    "Private Key": re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?"
        r"(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
        re.DOTALL,
    ),
    "API key": re.compile(r"\bsk-(?:ant-|proj-|svcacct-|or-)?[A-Za-z0-9_-]{20,}"),
    "GitHub Token": re.compile(r"\bgithub_pat_\w{22,}"),
    "Google API key": re.compile(r"\bAIza[\w-]{35}"),
    "Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "Password": re.compile(
        rf"(?i){_NAMED}[\"'`*]*(?: is|\s*[:=])\s*[\"'`*]*"
        r"((?=[^\s\"'`]*\d)(?=[^\s\"'`]*[a-z])[^\s\"'`<>${(][^\s\"'`<>]{5,})"
    ),
    "Secret": re.compile(
        rf"(?i){_KEYED}[\"'`*]*(?: is|\s*[:=])\s*[\"'`*]*"
        r"((?=[\w+/=-]*\d)(?=[\w+/=-]*[a-z])[\w+/=-]{16,})"
    ),
}
_BASIC = "Basic Auth Credentials"
_GOES_ON = re.compile(r"[\w+/=-]*")
_LONG = 16
"""Characters of a part of a match that can be a key by itself; a shorter one is its beginning."""


@dataclass(frozen=True)
class Credential:
    """One credential: what kind it is of, and where in the text it stands."""

    kind: str
    start: int
    end: int


def credentials(text: str) -> tuple[Credential, ...]:
    """Return the credentials in `text`, in order; no two overlap, the earlier and longer counts."""
    found: list[Credential] = []
    for one in sorted(_all(text), key=lambda c: (c.start, -c.end, c.kind)):
        if not found or one.start >= found[-1].end:
            found.append(one)
    return tuple(found)


def _all(text: str) -> Iterator[Credential]:
    for kind, pattern in _patterns():
        for match in pattern.finditer(text):
            parts = [number for number in range(1, pattern.groups + 1) if match[number]]
            whole = [n for n in parts if len(match[n]) >= _LONG or kind in ("Password", _BASIC)]
            start, end = match.span(whole[0] if whole else 0)
            start += len(match.string[start:end]) - len(match.string[start:end].lstrip(" \t\"'=:"))
            going = _GOES_ON.match(text, end)
            yield Credential(kind, start, going.end() if going and kind != _BASIC else end)


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return every pattern with the kind that it finds."""
    found = []
    for module, name in DETECTORS.items():
        # It brings an HTTP client with it, which a text without Knowledge need not wait for.
        detector = getattr(import_module(f"detect_secrets.plugins.{module}"), name)()
        found += [(str(detector.secret_type), pattern) for pattern in detector.denylist]
    return (*found, *_MORE.items())


def replaced(text: str, mark: Callable[[str, str], str]) -> str:
    """Return `text` with what `mark` makes of each credential, and of its kind, in its place."""
    parts, last = list[str](), 0
    for one in credentials(text):
        parts += [text[last : one.start], mark(text[one.start : one.end], one.kind)]
        last = one.end
    return "".join((*parts, text[last:]))


@dataclass(frozen=True)
class Redacted:
    """Knowledge without credentials.

    `kinds` are those that an entry held, by its id; `marks` what stands for which credential.
    """

    knowledge: Knowledge
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)

    def restored(self, knowledge: Knowledge) -> Knowledge:
        """Return `knowledge` with each credential where its mark stands."""

        def put_back(text: str) -> str:
            for mark, credential in self.marks.items():
                text = text.replace(mark, credential)
            return text

        return _each(knowledge, put_back) if self.marks else knowledge


def redact(knowledge: Knowledge) -> Redacted:
    """Return `knowledge` with a mark such as "[secret 1: GitHub Token]" for each credential.

    Equal credentials have equal marks. The result has no parent; without credentials it is
    `knowledge` itself.
    """
    names: dict[str, str] = {}
    kinds: dict[str, tuple[str, ...]] = {}

    def mark(secret: str, kind: str) -> str:
        return names.setdefault(secret, f"[secret {len(names) + 1}: {kind}]")

    for entry in knowledge.entries:
        held = tuple(dict.fromkeys(one.kind for one in credentials(entry.text)))
        if held:
            kinds[entry.id] = held
    if not kinds:
        return Redacted(knowledge)
    redacted = _each(knowledge, lambda text: replaced(text, mark))
    return Redacted(redacted, kinds, {name: secret for secret, name in names.items()})


def _each(knowledge: Knowledge, change: Callable[[str], str]) -> Knowledge:
    memories = tuple(replace(m, text=change(m.text)) for m in knowledge.memories)
    docs = tuple(replace(d, title=change(d.title), body=change(d.body)) for d in knowledge.docs)
    return replace(knowledge, memories=memories, docs=docs)
