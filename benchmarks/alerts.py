"""From an accepted event to the alert at its receiver, at a steady rate of events, everything in one process.

    python benchmarks/alerts.py --users 4000 --rate 2000 --seconds 40 [--store postgresql+psycopg://...]

A simulated shop, a trained model, a rule that tells of small jumps; events are stored in micro-batches, scored as the
worker does it, and alerts go through the outbox to an HTTP receiver on this machine. A time runs from the oldest event
of the customer that the score did not know before to the arrival of the call.
"""

from __future__ import annotations

import argparse
import base64
import json
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import SecretStr
from sqlalchemy import Connection

from ebbtide.core.config import Config, parse_config
from ebbtide.core.windows import to_us
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.events.simulate import SimulationConfig, simulate
from ebbtide.pipeline.alerting import Alerting
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import Change, rescore_everybody, rescore_touched
from ebbtide.pipeline.train import train
from ebbtide.serve.channels import make_senders
from ebbtide.serve.delivery import Delivery
from ebbtide.store.database import Database
from ebbtide.store.inbox import Incoming
from ebbtide.store.outbox import Outbox
from machine import machine_line

DAYS = 210
KINDS = ("product_view", "search", "cart_add", "support", "order")
SHARES = (0.6, 0.2, 0.12, 0.05, 0.03)


class Receiver:
    """Notes when which alert came."""

    def __init__(self) -> None:
        self.arrived: dict[tuple[str, str], float] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                data = json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]
                receiver.arrived.setdefault((data["user_id"], data["at"]), time.time())
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


class Stopwatch:
    """Knows since when an event of a user has not been scored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}
        self.begun: dict[tuple[str, str], float] = {}

    def accepted(self, users: Sequence[str], at: float) -> None:
        with self._lock:
            for user in users:
                self._since.setdefault(user, at)

    def scored(self, users: Sequence[str], as_of: datetime) -> None:
        with self._lock:
            for user in users:
                if user in self._since:
                    self.begun[user, as_of.isoformat()] = self._since.pop(user)


def make_shop(root: Path, users: int, url: str, by: float, reasons: int) -> Config:
    """Simulate, ingest and train; the log ends now."""
    start = datetime.now(UTC) - timedelta(days=DAYS)
    config = SimulationConfig(users=users, days=DAYS, seed=5, start=start.date())
    (root / "data").mkdir()
    events = pl.concat([chunk.events for chunk in simulate(config)]).select(EVENT_COLUMNS.keys())
    now = datetime.now(UTC)
    events.filter((pl.col("ingested_at") <= now) & (pl.col("occurred_at") <= now)).write_parquet(
        root / "data/e.parquet"
    )
    made = parse_config(
        {
            "source": [{"path": "data/*.parquet", "columns": {c: c for c in EVENT_COLUMNS}}],
            "churn": {"outcome": "order", "horizon": "30d", "eligible": "order in 180d"},
            "train": {"max_cutoffs": 3, "bootstrap": 50, "model": "logistic"},
            "alert": [{"name": "jump", "when": "jumps", "by": by, "within": "7d", "cooldown": "0s"}],
            "alerts": {"daily_cap": 0, "user_cap": 0, "reasons": reasons},
            "channel": [
                {
                    "name": "hook",
                    "kind": "webhook",
                    "url": url,
                    "secret_env": ["S"],
                    "allow_private": True,
                    "parallel": 16,
                }
            ],
        }
    )
    ingest(made, root)
    train(made, root)
    return made


def feed(shop: LiveShop, users: list[str], rate: int, seconds: float, watch: Stopwatch) -> int:
    """Store events at the rate, a micro-batch each 50 ms; says how many."""
    rng, sent, begin = np.random.default_rng(1), 0, time.time()
    while (passed := time.time() - begin) < seconds:
        due = int(rate * passed) - sent
        if due < rate // 20:
            time.sleep(0.005)
            continue
        who, kinds, now = rng.integers(0, len(users), due), rng.choice(KINDS, due, p=SHARES), datetime.now(UTC)
        events = []
        for k in range(due):
            fields = {
                "user_id": users[who[k]],
                "type": str(kinds[k]),
                "occurred_at": to_us(now),
                "order_id": f"o{sent + k}",
            }
            events.append(Incoming("shop", f"live{sent + k}", users[who[k]], fields))
        stored_at = time.time()
        shop.inbox.add(events, to_us(now))
        watch.accepted([e.user_id for e in events], stored_at)
        sent += due
    return sent


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    for name, default in (("users", 4000), ("rate", 2000), ("seconds", 40), ("reasons", 100)):
        asked.add_argument(f"--{name}", type=int, default=default)
    asked.add_argument("--store", default="")
    asked.add_argument("--by", type=float, default=0.02)
    asked.add_argument("--pause", type=float, default=0.2)
    told = asked.parse_args()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        root, receiver, watch = Path(folder), Receiver(), Stopwatch()
        config = make_shop(root, told.users, receiver.url, told.by, told.reasons)
        database = Database.open(told.store or f"sqlite:///{root}/service.db")
        shop = LiveShop(config, root, "shop", database)
        shop.serve_promoted()
        rescore_everybody(shop)
        alerting = Alerting(config, root)
        secret = SecretStr(f"whsec_{base64.b64encode(bytes(32)).decode()}")
        delivery = Delivery(config, database, "shop", make_senders(config, {"S": secret}), withdrawn=alerting.withdrawn)
        done, scored, reacted, raised = threading.Event(), [], [], {}

        def react(connection: Connection, change: Change) -> None:
            watch.scored(change.touched, change.as_of)
            begun = time.time()
            alerting.react(connection, change)
            reacted.append(time.time() - begun)
            raised[change.as_of.isoformat()] = time.time()

        def work() -> None:
            while not done.is_set():
                begun = time.time()
                users = rescore_touched(shop, react=react).users
                scored.append((users, time.time() - begun))
                delivery.wake()
                if not users:
                    time.sleep(told.pause)

        users = [s.user_id for s in shop.scores.at_risk("shop", limit=10**6)]
        delivery.start()
        worker = threading.Thread(target=work)
        worker.start()
        sent = feed(shop, users, told.rate, told.seconds, watch)
        time.sleep(5)
        done.set()
        worker.join()
        delivery.stop()
        report(receiver, watch, sent, told.seconds, scored, Outbox(database, "shop").counts())
        print(f"of which raising alerts: median {np.median(reacted):.3f} s")
        sending = [at - raised[moment] for (_, moment), at in receiver.arrived.items() if moment in raised]
        p50, p99 = np.percentile(sending, [50, 99])
        print(f"from raised to arrived: p50 {p50:.3f} s, p99 {p99:.3f} s")


def report(
    receiver: Receiver, watch: Stopwatch, sent: int, seconds: int, scored: list[tuple[int, float]], outbox: Any
) -> None:
    """Quantiles with a bootstrap interval."""
    times = np.asarray([at - watch.begun[key] for key, at in receiver.arrived.items() if key in watch.begun])
    rng = np.random.default_rng(0)
    rounds = np.asarray([s for u, s in scored if u])
    print(f"events {sent:,} in {seconds} s ({sent / seconds:,.0f} a second); outbox {dict(outbox)}")
    print(f"rescorings {len(rounds)}, median {np.median(rounds):.3f} s; users {sum(u for u, _ in scored):,}")
    for q in (50, 95, 99):
        draws = [np.percentile(rng.choice(times, len(times)), q) for _ in range(300)]
        low, high = np.percentile(draws, [2.5, 97.5])
        print(f"event to alert p{q}: {np.percentile(times, q):.3f} s [{low:.3f}, {high:.3f}], {len(times):,} alerts")


if __name__ == "__main__":
    main()
