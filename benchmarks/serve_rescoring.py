"""How many touched users a second get a new stored score, and how many does a full run score?

    python benchmarks/serve_rescoring.py [--users 20000] [--seconds 20]

In one process over the embedded store: micro-batches of events of distinct users are put into the inbox, and
`rescore_touched` is timed over them (read, join with the lake's histories, features, model, one transaction); the other side
is `score_shard` alone on the same histories in memory. Then `rescore_everybody`. Wall seconds after one warm-up.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ebbtide.core.config import load_config
from ebbtide.core.windows import to_us
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.rescoring import rescore_everybody, rescore_touched
from ebbtide.pipeline.score import score_shard
from ebbtide.store.database import Database
from ebbtide.store.inbox import Incoming
from machine import machine_line
from serve_shop import make_shop, user_name

BATCH = 5_000


def main() -> None:
    asked = arguments()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shop"
        make_shop(root, asked.users)
        config = load_config(root / "ebbtide.toml", environ={})
        database = Database.open(Places(root).store_url(config))
        shop = LiveShop(config, root, "shop", database)
        rounds(shop, asked, 1)
        speeds, alone = rounds(shop, asked, None)
        print(
            f"touched users: {told(speeds)} users/s in {len(speeds)} micro-batches of {min(BATCH, asked.users):,} users"
        )
        print(f"score_shard alone on the same histories: {told(alone)} users/s")
        start = time.perf_counter()
        done = rescore_everybody(shop)
        spent = time.perf_counter() - start
        print(
            f"everybody: {done.users:,} eligible of {asked.users:,} in {spent:.1f} s, {done.users / spent:,.0f} users/s"
        )
        database.close()


def rounds(shop: LiveShop, asked: argparse.Namespace, count: int | None) -> tuple[list[float], list[float]]:
    rng, speeds, alone, end = np.random.default_rng(1), list[float](), list[float](), time.monotonic() + asked.seconds
    while len(speeds) < count if count else time.monotonic() < end:
        size = min(BATCH, asked.users)
        users = [user_name(int(u)) for u in rng.choice(asked.users, size, replace=False)]
        touch(shop, users)
        start = time.perf_counter()
        done = rescore_touched(shop)
        speeds.append(done.users / (time.perf_counter() - start))
        events = shop.histories.of_users(users)
        start = time.perf_counter()
        score_shard(events, shop.now(), shop.served.bundle, reasons="none")
        alone.append(size / (time.perf_counter() - start))
    return speeds, alone


def touch(shop: LiveShop, users: list[str]) -> None:
    now = to_us(datetime.now(UTC))
    fields = [{"user_id": user, "occurred_at": now, "type": "product_view"} for user in users]
    shop.inbox.add([Incoming("shop", f"t{now}-{k}", f["user_id"], f) for k, f in enumerate(fields)], now)


def told(speeds: list[float]) -> str:
    mean, spread = np.mean(speeds), np.std(speeds, ddof=1) if len(speeds) > 1 else float("nan")
    half = 1.96 * spread / np.sqrt(len(speeds))
    return f"{mean:,.0f} [{mean - half:,.0f}, {mean + half:,.0f}]"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
