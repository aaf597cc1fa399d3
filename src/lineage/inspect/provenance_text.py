"""What `lineage log` and `lineage diff` print. What a model wrote is shown as it is, not obeyed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from lineage.core.knowledge import IMPORT
from lineage.core.text import say, visible
from lineage.inspect.diff import Difference, words
from lineage.inspect.provenance import Change, Provenance
from lineage.inspect.snapshots import OFFERED, Event, Link

SHOWN = 160
"""Characters of a proposed text that a line shows."""
STYLES = {"added": "green", "dropped": "red", "revised": "yellow", "new": "green", "old": "red"}
MARKS = {"added": "+", "dropped": "-", "revised": "~"}
BRACKETS = {"same": ("", ""), "old": ("[-", "-]"), "new": ("{+", "+}")}


def show_entry(console: Console, found: Provenance, chosen: bool) -> None:
    """Print all about an entry; `chosen`: its lineage was not asked for by name."""
    state = "in the last Knowledge" if found.alive else "no longer in the last Knowledge"
    head = Text.assemble((found.entry, "bold"), f"  {found.kind} of {found.lineage}, {state}")
    say(console, head)
    if found.others and chosen:
        others = ", ".join(found.others[:OFFERED])
        more = f" and {len(found.others) - OFFERED} more" if len(found.others) > OFFERED else ""
        show_note(console, f"An entry of this id is in {others}{more} too: choose by --lineage.")
    say(console, _indented(Text(visible(found.text))))
    say(console, Text(visible(_written(found))))
    say(console, Text(_used(found)))
    say(console, Text(_helped(found)))
    for change in found.changes:
        say(console, Text(""))
        _show_change(console, change)
    if not found.whole and found.created.version != IMPORT:
        show_note(console, "\nWhat made it is not in this run: it came from elsewhere.")


def _written(found: Provenance) -> str:
    made, edited = found.created, found.edited
    if made.version == IMPORT:
        # A folder does not say by whom, or when.
        by = f", last edited by {edited.version}" if edited.version != IMPORT else ""
        return f"read from {made.episode} of the folder that the run began with{by}"
    where = f" in episode {made.episode}" if made.episode else ""
    return f"written in generation {made.generation} by {made.version}{where}"


def _used(found: Provenance) -> str:
    use, episodes = found.use, f"{found.use.working} working episodes and {found.use.probes} probes"
    if found.kind == "doc":
        return f"on the shelf in {episodes}, opened in {use.opened} of them"
    return f"in the prompt of {episodes}, echoed by {use.echoed} answers"


def _helped(found: Provenance) -> str:
    help = found.help
    if help.with_entry is None or help.without is None:
        return f"whether it helped is undefined: {help.reason}"
    return (
        f"helped by {help.difference:+.2f}: mean score {help.with_entry:.2f} with it, "
        f"{help.without:.2f} of arm {help.baseline}, on {help.n} of the {help.needed} probes that "
        "need what it states"
    )


def _show_change(console: Console, change: Change) -> None:
    event = change.event
    say(console, _event_line(event, event.after if event.after != event.before else ""))
    refused = event.before == event.after
    if refused:
        proposed = Text(f"proposed: {visible(event.text)[:SHOWN]}", "dim")
        say(console, _indented(proposed if event.text else Text()))
    elif change.old is not None and change.new is not None:
        say(console, _indented(_marked(words(change.old, change.new))))
    elif change.new is not None:
        say(console, _indented(Text(f"+ {visible(change.new)}", STYLES["added"])))
    elif change.old is not None:
        say(console, _indented(Text(f"- {visible(change.old)}", STYLES["dropped"])))


def _event_line(event: Event, id: str) -> Text:
    line = Text.assemble((f"{id}  ", "yellow") if id else "")
    place = f"generation {event.generation}  {event.version}  {event.phase} "
    line.append(visible(place + ("" if event.whole else f"{event.episode}  ")))
    refused = event.before == event.after
    line.append(f"{visible(event.op)}: {visible(event.verdict)}", "red" if refused else "bold")
    line.append(f"  {visible(event.entry)}" if event.entry else "")
    return line


def show_chain(console: Console, lineage: str, links: Sequence[Link]) -> None:
    """Print the ancestry of a snapshot, newest first."""
    say(console, Text(f"{links[0].knowledge} and its {len(links) - 1} ancestors, in {lineage}"))
    for link in links:
        if link.made is not None:
            line = _event_line(link.made, link.knowledge)
        elif link.parent:
            line = Text.assemble((link.knowledge, "yellow"), "  made by no step of this run")
        else:
            line = Text.assemble((link.knowledge, "yellow"), "  the first of all")
        line.append(f"  {link.memories} memories, {link.docs} docs", "dim")
        if link.left_by:
            more = f" and {len(link.left_by) - 1} more" if len(link.left_by) > 1 else ""
            line.append(f"  ({link.left_by[0]}{more})", "cyan")
        say(console, line)
        if link.made is not None and link.made.text:
            text = visible(" ".join(link.made.text.split()))
            say(console, _indented(Text(text[:SHOWN] + ("…" if len(text) > SHOWN else ""))))


def show_differences(
    console: Console, before: str, after: str, found: Sequence[Difference], by_text: bool, same: int
) -> None:
    """Print what differs between two snapshots; `same` entries do not."""
    say(console, Text.assemble((before, "yellow"), " → ", (after, "yellow")))
    if by_text:
        show_note(console, "No lineage has both: entries are matched by their text.")
    for one in found:
        _show_difference(console, one)
    counts = Counter(one.change for one in found)
    summary = ", ".join(f"{counts[change]} {change}" for change in MARKS)
    say(console, Text(f"{summary}, {same} the same"))


def _show_difference(console: Console, one: Difference) -> None:
    style = STYLES[one.change]
    line = Text.assemble((f"{MARKS[one.change]} {one.entry}", style))
    by = one.origin
    written = f"  {one.change}, written in generation {by.generation} by {by.version}"
    line.append(visible(written), "dim")
    say(console, line)
    if one.words:
        say(console, _indented(_marked(one.words)))
    else:
        say(console, _indented(Text(visible(one.new or one.old or ""), style)))


def show_settings(console: Console, changed: Sequence[tuple[str, Any, Any]]) -> None:
    """Print each key whose value changes, with both values."""
    for key, *values in changed:
        texts = [Text(visible(json.dumps(value, ensure_ascii=False))) for value in values]
        say(console, Text.assemble((key, "bold"), ": ", Text(" → ").join(texts)))


def show_note(console: Console, note: str) -> None:
    """Print a line that is beside the result."""
    say(console, Text(visible(note), "dim"))


def _marked(pieces: tuple[tuple[str, str], ...]) -> Text:
    """Return pieces of two texts as `git diff --word-diff` shows them."""
    line = Text()
    for kind, piece in pieces:
        left, right = BRACKETS[kind]
        line.append(f"{left}{visible(piece)}{right}", STYLES.get(kind, ""))
    return line


def _indented(text: Text) -> Text:
    indent = Text("    ")
    return Text("\n").join(indent + line for line in text.split("\n", allow_blank=True))
