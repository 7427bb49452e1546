"""batch = API's scorer = stream on all of online_retail: the largest difference over every user, and what the replay took.

    python benchmarks/parity.py [--data ../shared/data]

The whole log is handed to the stream's handler event by event as it became known: one invoice in six up to ten days late,
each micro-batch shuffled, one event in five sent again. Nothing is ingested as a file on the live side. Then everybody is
scored at four moments, by the batch from its lake and by the live shop from its store.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from ebbtide.core.config import Config, parse_config
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.landing import land
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.log_events import as_sent, log_of_workspace
from ebbtide.pipeline.score import score
from ebbtide.pipeline.train import train
from ebbtide.serve.brokers.link import Message
from ebbtide.serve.stream import StreamHandler
from ebbtide.store.database import Database
from machine import machine_line

AS_OF = [datetime(2011, *day, tzinfo=UTC) for day in ((9, 1), (10, 1), (11, 9), (12, 1))]
RAW = {
    "shop": {"currency": "GBP", "timezone": "Europe/London"},
    "source": [
        {
            "path": "log.parquet",
            "columns": {
                "user_id": "CustomerID", "occurred_at": "InvoiceDate", "ingested_at": "known", "order_id": "InvoiceNo",
                "item_id": "StockCode", "quantity": "Quantity", "unit_price": "UnitPrice",
                "value": "Quantity * UnitPrice", "country": "Country",
                "type": "case when InvoiceNo like 'C%' then 'refund' else 'order' end",
            },
        }
    ],
    "lake": {"buckets": 4},
    "train": {"max_cutoffs": 6, "bootstrap": 50},
}  # fmt: skip


class Moment:
    """The clock of the live shop."""

    now = datetime(2010, 12, 1, tzinfo=UTC)


async def replayed(live: LiveShop, config: Config, events: pl.DataFrame) -> StreamHandler:
    """Every event when it became known, in company of some that were sent before."""

    async def refused(letters: Sequence[Message]) -> None:
        sys.exit(f"refused: {letters[0].headers}")

    rng, told = random.Random(1), list[Message]()
    handler = StreamHandler(live.inbox, "shop", config.shop, topic="t", refuse=refused, clock=lambda: Moment.now)
    for (moment,), rows in events.group_by("ingested_at", maintain_order=True):
        Moment.now = moment  # type: ignore[assignment]
        new = [Message(orjson.dumps(e)) for e in as_sent(rows)]
        batch = new + rng.sample(told, min(len(told), len(new) // 5))
        rng.shuffle(batch)
        await handler.take(batch)
        told = (told + new)[-20_000:]
    return handler


def main() -> None:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(beside), help="folder that holds online_retail/")
    file = Path(parser.parse_args().data) / "online_retail" / "transactions.parquet"
    if not file.is_file():
        sys.exit(f"{file} is not there: give the folder that holds online_retail/transactions.parquet with --data")
    late = pl.when(pl.col("InvoiceNo").hash(1) % 6 == 0).then(pl.col("InvoiceNo").hash(2) % 240).otherwise(0)
    log = pl.read_parquet(file).filter(pl.col("CustomerID").is_not_null())
    log = log.with_columns(known=pl.col("InvoiceDate") + pl.duration(hours=late.cast(pl.Int64)))
    print(machine_line())
    with tempfile.TemporaryDirectory(prefix="ebbtide-parity-") as folder:
        batch, shop, config = Path(folder) / "batch", Path(folder) / "live", parse_config(RAW)
        batch.mkdir()
        (shop / ".ebbtide").mkdir(parents=True)
        log.write_parquet(batch / "log.parquet")
        ingest(config, batch)
        train(config, batch, until=AS_OF[2], model="lightgbm")
        (shop / ".ebbtide" / "bundles").symlink_to(batch / ".ebbtide" / "bundles")
        database = Database.open(f"sqlite:///{shop}/service.db")
        live = LiveShop(config, shop, "shop", database, clock=lambda: Moment.now)
        events = pl.concat(list(log_of_workspace(config, batch).chunks()))
        started = time.perf_counter()
        tally = asyncio.run(replayed(live, config, events)).tally
        seconds = time.perf_counter() - started
        print(
            f"replay: {tally.messages:,} messages in {tally.batches:,} micro-batches, {tally.accepted:,} accepted, "
            f"{tally.duplicates:,} repeated; {seconds:,.0f} s, {tally.messages / seconds:,.0f} messages/s"
        )
        users = events["user_id"].unique().to_list()
        for step in ("before landing", "after landing"):
            for as_of in AS_OF:
                print(f"{step}, {as_of:%Y-%m-%d}: {compared(config, batch, live, users, as_of)}")
            while land(live.inbox, "shop", shop, config.lake).rows:
                live.histories.refresh()
        database.close()


def compared(config: Config, root: Path, live: LiveShop, users: list[str], as_of: datetime) -> str:
    """Users of both lists, and the largest difference of any number of any user."""
    columns = ["churn_probability", "expected_orders", "value_at_risk"]
    one = score(config, root, as_of=as_of, reasons="none").frame.sort("user_id")
    other = live.score(users, as_of=as_of, reasons="none").sort("user_id")
    if one["user_id"].to_list() != other["user_id"].to_list():
        return f"DIFFERENT USERS: {one.height} and {other.height}"
    worst = max(np.nanmax(np.abs((one[c].cast(pl.Float64) - other[c].cast(pl.Float64)).to_numpy())) for c in columns)
    return f"{one.height:,} users, largest difference {worst:.1e}"


if __name__ == "__main__":
    main()
