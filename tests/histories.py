"""Git repositories of agents' memory, made with fixed dates: a history is no file of ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FIRST = 1_767_261_600
"""2026-01-01 10:00 UTC, day 0 of each."""
OPUS = "Co-Authored-By: Claude Opus 4.5 <noreply@anthropic.com>"
SONNET = "Assisted-by: Claude Code:claude-sonnet-4-6"
AIDER = "Co-authored-by: aider (gpt-4o) <aider@aider.chat>"


@dataclass(frozen=True)
class Step:
    """A commit on `day`: its message, and what each file holds then (None: it is removed)."""

    day: float
    message: str
    files: Mapping[str, str | None]


NOTES = (
    Step(0, f"Keep notes\n\n{OPUS}", {"MEMORY.md": "- builds run with make\n- tests need redis\n"}),
    Step(
        2,
        f"Say how to deploy\n\n🤖 Generated with [Claude Code](https://claude.com/claude-code)\n\n"
        f"{OPUS}",
        {
            "MEMORY.md": "- builds run with make\n- tests need redis\n"
            "- [Deploy](deploy.md): steps\n",
            "deploy.md": "Deploy to staging first.\n",
        },
    ),
    Step(
        5,
        f"Other builds\n\n{SONNET}",
        {
            "MEMORY.md": "- builds run with bazel now\n- tests need redis\n"
            "- [Deploy](deploy.md): steps\n- never push to main\n",
        },
    ),
    Step(
        9,
        f"Move the page\n\n{AIDER}",
        {
            "MEMORY.md": "- builds run with bazel now\n- tests need redis\n"
            "- [Deploy](ops/deploy.md): steps\n- never push to main\n",
            "deploy.md": None,
            "ops/deploy.md": "Deploy to staging first.\n",
        },
    ),
    Step(
        20,
        "Back to make",
        {
            "MEMORY.md": "- builds run with make\n"
            "- [Deploy](ops/deploy.md): steps\n- never push to main\n",
        },
    ),
)
"""Three models and a person: one entry is revised and set back, one moves, one goes."""


def git(folder: Path, *arguments: str, day: float = 0) -> str:
    """Return what git says in `folder`, which knows nothing of this machine's settings."""
    when = f"{FIRST + round(day * 86_400)} +0000"
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    people = {f"GIT_{who}_NAME": "Jo" for who in ("AUTHOR", "COMMITTER")}
    people |= {f"GIT_{who}_EMAIL": "jo@example.org" for who in ("AUTHOR", "COMMITTER")}
    dates = {f"GIT_{who}_DATE": when for who in ("AUTHOR", "COMMITTER")}
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *arguments],
        cwd=folder,
        env=os.environ | settings | people | dates,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit(folder: Path, step: Step, below: str = "") -> str:
    """Return the id of the commit that does `step` to the repository in `folder`."""
    for path, text in step.files.items():
        file = folder / below / path
        if text is None:
            file.unlink()
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", step.message, day=step.day)
    return git(folder, "rev-parse", "HEAD")


def repository(folder: Path, steps: Sequence[Step] = NOTES, below: str = "") -> list[str]:
    """Make a repository in `folder` with its memory `below`; return the ids of its commits."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q")
    return [commit(folder, step, below) for step in steps]
