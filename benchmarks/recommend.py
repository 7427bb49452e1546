"""Whose lists hold what customers buy in the next 30 days: ours, popularity, or plain ALS of `implicit`?

    python benchmarks/recommend.py [--data ../shared/data] [--only online_retail]

Time split: everything is fitted on what was known at a moment; wanted is what users with a history bought in the 30 days
after it, whether or not they had bought it before (these shops live on repeat orders), and items that nobody had seen
before count as missed. Half-life of popularity and settings of ALS are the best of a grid at the moment one window
earlier; our own order is learnt at earlier moments too, so nothing has seen the judged window. recall@10 is the share of
all items wanted; differences are paired by user, 95 % bootstrap intervals over users.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import implicit.cpu.als
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from ebbtide.actions.recommend.factors import AlsConfig, liking
from ebbtide.actions.recommend.favourites import is_overdue, leaning
from ebbtide.actions.recommend.interactions import BOUGHT, Interactions, meetings_of
from ebbtide.actions.recommend.lesson import top
from ebbtide.actions.recommend.popularity import popularity
from ebbtide.actions.recommend.recommender import Recommender
from ebbtide.actions.recommend.tables import items_of
from ebbtide.actions.recommend.teaching import blocks, wanted_after
from ebbtide.core.outreach_settings import RecommendConfig
from ebbtide.evaluation.recommendation import mean_estimate, ndcg_at, recall_at
from machine import machine_line

WINDOW = timedelta(days=30)
HALF_LIVES = (3.0, 7.0, 14.0, 30.0, 60.0, 1e6)
ALS_GRID = {"factors": (32, 128), "confidence": (1.0, 5.0, 20.0), "regularisation": (0.1,)}


def online_retail(folder: Path) -> pl.DataFrame:
    """Order lines of known customers; cancellations and codes that are no products (postage, fees) left out."""
    raw = pl.read_parquet(folder / "online_retail" / "transactions.parquet")
    kept = raw.filter(
        pl.col("CustomerID").is_not_null(),
        ~pl.col("InvoiceNo").str.starts_with("C"),
        pl.col("StockCode").str.contains(r"^\d{5}"),
    )
    return canonical(
        kept, pl.col("InvoiceDate"), user_id="CustomerID", item_id="StockCode", order_id="InvoiceNo", type=pl.lit("order"),
        unit_price="UnitPrice",
    )  # fmt: skip


def tmall_2014(folder: Path) -> pl.DataFrame:
    """Clicks, favourites, carts and buys of brands; days only, and the year is not known."""
    raw = pl.read_parquet(folder / "tmall_2014" / "actions.parquet")
    kind = pl.col("type").replace_strict({0: "product_view", 1: "order", 2: "wishlist_add", 3: "cart_add"})
    at = ("2014-" + pl.col("visit_datetime")).str.to_datetime("%Y-%m-%d")
    return canonical(raw, at, user_id="user_id", item_id="brand_id", type=kind)


def canonical(raw: pl.DataFrame, at: pl.Expr, **columns: Any) -> pl.DataFrame:
    """The columns that recommendations read."""
    when = at.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    empty = {c: pl.lit(None, pl.String) for c in ("order_id", "session_id", "category")}
    told = {**empty, "unit_price": pl.lit(None, pl.Float64), **columns}
    texts = [c for c in told if c != "unit_price"]
    return raw.select(occurred_at=when, ingested_at=when, **told).with_columns(pl.col(texts).cast(pl.String))


LOGS: dict[str, tuple[Callable[[Path], pl.DataFrame], datetime]] = {
    "online_retail": (online_retail, datetime(2011, 11, 9, tzinfo=UTC)),
    "tmall_2014": (tmall_2014, datetime(2014, 7, 16, tzinfo=UTC)),
}


@dataclass(frozen=True)
class Split:
    """What was known at a moment, and what was bought in the window after it."""

    known: Interactions
    start: NDArray[np.int64]
    wanted: NDArray[np.int64]

    @classmethod
    def at(cls, log: pl.DataFrame, moment: datetime) -> Split:
        met = meetings_of([log], moment)
        known = Interactions.of(met, items_of(met)["item_id"], moment)
        return cls(known, *wanted_after(lambda: [log], moment, moment + WINDOW, known))

    def judged(self, shown: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """recall@10 and NDCG@10 of each user."""
        return recall_at(shown, self.start, self.wanted), ndcg_at(shown, self.start, self.wanted)


def main() -> None:
    asked = arguments()
    print(machine_line())
    for name, (read, moment) in LOGS.items():
        if asked.only in ("", name):
            compare(name, read(Path(asked.data)), moment)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", default=str(beside), help="folder that holds online_retail/ and tmall_2014/")
    parser.add_argument("--only", default="", choices=["", *LOGS])
    parser.add_argument(
        "--selection", action="store_true", help="judge at the earlier moment, to choose settings of ours"
    )
    asked = parser.parse_args()
    if not Path(asked.data).is_dir():
        sys.exit(f"{asked.data} is not there: give the folder of the logs with --data")
    if asked.selection:
        for name, (read, moment) in LOGS.items():
            LOGS[name] = (read, moment - WINDOW)
    return asked


def compare(name: str, log: pl.DataFrame, moment: datetime) -> None:
    """Choose the peers' settings one window earlier, then judge everybody at the moment."""
    split, earlier = Split.at(log, moment), Split.at(log, moment - WINDOW)
    size = np.diff(split.start)
    print(f"\n{name} at {moment:%Y-%m-%d}: {len(split.known):,} users with a history, {(size > 0).sum():,} of them bought "
          f"{size[size > 0].mean():.1f} of {len(split.known.items):,} items in the 30 days after")  # fmt: skip
    half_life = max(HALF_LIVES, key=lambda h: np.nanmean(earlier.judged(popular(earlier.known, h))[0]))
    grid = [dict(zip(ALS_GRID, values, strict=True)) for values in itertools.product(*ALS_GRID.values())]
    kinds = [(BOUGHT,), (0, 1, 2, 3)] if (split.known.kind != BOUGHT).any() else [(BOUGHT,)]
    configs = [AlsConfig(**g, kinds=k, half_life_days=1e9, iterations=15) for g in grid for k in kinds]  # type: ignore[arg-type]
    als = max(configs, key=lambda c: np.nanmean(earlier.judged(plain_als(earlier.known, c))[0]))
    print(f"chosen at {moment - WINDOW:%Y-%m-%d}: half-life {half_life:g} days; {als}")
    lists = {
        "popularity": popular(split.known, half_life),
        "plain ALS": plain_als(split.known, als),
        "own purchases and views": own_most(split.known),
    }
    for label, with_als in (("ours without ALS", False), ("ours", True)):
        started = time.perf_counter()
        made = Recommender.fit(lambda: [log], moment, RecommendConfig(), seed=0, with_als=with_als)
        fitted, started = time.perf_counter() - started, time.perf_counter()
        lists[label] = ours(made, split.known, None)
        each = (time.perf_counter() - started) / len(split.known)
        print(f"{label}: fitted in {fitted:.1f} s, {1e3 * each:.2f} ms a list; {made.choice.to_json()}", flush=True)
    tell(split, lists)
    tell_overdue(split, made)


def tell(split: Split, lists: dict[str, NDArray[np.int64]]) -> None:
    """The table, with paired differences to the two peers."""
    judged = {label: split.judged(shown) for label, shown in lists.items()}
    for label, (recall, ndcg) in judged.items():
        told = f"{label:24} recall@10 {said(recall)}  NDCG@10 {said(ndcg)}"
        for peer in ("popularity", "plain ALS"):
            if label not in (peer, "popularity"):
                told += f"  vs {peer}: {said(recall - judged[peer][0], '+')}, {said(ndcg - judged[peer][1], '+')}"
        print(told)


def said(value: NDArray[np.float64], sign: str = "") -> str:
    found = mean_estimate(value)
    return f"{found.value:{sign}.4f} [{found.low:{sign}.4f}, {found.high:{sign}.4f}]"


def tell_overdue(split: Split, made: Recommender) -> None:
    """What leaning towards former favourites changes for overdue users who came back, weight by weight."""
    allowed = np.ones(len(made.tables), np.bool_)
    figures: dict[float, list[float]] = {}
    for weight in (0.0, 0.1, 0.25, 0.5, 1.0, 2.0):
        first = 0
        for block in blocks(split.known):
            found = made.candidates(block, allowed)
            whom = is_overdue(found)
            shown = top(found, leaning(found, made.scores(found), weight, whom), len(block), 10)
            users = np.unique(found.user[whom])
            part = slice(first, first + len(block) + 1)
            start = split.start[part]
            ndcg = ndcg_at(shown, start - start[0], split.wanted[start[0] : start[-1]])
            figures.setdefault(weight, []).extend(ndcg[users])
            first += len(block)
    usual = np.asarray(figures[0.0])
    for weight, values in figures.items():
        print(f"  overdue users who came back ({np.isfinite(usual).sum():,}), weight {weight:g}: NDCG@10 "
              f"{said(np.asarray(values))}, difference {said(np.asarray(values) - usual, '+')}")  # fmt: skip


def popular(known: Interactions, half_life: float) -> NDArray[np.int64]:
    best = np.argsort(-popularity(known, half_life), kind="stable")[:10]
    return np.repeat(best[None, :], len(known), axis=0)


def plain_als(known: Interactions, config: AlsConfig) -> NDArray[np.int64]:
    """The library by itself: its users' factors, its ranking."""
    model = implicit.cpu.als.AlternatingLeastSquares(
        factors=config.factors, regularization=config.regularisation, iterations=config.iterations, num_threads=1,
        random_state=0,
    )  # fmt: skip
    liked = sparse.csr_matrix(liking(known, config))
    with threadpool_limits(1, "blas"):
        model.fit(liked, show_progress=False)
        shown, _ = model.recommend(np.arange(len(known)), liked, N=10, filter_already_liked_items=False)
    return np.asarray(shown, np.int64)


def own_most(known: Interactions) -> NDArray[np.int64]:
    """What the user met most, purchases before views; then what sells."""
    weight = np.asarray([1.0, 0.5, 0.5, 0.15])[known.kind]
    floor = popularity(known, 30.0)
    shown = np.empty((len(known), 10), np.int64)
    for user in range(len(known)):
        rows = slice(known.start[user], known.start[user + 1])
        score = floor / (1e3 * floor.max()) + np.bincount(known.item[rows], weight[rows], minlength=len(floor))
        shown[user] = np.argsort(-score, kind="stable")[:10]
    return shown


def ours(made: Recommender, known: Interactions, at_risk: pl.Series | None) -> NDArray[np.int64]:
    """Our lists as item numbers."""
    listed = made.lists(known, count=10, at_risk=at_risk)
    places = pl.DataFrame({"item_id": known.items, "item": np.arange(len(known.items))})
    people = pl.DataFrame({"user_id": known.users, "user": np.arange(len(known))})
    rows = listed.join(places, on="item_id").join(people, on="user_id")
    shown = np.full((len(known), 10), -1, np.int64)
    shown[rows["user"].to_numpy(), rows["rank"].to_numpy() - 1] = rows["item"].to_numpy()
    return shown


if __name__ == "__main__":
    main()
