"""How much raw history fits into the prompt of the arm `transcript`."""

from __future__ import annotations

from collections.abc import Sequence

from lineage.agent.context import Context
from lineage.agent.history import Past, newest
from lineage.agent.prompt import history_block


def fitting(context: Context, past: tuple[Past, ...]) -> tuple[Past, ...]:
    """Return the newest episodes whose block is within `agent.transcript_tokens`."""
    config = context.config

    def tokens(shown: Sequence[Past]) -> int:
        return context.count(history_block(shown, config.wrong_answers))

    return newest(past, config.transcript_tokens, tokens)
