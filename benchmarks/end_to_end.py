"""From a raw log to a ranked list: `ebbtide ingest`, `train` and `score` of online_retail, beside a plain notebook.

    python benchmarks/end_to_end.py [--data ../shared/data] [--until 2011-11-09]

The plain side is what an analyst writes in an afternoon: read the Parquet file with Polars, about 25 recency,
frequency and money columns at monthly cutoffs, one LightGBM with early stopping on the newest closed cutoff, predict.
It has no validation, no lake, no calibration, no honest backtest, no reasons and no bundle.

Seconds are wall clock of a fresh process each, as a user waits for them; CPU seconds stand beside, which a busy machine
disturbs less. AUROC is of the 30 days after `--until`, which neither side has seen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl

from ebbtide.evaluation.ranking import auroc
from machine import Spent, machine_line, run_ebbtide, run_module

CONFIG = """
[shop]
name = "Online Retail"
currency = "GBP"

[[source]]
path = "{file}"
where = "CustomerID is not null"
[source.columns]
user_id = "CustomerID"
occurred_at = "InvoiceDate"
order_id = "InvoiceNo"
item_id = "StockCode"
quantity = "Quantity"
unit_price = "UnitPrice"
value = "Quantity * UnitPrice"
country = "Country"
text = "Description"
type = "case when InvoiceNo like 'C%' then 'refund' else 'order' end"

[churn]
outcome = "order"
horizon = "30d"
eligible = "order in 180d"
"""
HORIZON, ELIGIBLE = timedelta(days=30), timedelta(days=180)
WINDOWS = (7, 30, 60, 90, 180, 365)


def main() -> None:
    asked = arguments()
    file = Path(asked.data) / "online_retail" / "transactions.parquet"
    if not file.is_file():
        sys.exit(f"{file} is not there: give the folder that holds online_retail/transactions.parquet with --data")
    if asked.plain:
        plain(file, asked.until, Path(asked.plain))
        return
    print(machine_line())
    until = f"{asked.until:%Y-%m-%d}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "ebbtide.toml").write_text(CONFIG.format(file=file.resolve()), encoding="utf-8")
        ours, theirs = root / "ours.parquet", root / "theirs.parquet"
        stages = (
            ("ingest", "-w", folder),
            ("train", "-w", folder, "--until", until),
            ("score", "-w", folder, "--as-of", until, "--out", str(ours)),
        )
        spent = [told(stage[0], run_ebbtide(*stage)) for stage in stages]
        wall, cpu = sum(s.wall for s in spent), sum(s.cpu for s in spent)
        print(
            f"{'Ebbtide':10} {wall:7.1f} s   {cpu:7.1f} s CPU   (bar 60 s, dream 20 s)   {judge(file, asked.until, ours)}"
        )
        other = run_module(__file__, "--data", asked.data, "--until", until, "--plain", str(theirs))
        print(f"{'plain':10} {other.wall:7.1f} s   {other.cpu:7.1f} s CPU   {judge(file, asked.until, theirs)}")
        print(f"ratio Ebbtide / plain: {wall / other.wall:.1f} (wall), {cpu / other.cpu:.1f} (CPU)")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", default=str(beside), help="folder that holds online_retail/")
    parser.add_argument("--until", type=datetime.fromisoformat, default=datetime(2011, 11, 9))
    parser.add_argument("--plain", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def told(stage: str, spent: Spent) -> Spent:
    print(f"  {stage:8} {spent.wall:7.1f} s   {spent.cpu:7.1f} s CPU   {spent.peak_mb:6,.0f} MB", flush=True)
    return spent


def judge(file: Path, until: datetime, scores: Path) -> str:
    listed = pl.read_parquet(scores).select("user_id", "churn_probability")
    after = orders(file).filter((pl.col("t") > until) & (pl.col("t") <= until + HORIZON))
    churned = ~listed["user_id"].is_in(after["user_id"].unique().implode())
    return f"AUROC {auroc(churned.to_numpy().astype(float), listed['churn_probability'].to_numpy()):.3f}"


def orders(file: Path) -> pl.DataFrame:
    raw = pl.read_parquet(file).filter(pl.col("CustomerID").is_not_null())
    return raw.filter(~pl.col("InvoiceNo").str.starts_with("C")).select(
        pl.col("CustomerID").cast(pl.String).alias("user_id"), t="InvoiceDate", order="InvoiceNo",
        value=pl.col("Quantity") * pl.col("UnitPrice"), item="StockCode",
    )  # fmt: skip


def plain(file: Path, until: datetime, out: Path) -> None:
    """The other side, in one function's reach: features, model, list."""
    log = orders(file)
    cutoffs = [until - HORIZON * k for k in range(1, 9)]
    cohorts = [features(log, c).with_columns(y=~is_active(log, c)) for c in cutoffs if c - log["t"].min() > HORIZON]
    newest, older = cohorts[0], pl.concat(cohorts[1:])
    names = [c for c in newest.columns if c not in ("user_id", "y")]
    train, valid = (lgb.Dataset(f.select(names).to_numpy(), f["y"].to_numpy().astype(float)) for f in (older, newest))
    parameters = {"objective": "binary", "learning_rate": 0.05, "num_leaves": 31, "verbosity": -1, "seed": 0}
    booster = lgb.train(parameters, train, 1000, valid_sets=[valid], callbacks=[lgb.early_stopping(50, verbose=False)])
    asked = features(log, until)
    p = np.asarray(booster.predict(asked.select(names).to_numpy()))
    asked.select("user_id").with_columns(churn_probability=p).sort("churn_probability", descending=True).write_parquet(
        out
    )


def features(log: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """27 columns of everybody with an order in the 180 days before."""
    age = (pl.lit(at) - pl.col("t")).dt.total_seconds() / 86_400
    past = log.filter(pl.col("t") <= at).with_columns(age=age)
    windows = [
        column
        for d in WINDOWS
        for column in (
            pl.col("order").filter(pl.col("age") < d).n_unique().alias(f"orders_{d}"),
            pl.col("value").filter(pl.col("age") < d).sum().alias(f"value_{d}"),
            pl.col("item").filter(pl.col("age") < d).n_unique().alias(f"items_{d}"),
        )
    ]
    day = pl.col("t").dt.date()
    whole = [
        pl.col("age").min().alias("recency"), pl.col("age").max().alias("tenure"),
        pl.col("order").n_unique().alias("orders"), pl.col("value").sum().alias("value"),
        pl.col("value").mean().alias("line_value"), pl.col("item").n_unique().alias("items"),
        day.n_unique().alias("days"), day.unique().sort().diff().dt.total_days().mean().alias("gap"),
        day.unique().sort().diff().dt.total_days().std().alias("gap_spread"),
    ]  # fmt: skip
    users = past.group_by("user_id").agg(*whole, *windows)
    return users.filter(pl.col("recency") < ELIGIBLE.days).sort("user_id")


def is_active(log: pl.DataFrame, at: datetime) -> pl.Expr:
    active = log.filter((pl.col("t") > at) & (pl.col("t") <= at + HORIZON))["user_id"].unique()
    return pl.col("user_id").is_in(active.implode())


if __name__ == "__main__":
    main()
