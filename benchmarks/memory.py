"""Does memory stay where it is as the log grows ten times? Peak resident memory of ingest, train and score.

    python benchmarks/memory.py [--users 25000] [--growth 10] [--rows-per-bucket 50000]

The same shop with `--users` and with ten times as many users, buckets of the same size, the same cap on training rows.
Every stage is a command in a process of its own. The bar: within 20 %.
Beside it, the whole log in one Polars frame, sorted and grouped by user, which grows with the log.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from machine import Spent, machine_line, run_ebbtide, run_module
from score import UNTIL, make_log

CONFIG = """
[[source]]
path = "events-*.parquet"
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
rows_per_bucket = {rows_per_bucket}
memory_limit = "256MB"
[train]
max_rows = {rows}
max_cutoffs = 9
bootstrap = 50
"""
PLAIN = """
import polars as pl, sys
log = pl.read_parquet(sys.argv[1] + "/events-*.parquet").sort("user_id", "occurred_at")
print(len(log.group_by("user_id").agg(pl.len(), pl.col("occurred_at").max(), pl.col("item_id").n_unique())))
"""


def main() -> None:
    asked = arguments()
    print(machine_line())
    sizes = (asked.users, asked.users * asked.growth)
    peaks = [measure(users, asked) for users in sizes]
    print(f"\n{'peak memory':12} {sizes[0]:>12,} users {sizes[1]:>12,} users   ratio")
    for stage in peaks[0]:
        small, large = (p[stage] for p in peaks)
        bar = "" if stage == "plain" else "   within 20 %" if large <= 1.2 * small else "   MORE THAN 20 %"
        print(f"{stage:12} {small:15,.0f} MB {large:15,.0f} MB {large / small:7.2f}{bar}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=25_000)
    parser.add_argument("--growth", type=int, default=10)
    parser.add_argument("--rows-per-bucket", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=20_000, help="training rows")
    return parser.parse_args()


def measure(users: int, asked: argparse.Namespace) -> dict[str, float]:
    """The peak of each stage, MB."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        config = CONFIG.format(rows_per_bucket=asked.rows_per_bucket, rows=asked.rows)
        (root / "ebbtide.toml").write_text(config, encoding="utf-8")
        write_log(users, root, asked.users)
        until, plain = UNTIL.isoformat(), root / "plain.py"
        plain.write_text(PLAIN, encoding="utf-8")
        stages: dict[str, Callable[[], Spent]] = {
            "ingest": lambda: run_ebbtide("ingest", "-w", folder),
            "train": lambda: run_ebbtide("train", "-w", folder, "--until", until),
            "score": lambda: run_ebbtide("score", "-w", folder, "--as-of", until, "--out", f"{folder}/list.parquet"),
            "plain": lambda: run_module(str(plain), folder),
        }
        return {stage: told(users, stage, call()) for stage, call in stages.items()}


def write_log(users: int, root: Path, chunk: int) -> None:
    """One file a chunk of users, so that this process stays small too."""
    for number in range(users // chunk):
        frame = make_log(chunk, 12, np.random.default_rng(number), prefix=f"{number}-")
        frame.write_parquet(root / f"events-{number:03}.parquet")


def told(users: int, stage: str, spent: Spent) -> float:
    print(
        f"{users:>12,} users  {stage:8} {spent.peak_mb:7,.0f} MB  {spent.wall:6.1f} s  {spent.cpu:6.1f} s CPU",
        flush=True,
    )
    return spent.peak_mb


if __name__ == "__main__":
    main()
