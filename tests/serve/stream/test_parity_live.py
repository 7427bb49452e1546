"""batch = API = stream on a real log, replayed with late, repeated and disordered events: every user, to 1e-9."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from fastapi.testclient import TestClient

from ebbtide.core.config import Config, parse_config
from ebbtide.core.serve_settings import ServeConfig
from ebbtide.core.windows import to_us
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.log_events import as_sent, log_of_workspace
from ebbtide.pipeline.rescoring import rescore_everybody, rescore_touched
from ebbtide.pipeline.score import score
from ebbtide.pipeline.train import train
from ebbtide.serve.app import make_app
from ebbtide.serve.brokers.link import Message
from ebbtide.serve.service import make_service
from ebbtide.serve.stream import StreamHandler
from ebbtide.store.database import Database
from ebbtide.store.keys import Keys

USERS = 300
SPLIT, MIDDLE, AS_OF = (datetime(2011, *day, tzinfo=UTC) for day in ((10, 1), (10, 20), (11, 9)))
"""Known until SPLIT: ingested as a file. Known until AS_OF: replayed."""
RAW = {
    "shop": {"currency": "GBP", "timezone": "Europe/London"},
    "source": [
        {
            "path": "log.parquet",
            "columns": {
                "user_id": "CustomerID", "occurred_at": "InvoiceDate", "ingested_at": "known", "order_id": "InvoiceNo",
                "item_id": "StockCode", "quantity": "Quantity", "unit_price": "UnitPrice",
                "value": "Quantity * UnitPrice",
                "type": "case when InvoiceNo like 'C%' then 'refund' else 'order' end",
            },
        }
    ],
    "lake": {"buckets": 2},
    "train": {"max_cutoffs": 5, "bootstrap": 50},
}  # fmt: skip


@dataclass
class Parity:
    """The shop as the batch knows it, and as the stream was told of it."""

    config: Config
    root: Path
    live: LiveShop
    users: list[str]
    now: datetime
    repeated: int


def sampled(file: Path) -> pl.DataFrame:
    """The log of some users, one invoice in six known up to ten days late."""
    log = pl.read_parquet(file).filter(pl.col("CustomerID").is_not_null())
    users = log["CustomerID"].unique().sort().sample(USERS, seed=1)
    late = pl.when(pl.col("InvoiceNo").hash(1) % 6 == 0).then(pl.col("InvoiceNo").hash(2) % 240).otherwise(0)
    return log.filter(pl.col("CustomerID").is_in(users.implode())).with_columns(
        known=pl.col("InvoiceDate") + pl.duration(hours=late.cast(pl.Int64))
    )


@pytest.fixture(scope="module")
def parity(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parity]:
    """Both shops under one bundle; the live one has taken the replay through the stream's handler."""
    batch, shop = tmp_path_factory.mktemp("batch"), tmp_path_factory.mktemp("live")
    log, config = sampled(real_data / "online_retail" / "transactions.parquet"), parse_config(RAW)
    log.write_parquet(batch / "log.parquet")
    ingest(config, batch)
    train(config, batch, until=AS_OF, model="lightgbm")
    events = pl.concat(list(log_of_workspace(config, batch).chunks()))
    early, late = events.filter(pl.col("ingested_at") <= SPLIT), events.filter(
        pl.col("ingested_at").is_between(SPLIT, AS_OF, closed="right")
    )  # fmt: skip
    columns = {name: name for name in early.columns if early[name].null_count() < early.height}
    early.select(columns.keys()).write_parquet(shop / "early.parquet")
    source = {"path": "early.parquet", "columns": columns}
    ingest(parse_config({**RAW, "source": [source]}), shop)
    (shop / ".ebbtide" / "bundles").symlink_to(batch / ".ebbtide" / "bundles")
    database = Database.open(f"sqlite:///{shop}/service.db")
    made = Parity(config, batch, None, events["user_id"].unique().sort().to_list(), SPLIT, 0)  # type: ignore[arg-type]
    made.live = LiveShop(config, shop, "shop", database, clock=lambda: made.now)
    made.repeated = asyncio.run(replayed(made, late, early))
    made.now = AS_OF
    yield made
    database.close()


async def replayed(parity: Parity, late: pl.DataFrame, early: pl.DataFrame) -> int:
    """Hand every event to the handler when it became known: shuffled, in company of events that were sent before."""

    async def none_refused(letters: Sequence[Message]) -> None:
        raise AssertionError(letters[0].headers)

    rng, inbox = random.Random(1), parity.live.inbox
    handler = StreamHandler(inbox, "shop", parity.config.shop, topic="t", refuse=none_refused, clock=lambda: parity.now)
    told = [Message(orjson.dumps(e)) for e in as_sent(early.sample(200, seed=1))]
    for (moment,), rows in late.group_by("ingested_at", maintain_order=True):
        parity.now = moment  # type: ignore[assignment]
        new = [Message(orjson.dumps(e)) for e in as_sent(rows)]
        batch = new + rng.sample(told, min(len(told), 1 + len(new) // 5))
        rng.shuffle(batch)
        await handler.take(batch)
        told += new
    return handler.tally.duplicates


def assert_same(found: pl.DataFrame, batch: pl.DataFrame) -> None:
    assert found["user_id"].to_list() == batch["user_id"].to_list()
    for name in ("churn_probability", "expected_orders", "value_at_risk"):
        one, other = (frame[name].cast(pl.Float64).to_numpy() for frame in (found, batch))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9, err_msg=name)


def test_the_replay_was_no_easy_one(parity: Parity) -> None:
    events = parity.live.histories.of_users(parity.users).filter(pl.col("ingested_at") > SPLIT)
    late = events.filter(pl.col("ingested_at") > pl.col("occurred_at") + pl.duration(hours=1))
    assert events.height > 1000
    assert late.height > 100
    assert parity.repeated > 100


@pytest.mark.parametrize("as_of", [MIDDLE, AS_OF])
def test_the_stream_says_what_the_batch_says(parity: Parity, as_of: datetime) -> None:
    """Also in the middle, where the batch holds events that had happened and were not known yet."""
    batch = score(parity.config, parity.root, as_of=as_of, reasons="none").frame.sort("user_id")
    found = parity.live.score(parity.users, as_of=as_of, reasons="none").sort("user_id")
    assert batch.height > 100
    assert_same(found, batch)


def test_scores_of_micro_batches_and_of_the_api_are_those_of_the_batch(parity: Parity) -> None:
    batch = score(parity.config, parity.root, as_of=AS_OF, reasons="none").frame.sort("user_id")
    while rescore_touched(parity.live, limit=500).users:
        continue
    touched = parity.live.scores.of_users("shop", batch["user_id"].to_list())
    assert len(touched) > 50
    assert_same(
        pl.DataFrame([vars(touched[u]) for u in sorted(touched)]), batch.filter(pl.col("user_id").is_in(touched))
    )
    rescore_everybody(parity.live)
    stored = parity.live.scores.of_users("shop", batch["user_id"].to_list())
    assert_same(pl.DataFrame([vars(stored[u]) for u in batch["user_id"]]), batch)
    assert_same(asked(parity, batch["user_id"].to_list()), batch)


def asked(parity: Parity, users: list[str]) -> pl.DataFrame:
    """The answers of `POST /v1/risk`."""
    service = make_service(ServeConfig(), parity.live.database, {"shop": parity.live}, clock=lambda: parity.now)
    key = Keys(parity.live.database).create("shop", "test", ["risk:read"], now_us=to_us(parity.now)).secret
    with TestClient(make_app(service)) as client:
        body: dict[str, Any] = {"user_ids": users, "reasons": False}
        answer = client.post("/v1/risk", json=body, headers={"Authorization": f"Bearer {key}"})
    service.intake.close()
    service.trail.close()
    return pl.DataFrame(answer.json()["risks"]).select(
        "user_id", "churn_probability", "expected_orders", "value_at_risk"
    )
