"""How fast are features? The engine beside Polars `group_by` with filtered aggregates, the same columns on both sides.

    python benchmarks/features.py                     10 million events, 200 thousand users, 4 cutoffs
    python benchmarks/features.py --events 1000000

Both sides start from the same Parquet file of canonical events, sorted as a lake bucket is, each in a process of its
own; reading the file is not timed, encoding is. Polars gets the better of two ways for each kind of column: boolean
sums for counts, one weight column a half-life and cutoff for decayed sums; every order has one line, so that it may
count lines where the engine counts distinct orders. The columns of the two sides are compared before any figure is
printed. Then: the features of one user of 500 events, and those of the whole default catalogue.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.windows import DAY_US
from ebbtide.events.capabilities import CAPABILITIES
from ebbtide.events.schema import EVENT_COLUMNS, TIME
from ebbtide.features.catalogue import Catalogue, default_catalogue
from ebbtide.features.declarations import ActiveDays, Count, Decayed, Distinct, Feature, Mean, Recency, Share, Sum
from ebbtide.features.encode import encode
from ebbtide.features.engine import compute
from machine import machine_line

START_US, DAYS = 1_640_995_200_000_000, 720
CUTOFFS = [START_US + days * DAY_US for days in (540, 600, 660, 720)]
TYPES = ("product_view", "search", "session_start", "cart_add", "order", "page_view", "wishlist_add")
TYPE_SHARES = (0.50, 0.10, 0.10, 0.08, 0.10, 0.10, 0.02)
WINDOWS = (1, 3, 7, 14, 30, 60, 90, 180, 365)
HALF_LIVES = (1, 7, 30, 90, 180)
DEFINITION = ChurnDefinition()


def main() -> None:
    asked = arguments()
    if asked.side:
        print(json.dumps(SIDES[asked.side](Path(asked.folder))))
        return
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        make_events(asked.events, asked.users, np.random.default_rng(0)).write_parquet(Path(folder, "events.parquet"))
        sides = {side: run_side(side, folder) for side in SIDES}
        ours, theirs = (np.load(Path(folder, f"{side}.npy"), mmap_mode="r") for side in ("engine", "polars"))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    report(asked, sides)


def report(asked: argparse.Namespace, sides: dict[str, dict[str, float]]) -> None:
    engine, polars, whole, one = (sides[name] for name in ("engine", "polars", "catalogue", "one"))
    print(f"{asked.events:,} events, {asked.users:,} users, {len(CUTOFFS)} cutoffs, {len(comparison())} columns, equal")
    for name, side in (("engine", engine), ("Polars", polars)):
        print(f"  {name:8} {side['seconds']:7.2f} s wall, {side['cpu']:7.2f} s CPU, peak {side['peak_gib']:.2f} GiB")
    print(f"    of it encoding {engine['encode']:.2f} s, features {engine['features']:.2f} s")
    print(
        f"  ratio    {polars['seconds'] / engine['seconds']:7.1f} (without encoding {polars['seconds'] / engine['features']:.1f})"
    )
    print(f"default catalogue, {whole['columns']:.0f} columns: encoding and features {whole['seconds']:.2f} s wall, "
          f"{whole['cpu']:.2f} s CPU, peak {whole['peak_gib']:.2f} GiB")  # fmt: skip
    print(f"one user, {one['events']:.0f} events, {one['columns']:.0f} columns: {one['features_ms']:.3f} ms, "
          f"{one['both_ms']:.3f} ms from the event frame (medians)")  # fmt: skip


def comparison() -> tuple[Feature, ...]:
    """The columns that both sides compute."""
    found: list[Feature] = []
    for kind in ("any", "order", "product_view", "search", "session_start", "cart_add"):
        found += [Count(kind, d) for d in (*WINDOWS, None)] + [Recency(kind)]
        found += [Decayed(kind, life) for life in HALF_LIVES]
    found += [Sum("value", "order", d) for d in (*WINDOWS, None)] + [Mean("value", "order", d) for d in (90, 365)]
    found += [Decayed("order", life, "value") for life in HALF_LIVES]
    found += [Share("order", "product_view", d) for d in (30, 90, 365)]
    found += [ActiveDays("any", d) for d in (30, 90, 365)] + [Distinct("product_view", "item_id", d) for d in (30, 365)]
    return tuple(found)


def make_events(events: int, users: int, rng: np.random.Generator) -> pl.DataFrame:
    """Some users are far busier than others; all types mixed over two years."""
    user = (users * rng.random(events) ** 1.5).astype(np.int32)
    time_us = START_US + rng.integers(0, DAYS * 86_400, events) * 1_000_000
    order = np.lexsort((time_us, user))
    kind = rng.choice(len(TYPES), events, p=TYPE_SHARES).astype(np.uint32)
    is_order = kind == TYPES.index("order")
    price = np.round(rng.exponential(30, events) + 1, 2)
    item = rng.integers(0, 50_000, events)
    names = pl.Series(TYPES)
    frame = pl.DataFrame({"user": user[order], "occurred_at": time_us[order], "n": np.arange(events), "item": item})
    return frame.select(
        event_id=pl.col("n").cast(pl.String).str.zfill(9),
        user_id="u" + pl.col("user").cast(pl.String).str.zfill(7),
        occurred_at=pl.col("occurred_at").cast(TIME),
        ingested_at=pl.col("occurred_at").cast(TIME),
        type=names.gather(kind),
        session_id="s" + (pl.col("n") // 6).cast(pl.String),
        item_id="item-" + pl.col("item").cast(pl.String),
        category="category-" + (pl.col("item") % 200).cast(pl.String),
        quantity=pl.Series(np.where(is_order, 1.0, np.nan)).fill_nan(None),
        unit_price=pl.Series(np.where(is_order, price, np.nan)).fill_nan(None),
        value=pl.Series(np.where(is_order, price, np.nan)).fill_nan(None),
    )


def read_events(folder: Path) -> pl.DataFrame:
    frame = pl.read_parquet(folder / "events.parquet")
    missing = [pl.lit(None, t).alias(n) for n, t in EVENT_COLUMNS.items() if n not in frame.columns]
    return frame.with_columns(missing).select(list(EVENT_COLUMNS))


def engine_side(folder: Path) -> dict[str, float]:
    return run_engine(folder, Catalogue(comparison(), DEFINITION.outcome), folder / "engine.npy")


def catalogue_side(folder: Path) -> dict[str, float]:
    told = set(CAPABILITIES) - {"deliveries", "delays", "reviews", "ratings", "support", "coupons", "campaigns",
                                "discounts", "refunds", "cancellations", "channels", "devices", "countries"}  # fmt: skip
    return run_engine(folder, default_catalogue(DEFINITION, DAYS).available(told), None)


def run_engine(folder: Path, catalogue: Catalogue, out: Path | None) -> dict[str, float]:
    events = read_events(folder)
    warm = encode(events[:2000], DEFINITION)
    compute(warm, np.zeros(1, np.int32), np.zeros(1, np.int64), catalogue, threads=2)
    start, cpu = time.perf_counter(), time.process_time()
    shard = encode(events, DEFINITION)
    encoded = time.perf_counter()
    at_user = np.repeat(np.arange(len(shard), dtype=np.int32), len(CUTOFFS))
    X = compute(shard, at_user, np.tile(np.array(CUTOFFS), len(shard)), catalogue)
    end = time.perf_counter()
    found = {"seconds": end - start, "encode": encoded - start, "features": end - encoded, "columns": float(X.shape[1])}
    found |= {"cpu": time.process_time() - cpu, "peak_gib": peak_gib()}
    if out:
        np.save(out, X)
    return found


def polars_side(folder: Path) -> dict[str, float]:
    events = read_events(folder).select("user_id", "occurred_at", "ingested_at", "type", "item_id", "value")
    start, cpu = time.perf_counter(), time.process_time()
    parts = [polars_features(events, as_of) for as_of in CUTOFFS]
    found = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "peak_gib": peak_gib()}
    users = events["user_id"].unique().sort()
    order = pl.concat([pl.DataFrame({"user_id": users, "cutoff": c}) for c in CUTOFFS]).sort("user_id", "cutoff")
    table = pl.concat([part.with_columns(cutoff=c) for part, c in zip(parts, CUTOFFS, strict=True)])
    joined = order.join(table, on=["user_id", "cutoff"], how="left", maintain_order="left").drop("user_id", "cutoff")
    filled = [
        pl.col(f.name).fill_null(0)
        for f in comparison()
        if isinstance(f, Count | Sum | Decayed | ActiveDays | Distinct)
    ]
    np.save(folder / "polars.npy", joined.with_columns(filled).cast(pl.Float32).fill_null(np.nan).to_numpy())
    return found


def polars_features(events: pl.DataFrame, as_of_us: int) -> pl.DataFrame:
    """All columns of one cutoff."""
    age = as_of_us - pl.col("occurred_at").to_physical()
    kinds = ("order", "product_view", "search", "session_start", "cart_add")
    weights = [(2.0 ** (-pl.col("age") / (life * DAY_US))).alias(f"w{life}") for life in HALF_LIVES]
    return (
        events.lazy()
        .filter(pl.max_horizontal("occurred_at", "ingested_at").to_physical() <= as_of_us)
        .with_columns(
            age=age,
            day=pl.col("occurred_at").to_physical() // DAY_US,
            any=pl.lit(True),
            **{kind: pl.col("type") == kind for kind in kinds},
        )
        .with_columns(weights)
        .group_by("user_id")
        .agg([polars_column(f).alias(f.name) for f in comparison()])
        .collect()
    )


def polars_column(feature: Feature) -> pl.Expr:
    """One column as a filtered aggregate."""
    match feature:
        case Count(of=of, days=days):
            return inside(of, days).sum()
        case Recency(of=of):
            return pl.col("age").filter(pl.col(of)).min() / DAY_US
        case Decayed(of=of, half_life_days=life, column=column):
            weight = pl.col(f"w{life}") * pl.col(column) if column else pl.col(f"w{life}")
            return weight.filter(pl.col(of)).sum()
        case Sum(column=column, of=of, days=days):
            return pl.col(column).filter(inside(of, days)).sum()
        case Mean(column=column, of=of, days=days):
            return pl.col(column).filter(inside(of, days)).mean()
        case Share(of=of, among=among, days=days):
            bottom = inside(among, days).sum()
            return pl.when(bottom > 0).then(inside(of, days).sum() / bottom)
        case ActiveDays(of=of, days=days):
            return pl.col("day").filter(inside(of, days)).n_unique()
        case Distinct(of=of, column=column, days=days):
            return pl.col(column).filter(inside(of, days)).n_unique()
    raise TypeError(type(feature).__name__)


def inside(of: str, days: float | None) -> pl.Expr:
    return pl.col(of) if days is None else pl.col(of) & (pl.col("age") < round(days * DAY_US))


def one_side(folder: Path) -> dict[str, float]:
    """One user of 500 events, as a service would ask."""
    events = read_events(folder).head(500).with_columns(user_id=pl.lit("u")).sort("occurred_at", "event_id")
    catalogue = default_catalogue(DEFINITION, DAYS)
    shard, at_user, at_us = encode(events, DEFINITION), np.zeros(1, np.int32), np.array(CUTOFFS[-1:])
    features_ms = median_ms(lambda: compute(shard, at_user, at_us, catalogue))
    both_ms = median_ms(lambda: compute(encode(events, DEFINITION), at_user, at_us, catalogue))
    return {"events": 500.0, "columns": float(len(catalogue)), "features_ms": features_ms, "both_ms": both_ms}


def median_ms(job: Callable[[], NDArray[np.float32]], repeats: int = 500) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds) * 1e3)


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


SIDES = {"engine": engine_side, "polars": polars_side, "catalogue": catalogue_side, "one": one_side}


def run_side(side: str, folder: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, "--folder", folder]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
