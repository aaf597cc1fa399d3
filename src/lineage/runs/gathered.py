"""A history gathered from files: session logs of agents, and folders of our own runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lineage import compose
from lineage.agent.history import Past, restore
from lineage.core.config import Config
from lineage.core.credentials import replaced
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.log.reader import finished, read_steps
from lineage.models.protocol import CHARS_PER_TOKEN
from lineage.runs.arms import find_arm
from lineage.runs.lineage import place_of
from lineage.runs.sessions import Bounds, Lines, Told, read_sessions
from lineage.runs.told import keep, settled
from lineage.suites import make_suite

SUITES = "its tasks cannot be read without that"


def gathered(config: Config, files: Sequence[Path]) -> tuple[Config, tuple[str, ...]]:
    """Return `config` with the history in `files`, which is kept in the cache, and what to say.

    Of all episodes the newest `advise.history_episodes` are kept: of the last file, and its last.
    Credentials are taken out. Raises LineageError where a file has no episode.
    """
    agent, notes = config.agent, list[str]()
    bounds = Bounds(agent.observation_chars, agent.history_tokens * CHARS_PER_TOKEN)
    kept = deque[Told](maxlen=config.advise.history_episodes)
    found = 0
    for file in files:
        before = found
        for one in _episodes(file, bounds, notes):
            kept.append(_without_secrets(one))
            found += 1
        if found == before:
            why = f": {notes.pop()}" if notes and notes[-1].startswith(str(file)) else ""
            raise LineageError(f"{file} has no episode: a question, and what was done or said{why}")
    episodes = [one if one.asked else replace(one, asked=settled(one)) for one in kept]
    place, digits = keep(episodes, Path(config.run.cache_folder))
    sessions = len({one.session for one in episodes})
    questions = len({question for one in episodes for question, _ in one.asked})
    notes.insert(
        0,
        f"history: {len(episodes):,} episodes of {sessions:,} sessions, which settle {questions:,} "
        "questions" + (f"; {found - len(kept):,} older ones are left out" * (found > len(kept))),
    )
    start = replace(config.start, history=str(place), history_hash=digits)
    return replace(config, start=start), tuple(notes)


def _episodes(file: Path, bounds: Bounds, notes: list[str]) -> Iterator[Told]:
    if file.is_dir():
        yield from _of_run(file)
        return
    if not file.is_file():
        raise LineageError(f"--history {file}: there is no such file, nor a run folder")
    lines = Lines(file)
    yield from read_sessions(file, bounds, lines)
    if lines.note:
        notes.append(lines.note)


def _of_run(run: Path) -> Iterator[Told]:
    """Yield what the lineages of one arm of `run` lived through: the first that hands over."""
    file = run / "config.yaml"
    config = compose.load_file(file)
    compose.check_suite(config, file, SUITES)
    suite, generations = make_suite(config.suite), len(config.schedule.versions)
    arms = (find_arm(config, name) for name in config.arms.names)
    arm = next((arm for arm in arms if arm.receives.hands_over), None)
    if arm is None:
        return
    for pair in range(config.experiment.lineages):
        planned = plans(suite, config.experiment, generations, pair)
        for generation in range(generations):
            place = place_of(arm.name, pair, generation)
            if finished(run, place) is None:
                continue
            for past in restore(planned[generation], generation, read_steps(run, place), suite):
                yield _of_past(past, f"{run.name}/{place.name}")


def _of_past(past: Past, session: str) -> Told:
    one, task = past.experience, past.task
    return Told(
        session,
        past.version,
        one.prompt,
        one.answer,
        one.feedback,
        one.right,
        one.context,
        tuple((exchange.action, exchange.result) for exchange in one.trace.exchanges),
        ((task.prompt, task.answer),) if task.prompt and task.answer else (),
    )


def _without_secrets(told: Told) -> Told:
    """Return `told` with a mark for each credential, without a number: those are of the folder."""
    return replace(
        told,
        prompt=_bare(told.prompt),
        answer=_bare(told.answer),
        feedback=_bare(told.feedback),
        context=_bare(told.context),
        exchanges=_each_bare(told.exchanges),
        asked=_each_bare(told.asked),
    )


def _each_bare(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((_bare(a), _bare(b)) for a, b in pairs)


def _bare(text: str) -> str:
    return replaced(text, lambda secret, kind: f"[secret: {kind}]")
