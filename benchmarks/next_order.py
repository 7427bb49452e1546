"""Does the interval of the next order hold what it claims on held-out data? Claim: 80 % of the orders that come.

    python benchmarks/next_order.py [--data FOLDER] [--draws 1000]

FOLDER holds the public logs (default: EBBTIDE_TEST_DATA, or shared/data beside the repository). At a moment as_of,
BG/NBD is fitted on all users known then; asked about are the users with an order within the eligibility window, as in
profiles, who ordered again within W days, where W is a third of the log and at most a year. The interval is the one
that is conditional on an order within W days, so that orders beyond the end of the log are neither claimed nor judged.
as_of is W days before the end; beside it the same with levels fitted W days earlier: for each number of order days the
shares of the model below which a tenth, half and nine tenths of the orders really came. Intervals by bootstrap of users.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.evaluation.intervals import Estimate
from ebbtide.explain.outlook import INTERVAL, YEAR_DAYS
from ebbtide.models.bgnbd import fit_bgnbd
from machine import machine_line

BINS = (1, 2, 3, 5, 10)
LEAST = 100


@dataclass(frozen=True)
class Log:
    """Where the order days of a public log stand, and how long its eligibility window is."""

    file: str
    user: str
    day: pl.Expr
    eligible_days: float
    where: pl.Expr


ORDER = pl.lit(True)
LOGS = {
    "online_retail": Log(
        "transactions.parquet", "CustomerID", pl.col("InvoiceDate"), 180.0,
        pl.col("CustomerID").is_not_null() & ~pl.col("InvoiceNo").str.starts_with("C"),
    ),
    "cdnow": Log("transactions.parquet", "customer_id", pl.col("date"), 180.0, ORDER),
    "grocery_elog": Log("groceryElog.parquet", "cust", pl.col("date"), 120.0, ORDER),
    "tmall_2014": Log(
        "actions.parquet", "user_id", pl.date(2014, *(pl.col("visit_datetime").str.split("-").list.get(i).cast(pl.Int8) for i in (0, 1))), 30.0,
        pl.col("type") == 1,
    ),
}  # fmt: skip


def main() -> None:
    beside = Path(os.environ.get("EBBTIDE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=beside)
    parser.add_argument("--draws", type=int, default=1000)
    asked = parser.parse_args()
    print(machine_line())
    for name, log in LOGS.items():
        user, day = order_days(asked.data / name / log.file, log)
        within = min(YEAR_DAYS, float((day.max() - day.min()) // 3))
        newest = float(day.max()) - within
        judged, earlier = (asked_at(user, day, at, within, log.eligible_days) for at in (newest, newest - within))
        print(f"{name}: W = {within:g} days, {len(judged.share):,} customers, {len(earlier.share):,} to fit levels on")
        told("  as it is", inside(judged, np.broadcast_to(INTERVAL, (len(judged.share), 2))), asked.draws)
        told("  levels fitted", inside(judged, fitted_levels(earlier, judged.days)), asked.draws)


def order_days(file: Path, log: Log) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """User and day of each distinct order day, by user and day."""
    raw = pl.read_parquet(file).filter(log.where)
    found = raw.select(user=pl.col(log.user).cast(pl.String).rank("dense"), day=log.day.cast(pl.Date).to_physical())
    found = found.drop_nulls().unique().sort("user", "day")
    return found["user"].to_numpy().astype(np.int64) - 1, found["day"].to_numpy().astype(np.int64)


@dataclass(frozen=True)
class Asked:
    """Customers who ordered within W days: the model's share below their time, and their order days so far."""

    share: NDArray[np.float64]
    days: NDArray[np.int64]


def asked_at(user: NDArray[np.int64], day: NDArray[np.int64], at: float, within: float, eligible: float) -> Asked:
    """`share` is P(the order comes by then | it comes within W): uniform if the model is right."""
    count, past = int(user.max()) + 1, day <= at
    days = np.bincount(user[past], minlength=count)
    first, last, then = (np.full(count, np.inf), np.full(count, -np.inf), np.full(count, np.inf))
    np.minimum.at(first, user[past], day[past])
    np.maximum.at(last, user[past], day[past])
    np.minimum.at(then, user[~past], day[~past])
    known = days > 0
    model = fit_bgnbd(days[known] - 1, (last - first)[known], at - first[known])
    rows = known & (last > at - eligible) & (then <= at + within)
    power, scale = model.r + days[rows] - 1, model.alpha + at - first[rows]
    comes = [-np.expm1(power * np.log(scale / (scale + u))) for u in (then[rows] - at, np.full(rows.sum(), within))]
    return Asked(comes[0] / comes[1], days[rows])


def inside(judged: Asked, levels: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (levels[:, 0] <= judged.share) & (judged.share <= levels[:, 1])


def fitted_levels(earlier: Asked, days: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each of `days` the levels of its bin, (N, 2); those of all where a bin holds fewer than 100."""
    whole, levels = np.quantile(earlier.share, INTERVAL), np.empty((len(days), 2))
    own, asked = (np.searchsorted(BINS, d, side="right") for d in (earlier.days, days))
    for place in np.unique(asked):
        some = earlier.share[own == place]
        levels[asked == place] = np.quantile(some, INTERVAL) if len(some) >= LEAST else whole
    return levels


def told(name: str, hit: NDArray[np.bool_], draws: int) -> None:
    rng = np.random.default_rng(0)
    estimate = Estimate.of(float(hit.mean()), rng.binomial(len(hit), hit.mean(), draws) / len(hit))
    print(f"{name:16} {estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}] inside the 80 % interval")


if __name__ == "__main__":
    main()
