"""How much raw history fits into the prompt of the arm `transcript`."""

from __future__ import annotations

from collections.abc import Sequence

from lineage.agent.desk import Desk
from lineage.agent.history import Past, newest
from lineage.agent.prompt import history_block


def fitting(desk: Desk, past: tuple[Past, ...]) -> tuple[Past, ...]:
    """Return the newest episodes whose block is within `agent.transcript_tokens`."""
    config = desk.config

    def tokens(shown: Sequence[Past]) -> int:
        return desk.count(history_block(shown, config.wrong_answers))

    return newest(past, config.transcript_tokens, tokens)
