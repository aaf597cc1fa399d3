"""`rewrite`: the successor restates each entry in its own words, one entry a request.

MemCollab (arXiv 2603.23234) found that one model's memories can harm another as they stand.
"""

from __future__ import annotations

import asyncio
import json

from lineage.agent import prompt as prompts
from lineage.agent import schemas
from lineage.agent.budget import fit
from lineage.agent.context import Context
from lineage.agent.migrations.legacy import Legacy
from lineage.agent.proposal import Proposal, after, enact, propose
from lineage.core.edits import Edit, json_object, parse_edits
from lineage.core.knowledge import Doc, Knowledge, Memory


async def rewrite(context: Context, legacy: Legacy) -> Knowledge:
    """Return the Knowledge with each entry restated; one that fails stays as it was.

    So does a doc that is too long to be shown whole: what was left out would be lost.
    """
    knowledge = legacy.knowledge
    shown = (e for e in knowledge.entries if isinstance(e, Memory) or context.whole(e))
    for proposal in await asyncio.gather(*(_restate(context, one) for one in shown)):
        knowledge = after(knowledge, enact(context, "migrate", knowledge, proposal, kind="migrate"))
    return await fit(context, "migrate", knowledge, since=legacy.since)


async def _restate(context: Context, entry: Memory | Doc) -> Proposal:
    config = context.config
    if isinstance(entry, Memory):
        schema, most = schemas.restated_memory(config), config.edit_tokens
    else:
        schema, most = schemas.restated_doc(entry, config), config.document_tokens

    def parse(text: str) -> tuple[Edit, ...]:
        fields = json_object(text, "restatement")
        edits = parse_edits(json.dumps({"edits": [fields | {"op": "revise", "id": entry.id}]}))
        unchanged = isinstance(entry, Memory) and edits[0].text == entry.text
        return () if unchanged else edits

    turns = prompts.restate_turns(context.texts, entry)
    return await propose(context, f"rewrite-{entry.id}", turns, most, schema, parse)
