"""Runs on models behind an API: the same log, no key anywhere, a limit in USD, what is refused."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from apis import NEW, OLD, PRICE, Api, Reply, error
from helpers import run, steps, surrogate

from lineage import compose
from lineage.cli import main
from lineage.commands.plan import reckoned
from lineage.commands.plan_parts import Points
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.log.reader import read_records, read_steps
from lineage.models.openai_engine import OpenAIEngine
from lineage.models.pool import ALONE, Pool, Tenant, engine_key
from lineage.models.purse import Purse
from lineage.runs.plan import prepare
from lineage.runs.spending import cost_of, foretold_cost, prices_of, purse_of
from lineage.training.run import check

KEY = "sk-distinctive-0123456789-ABCDEFGHIJ"
TASKS = ("completion", "score", "kind", "family", "task", "seed", "finish_reason")
Change = Callable[[Config], Config]
SAME = ("agent.memory_budget=900", "agent.docs=true")
"""No budget binds, so that it does not matter who counts tokens how."""
FEW = (
    *("arms.names=[inherit,cold]", "arms.ceiling=inherit", "agent.docs=false"),
    *(f"experiment.probes.{of}" for of in ("same=1", "similar=1", "dissimilar=0")),
)
"""As few requests as there can be, where only their cost is looked at, or what becomes of them."""


@dataclass(frozen=True)
class Paid:
    """A finished run, on a server that still answers."""

    api: Api
    folder: Path
    requests: int

    def config(self, tmp: Path, *overrides: str) -> Config:
        """Return the configuration of such a run below `tmp`."""
        return self.api.config(tmp, *FEW, *SAME, *overrides, structured="structured_outputs")

    @property
    def usd(self) -> float:
        return float(json.loads((self.folder / "run.json").read_text())["engine"]["usd"])


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paid]:
    tmp = tmp_path_factory.mktemp("paid")
    with Api() as api:
        config = Paid(api, tmp, 0).config(tmp)
        run(config, tmp / "runs" / "paid")
        yield Paid(api, tmp / "runs" / "paid", len(api.asked))


def version(**keys: Any) -> Change:
    """Return what sets keys of the first version."""

    def change(config: Config) -> Config:
        versions = config.model.versions
        changed = {**versions, OLD: replace(versions[OLD], **keys)}
        return replace(config, model=replace(config.model, versions=changed))

    return change


def checkpoint(**keys: Any) -> Change:
    """Return what sets keys of its checkpoint."""
    return lambda config: version(
        checkpoint=replace(config.model.versions[OLD].checkpoint, **keys)
    )(config)


def test_the_log_is_that_of_any_other_engine(paid: Paid, tmp_path: Path) -> None:
    found = steps(paid.folder)
    alike = surrogate(tmp_path, "experiment=tiny", "experiment.lineages=1", *FEW, *SAME)
    run(alike, tmp_path / "runs" / "own")
    own = steps(tmp_path / "runs" / "own")

    def told(rows: list[dict[str, Any]]) -> list[tuple[object, ...]]:
        # The first part of an id is the run's, which has the engine in its hash.
        columns = [name for name in TASKS if name in rows[0]]
        return [(r["step_id"].partition("/")[2], *(r[name] for name in columns)) for r in rows]

    assert told(found) == told(own)
    assert {row["version"] for row in found} == {OLD, NEW}
    asked = [row for row in found if row["prompt_tokens"]]
    assert len(asked) == paid.requests
    cost = sum(r["prompt_tokens"] * PRICE["prompt"] for r in asked)
    cost += sum(r["completion_tokens"] * PRICE["completion"] for r in asked)
    assert paid.usd == pytest.approx(cost / 1e6, abs=1e-6)


def test_the_key_is_in_no_file_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISTINCTIVE_KEY", KEY)

    def echo(number: int, body: dict[str, Any]) -> Reply | None:
        """Say the key back in an answer, in an error, and in what is no answer at all."""
        odd = {0: error(400, f"no such thing for {KEY}"), 1: error(503, KEY), 2: Reply(body=KEY)}
        return odd.get(number)

    with Api(echo) as api:
        config = api.config(tmp_path, *FEW, api_key_var="DISTINCTIVE_KEY")
        folder = tmp_path / "runs" / "api"
        run(config, folder)
        assert {*api.keys} == {f"Bearer {KEY}"}
        api.mood = lambda number, body: error(401, f"Incorrect API key provided: {KEY}")
        with pytest.raises(
            LineageError, match=r"refuses the key .401: .*correct DISTINCTIVE_KEY$"
        ) as e:
            run(config, tmp_path / "runs" / "refused")
    assert "[key]" in str(e.value) and KEY not in str(e.value)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 8
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    shown = capsys.readouterr()
    assert KEY not in shown.out + shown.err
    assert [row["error"] for row in steps(folder) if "[key]" in row["error"]]


def test_a_key_is_named_and_never_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with Api() as api:
        with pytest.raises(LineageError, match="NO_SUCH_KEY is not set: export it"):
            run(api.config(tmp_path, api_key_var="NO_SUCH_KEY"), tmp_path / "runs" / "a")
        assert not api.asked
        for wrong in ({"api_key_var": KEY}, {"base_url": f"https://me:{KEY}@host/v1"}):
            with pytest.raises(LineageError) as caught:
                api.config(tmp_path, **wrong)
            assert KEY not in str(caught.value) and "endpoint" in str(caught.value)


@pytest.mark.usefixtures("undrawn")
def test_most_usd_stops_and_a_new_limit_goes_on_and_nothing_is_asked_twice(
    paid: Paid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, before = tmp_path / "runs" / "api", len(paid.api.asked)
    least, more = (f"{paid.usd * share:.6f}" for share in (0.4, 0.7))
    with pytest.raises(LineageError, match=rf"most_usd={float(least):g} is reached") as stopped:
        run(paid.config(tmp_path, f"run.most_usd={least}"), folder)
    told = [str(stopped.value)]
    for limit, code in ((more, 1), ("-1", 1), ("1", 0)):
        with pytest.raises(SystemExit) as ended:
            main(["resume", str(folder), "--most-usd", limit])
        assert ended.value.code == code
        said = capsys.readouterr()
        told.append(" ".join(said.err.split()))
    for limit, line in zip((least, more), told, strict=False):
        spent = re.search(r": ([\d.]+) USD are spent", line)
        assert spent and 0 < float(spent[1]) <= float(limit)
        assert f"lineage resume {folder} --most-usd USD goes on" in line
    assert "run.most_usd is -1.0: it must be null or more than 0" in told[2]
    assert (folder / "metrics.json").exists() and "USD by the price list, from" in said.out
    rows = steps(folder)
    assert len(paid.api.asked) - before == paid.requests
    assert paid.requests == sum(row["prompt_tokens"] > 0 for row in rows)
    usd = json.loads((folder / "run.json").read_text())["engine"]["usd"]
    assert usd == pytest.approx(paid.usd)
    done, alike = ({r["step_id"]: r["completion"] for r in of} for of in (rows, steps(paid.folder)))
    assert done == alike


REFUSED: dict[str, tuple[Change, str]] = {
    "finetune": (
        lambda c: replace(c, arms=replace(c.arms, names=["cold", "finetune"], ceiling="cold")),
        "arm finetune trains weights, and .* is behind an API",
    ),
    "adapter": (version(adapter="x"), "has an adapter, which only an engine of our own loads"),
    "chat_template": (checkpoint(chat_template="x"), "the template is the server's"),
    "endpoint": (checkpoint(endpoint="hear"), "did you mean 'here'"),
    "no endpoint": (checkpoint(endpoint=""), "none of model.endpoints"),
    "tokenizer": (checkpoint(tokenizer="nowhere"), r"is no tokenizer\.json"),
    "own": (checkpoint(kind="folder"), "engine=openai serves only models behind an API"),
    "shards": (lambda c: replace(c, run=replace(c.run, shards=2)), r"set run\.shards=1"),
    "price": (version(price=None), r"has no price: set its price\.prompt"),
    "trained": (
        lambda c: replace(c, schedule=replace(c.schedule, versions=[OLD, "t"], trained={"t": NEW})),
        r"schedule\.trained\.t: .* is behind an API",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_do_is_refused_before_anything_is_asked(tmp_path: Path, name: str) -> None:
    change, says = REFUSED[name]
    with Api() as api:
        config = change(api.config(tmp_path, "run.most_usd=1"))
        with pytest.raises(LineageError, match=says) as caught:
            prepare(config)
        assert "\n" not in str(caught.value)
        assert not api.asked


def test_a_training_of_one_is_refused(tmp_path: Path) -> None:
    with Api() as api:
        config = api.config(tmp_path, f"train.parent={OLD}")
        with pytest.raises(LineageError, match=r"train\.parent: .* is behind an API"):
            check(config)


def test_a_run_of_somebody_else_sends_no_key_unasked(tmp_path: Path) -> None:
    with Api() as api:
        config = api.config(tmp_path, api_key_var="SOME_KEY")
    file = tmp_path / "config.yaml"
    with pytest.raises(
        LineageError, match=r"the key in SOME_KEY, would be sent to http://127.*: no$"
    ):
        compose.check_endpoints(config, file, "no")
    purse = purse_of(prepare(config), tmp_path, OpenAIEngine(config))
    assert isinstance(purse, Purse) and purse.run == f"{tmp_path} --trust"
    compose.check_endpoints(config, file, "no", ["model.endpoints.here.base_url"])
    (tmp_path / "mine" / "model").mkdir(parents=True)
    mine = tmp_path / "mine" / "model" / "here.yaml"
    mine.write_text(json.dumps(api.tree(api_key_var="SOME_KEY")))
    compose.check_endpoints(config, file, "no", own=tmp_path / "mine")
    shipped = compose.load(["model=openai", "engine=vllm"])
    compose.check_endpoints(shipped, file, "no")
    with Api() as api:
        compose.check_endpoints(api.config(tmp_path), file, "no")


def test_a_free_run_tells_what_a_paid_one_costs(paid: Paid, tmp_path: Path) -> None:
    config, before = paid.config(tmp_path), len(paid.api.asked)
    job = prepare(config)
    points = Points(((),), (config,))
    assert "engine=surrogate, which is free, would" in foretold_cost(job)[0]
    assert reckoned(points)["notes"][-1].endswith("engine=surrogate, which is free, would tell")
    run(paid.config(tmp_path, "engine=surrogate"), tmp_path / "runs" / "free")
    assert len(paid.api.asked) == before, "the stand-in stands in for models behind an API too"
    document = reckoned(points)
    (told,) = foretold_cost(job)
    assert document["total"]["cost"] == pytest.approx(paid.usd, rel=0.01)
    records = read_records(paid.folder)
    answers = (one for record in records for one in read_steps(paid.folder, record.place))
    assert cost_of(answers, prices_of(config, frozenset({OLD, NEW}))) == pytest.approx(paid.usd)
    assert document["total"]["seconds"] is None and document["total"]["currency"] == "USD"
    assert "USD; no engine to start" in document["answer"]
    assert told.startswith(f"about {document['total']['cost']:.4g} USD by the price list (from ")


def test_points_of_a_sweep_share_the_limits_of_an_endpoint(tmp_path: Path) -> None:
    async def shared(*configs: Config) -> bool:
        pool = Pool()
        try:
            await pool.prepare(configs, (OLD, NEW))
            one, other = (pool.engine(config, (OLD, NEW), "p") for config in configs)
            assert isinstance(one, Tenant) and isinstance(other, Tenant)
            return one.engine is other.engine
        finally:
            await pool.close()

    with Api() as api:
        first, second = api.config(tmp_path), api.config(tmp_path, "suite.drift=0.5")
        assert engine_key(first) == engine_key(second) != ALONE
        assert asyncio.run(shared(first, second))
        assert engine_key(api.config(tmp_path, max_in_flight=2)) != engine_key(first)
