"""What a run on models behind an API costs: told before it starts, kept within a limit, summed up.

All of it is by the price list in `conf/model/`; what a provider really takes is on its bill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from lineage import compose
from lineage.core.config import Config
from lineage.core.config_engine import PriceConfig
from lineage.core.errors import OVERLONG, LineageError
from lineage.log.journal import answers_in
from lineage.log.schema import Step
from lineage.log.views.connect import connect
from lineage.models.factory import behind_api
from lineage.models.protocol import Engine
from lineage.models.purse import Purse, usd
from lineage.runs.earlier import finished, telling
from lineage.runs.folder import root_of
from lineage.runs.forecast import spending
from lineage.runs.plan import Job

ANSWERED = f"""\
SELECT CASE WHEN kind = 'judge' THEN detail ELSE version END AS version,
    sum(prompt_tokens)::BIGINT, sum(completion_tokens)::BIGINT, sum(cached_tokens)::BIGINT
FROM steps WHERE prompt_tokens > 0 AND finish_reason <> '{OVERLONG}' GROUP BY ALL
"""


def purse_of(job: Job, folder: Path, served: Engine) -> Engine:
    """Return `served` with what its answers cost kept within `run.most_usd`.

    It is `served` itself where no version of `job` is behind an API.
    """
    remote = behind_api(job.config) & {*job.versions}
    if not remote:
        return served
    prices = prices_of(job.config, remote)
    spent = paid(folder, prices) if prices else 0.0
    again = f"{folder}{'' if _known(job.config) else ' --trust'}"
    model = job.config.model
    at = {name: model.endpoints[model.versions[name].checkpoint.endpoint] for name in remote}
    beyond = {name: one.reasoning_tokens + one.spare_tokens for name, one in at.items()}
    return Purse(served, remote, prices, job.config.run.most_usd, spent, beyond, again)


def _known(config: Config) -> bool:
    """Whether `lineage resume` sends keys to these endpoints unasked."""
    try:
        compose.check_endpoints(config, Path(), "")
    except LineageError:
        return False
    return True


def prices_of(config: Config, versions: frozenset[str]) -> dict[str, PriceConfig]:
    """Return the prices of those of `versions` that have one."""
    found = ((name, config.model.versions[name].price) for name in sorted(versions))
    return {name: price for name, price in found if price is not None}


def paid(folder: Path, prices: dict[str, PriceConfig]) -> float:
    """Return what the answers in the log of the run in `folder` cost in USD, so far.

    Those that are only journalled count too. Attempts that failed are in no log.
    """
    spent = 0.0
    if any(folder.glob("done/*.json")):
        with closing(connect(folder)) as log:
            for version, *counts in log.execute(ANSWERED).fetchall():
                spent += usd(prices[version], *counts) if version in prices else 0.0
    for file in folder.glob("journal/*.jsonl"):
        if (folder / "done" / f"{file.stem}.json").exists():
            continue
        # A step that was held and then written is one answer.
        answered = {one.step.step_id: one.step for one in answers_in(file)}
        spent += cost_of(answered.values(), prices)
    return spent


def cost_of(steps: Iterable[Step], prices: Mapping[str, PriceConfig]) -> float:
    """Return what the answers in `steps` cost in USD, of versions that have one of `prices`.

    A prompt that was over-long was refused, and is not paid for.
    """
    return sum(
        usd(prices[name], step.prompt_tokens, step.completion_tokens, step.cached_tokens)
        for step in steps
        if (name := _asked(step)) in prices and step.finish_reason != OVERLONG
    )


def _asked(step: Step) -> str:
    """Return the version that answered: of a judge's step that is not the lineage's own."""
    return step.detail if step.kind == "judge" else step.version


def foretold_cost(job: Job) -> tuple[str, ...]:
    """Return the line that says what `job` will cost, or why that is not known.

    There is none where no version of it is behind an API.
    """
    remote = behind_api(job.config) & {*job.versions}
    if not remote:
        return ()
    limit = job.config.run.most_usd
    ends = f"; it stops at run.most_usd={limit:g}" if limit is not None else ""
    lacking = sorted(remote - prices_of(job.config, remote).keys())
    if lacking:
        return (f"cost n/a: {', '.join(lacking)}: no price in conf/model/{ends}",)
    earlier, _ = telling(job, finished(root_of(job.config.run)))
    if earlier is None:
        return (
            "cost n/a: no earlier run tells it; the same run with engine=surrogate, which is free, "
            f"would{ends}",
        )
    if remote & {*job.suite.judges}:
        ends = f"; judges come on top{ends}"
    cost = f"about {spending(job, earlier) or 0.0:,.4g} USD by the price list"
    return (f"{cost} (from {earlier.folder}; a provider's cache makes it less){ends}",)
