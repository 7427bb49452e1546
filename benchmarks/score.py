"""How many users a second are scored, without reasons and with exact reasons for everybody? Beside it: LightGBM itself.

    python benchmarks/score.py [--users 200000] [--events 12] [--rows 20000]

A log of `--users` users is made on the spot, ingested, and an `auto` bundle is trained on a sample of `--rows` rows.
Then are measured: the function `score_shard` on shards in memory; `score`, which reads the lake and ranks; and the
whole command. The other side takes the very same features and asks LightGBM for the margin (`predict`) and for exact
TreeSHAP (`predict(pred_contrib=True)`, on a subset) of the bundle's own trees, without logistic, calibration, value,
ranking or words. Wall seconds after one warm-up; CPU seconds beside them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from ebbtide.core.config import load_config
from ebbtide.features.encode import encode
from ebbtide.features.engine import compute
from ebbtide.models.bundle import Bundle
from ebbtide.models.columns import with_model_columns
from ebbtide.models.lightgbm import LightGbmModel
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.score import ReasonsFor, score, score_shard, write_scores
from ebbtide.pipeline.train import train
from machine import machine_line, run_ebbtide

START, DAYS = datetime(2024, 1, 1, tzinfo=UTC), 300
UNTIL = START + timedelta(days=DAYS)
CONFIG = """
[shop]
currency = "EUR"
[[source]]
path = "events.parquet"
[source.columns]
event_id = "event_id"
user_id = "user_id"
occurred_at = "occurred_at"
type = "type"
order_id = "order_id"
item_id = "item_id"
category = "category"
value = "value"
[churn]
horizon = "30d"
eligible = "order in 365d"
[lake]
rows_per_bucket = 300000
[train]
max_rows = {rows}
max_cutoffs = 9
bootstrap = 50
"""


def main() -> None:
    asked = arguments()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_log(asked.users, asked.events, np.random.default_rng(asked.seed)).write_parquet(root / "events.parquet")
        (root / "ebbtide.toml").write_text(CONFIG.format(rows=asked.rows), encoding="utf-8")
        config = load_config(root / "ebbtide.toml", environ={})
        taken = ingest(config, root)
        trained = train(config, root, until=UNTIL)
        bundle, lake = Places(root).shelf().load(), Places(root).lake()
        shards = [lake.read_bucket(b) for b in lake.buckets()]
        print(
            f"{taken.total.accepted:,} events of {asked.users:,} users in {len(shards)} buckets; {trained.lines()[0].en}"
        )
        trees = forest_of(bundle)
        print(f"{trees} trees\n")
        users = len(score(config, root, as_of=UNTIL, reasons="none"))
        compare("without reasons (bar 50,000, dream 200,000)", users, shards, bundle, "none", asked.subset)
        compare("exact reasons for all (bar 1,000, dream 20,000)", users, shards, bundle, "all", asked.subset)
        for name, reasons in (("without reasons", "none"), ("with reasons", "all")):
            whole(name, users, lambda reasons=reasons: score(config, root, as_of=UNTIL, reasons=reasons))  # type: ignore[misc]
        listed = score(config, root, as_of=UNTIL, reasons="all").frame
        whole("writing Parquet", users, lambda: write_scores(listed, root / "list.parquet"))
        for reasons in ("none", "all"):
            command(root, reasons, users)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--events", type=int, default=12, help="mean events a user")
    parser.add_argument("--rows", type=int, default=20_000, help="training rows")
    parser.add_argument("--subset", type=int, default=1_000, help="users for whom LightGBM explains")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def make_log(users: int, mean_events: int, rng: np.random.Generator, prefix: str = "") -> pl.DataFrame:
    """Buyers with rates of their own who leave at some time; about a third of the events are orders, the rest views."""
    joined = rng.uniform(0, 0.8 * DAYS, users)
    left = np.minimum(joined + rng.exponential(150, users), DAYS)
    share = (left - joined) / DAYS
    count = 1 + rng.poisson(mean_events * rng.gamma(1.5, 1 / 1.5, users) * share / share.mean())
    user = np.repeat(np.arange(users), count)
    day = joined[user] + rng.random(len(user)) * (left - joined)[user]
    first = np.r_[True, user[1:] != user[:-1]]
    order = first | (rng.random(len(user)) < 0.35)
    frame = pl.DataFrame({"user": user, "us": (day * 86_400_000_000).astype(np.int64), "order": order})
    item = rng.zipf(1.3, len(user)) % 5000
    return frame.select(
        event_id=pl.format(f"{prefix}{{}}", pl.int_range(pl.len())),
        user_id=pl.format(f"u{prefix}{{}}", "user"),
        occurred_at=pl.lit(START) + pl.col("us").cast(pl.Duration("us")),
        type=pl.when("order").then(pl.lit("order")).otherwise(pl.lit("product_view")),
        order_id=pl.when("order").then(pl.format(f"o{prefix}{{}}", pl.int_range(pl.len()))),
        item_id=pl.format("i{}", pl.Series(item)),
        category=pl.format("c{}", pl.Series(item % 40)),
        value=pl.when("order").then(pl.Series(np.exp(rng.normal(3, 0.8, len(user))))),
    )


def forest_of(bundle: Bundle) -> int:
    return sum(lgb.Booster(model_str=t).num_trees() for t in texts_of(bundle))


def texts_of(bundle: Bundle) -> list[str]:
    """The bundle's own trees; without any, the benchmark has no other side."""
    for member in bundle.stack.members:
        if isinstance(member, LightGbmModel):
            return member._texts
    sys.exit("the bundle holds no trees: take another --seed or more --rows")


def compare(
    name: str, users: int, shards: list[pl.DataFrame], bundle: Bundle, reasons: ReasonsFor, subset: int
) -> None:
    """Our shard function and LightGBM behind the same features, on the same shards in memory."""

    def ours() -> None:
        for shard in shards:
            score_shard(shard, UNTIL, bundle, reasons=reasons)

    boosters = [lgb.Booster(model_str=text) for text in texts_of(bundle)]
    X = np.concatenate([features_of(shard, bundle) for shard in shards])
    feature_wall = spent(lambda: [features_of(shard, bundle) for shard in shards])[0]
    asked = X if reasons == "none" else X[:subset]
    wall, _ = spent(lambda: [b.predict(asked, raw_score=True, pred_contrib=reasons == "all") for b in boosters])
    theirs = len(X) / feature_wall if feature_wall else np.inf
    theirs = 1 / (1 / theirs + wall / len(asked))
    our_wall, our_cpu = spent(ours)
    rate = users / our_wall
    print(f"{name}\n  score_shard            {rate:10,.0f} users/s   {users / our_cpu:10,.0f} users a CPU second")
    print(f"  features + LightGBM    {theirs:10,.0f} users/s   ratio {rate / theirs:.1f}")
    print(f"  LightGBM alone         {len(asked) / wall:10,.0f} users/s")


def features_of(shard: pl.DataFrame, bundle: Bundle) -> np.ndarray:
    """The model's columns of every eligible user of a shard, as `score_shard` computes them."""
    encoded = encode(shard, bundle.definition)
    orders = shard.filter(bundle.definition.is_eligible())["user_id"].unique()
    at_user = np.flatnonzero(encoded.user_ids.is_in(orders.implode()).to_numpy()).astype(np.int32)
    at_us = np.full(len(at_user), int(UNTIL.timestamp() * 1e6), np.int64)
    X = compute(encoded, at_user, at_us, bundle.catalogue, tables=bundle.items)
    return with_model_columns(X, bundle.catalogue.names, bundle.setting)


def whole(name: str, users: int, call: Callable[[], object]) -> None:
    wall, cpu = spent(call)
    print(f"score, {name:20} {users / wall:10,.0f} users/s   {wall:6.2f} s   {cpu:6.2f} s CPU")


def command(root: Path, reasons: str, users: int) -> None:
    """The command in a process of its own, with start-up and writing."""
    took = run_ebbtide("score", "-w", str(root), "--as-of", UNTIL.isoformat(), "--reasons", reasons,
                       "--out", str(root / "list.parquet"))  # fmt: skip
    print(
        f"ebbtide score --reasons {reasons:4} {users / took.wall:10,.0f} users/s   {took.wall:6.2f} s   {took.cpu:6.2f} s CPU"
    )


def spent(call: Callable[[], object], times: int = 2) -> tuple[float, float]:
    """Wall and CPU seconds of the best of a few runs, after one that does not count."""
    call()
    best = (np.inf, np.inf)
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
    return best


if __name__ == "__main__":
    main()
