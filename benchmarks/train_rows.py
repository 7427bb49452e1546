"""What do more training rows cost, and what do they bring? Seconds, memory and AUROC of `train` as its cap grows.

    python benchmarks/train_rows.py [--users 3000] [--caps 2000 8000 30000]

A simulated shop is trained with `train.max_rows` at each cap, each in a process of its own, and judged on the 30 days
after it, which no run has seen. Beside the default `auto` stands LightGBM alone at the same cap: the ratio says what
the stack costs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import polars as pl

from ebbtide.churn.labels import churn_labels
from ebbtide.core.config import load_config
from ebbtide.evaluation.ranking import auroc
from ebbtide.events.simulate import SimulationConfig, write_log
from ebbtide.pipeline.dataset import LABEL_COLUMNS
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.score import score
from machine import machine_line, run_ebbtide


@dataclass(frozen=True)
class Run:
    """One training: what it used, what it took, what it reached."""

    rows: int
    sampled: float
    wall: float
    cpu: float
    peak_mb: float
    auroc: float


def main() -> None:
    asked = arguments()
    print(machine_line())
    shop = SimulationConfig(users=asked.users, days=asked.days, seed=asked.seed)
    until = shop.end - timedelta(days=30)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_log(shop, root)
        config = load_config(root / "ebbtide.toml", environ={})
        print(f"{asked.users:,} users, {ingest(config, root).total.accepted:,} events")
        lake, definition = Places(root).lake(), None
        events = pl.concat([lake.read_bucket(b, LABEL_COLUMNS) for b in lake.buckets()])
        print(f"{'cap':>9} {'rows':>9} {'users':>7}   {'auto':34}   {'lightgbm alone':34}   ratio of seconds")
        for cap in asked.caps:
            runs = []
            for model in ("auto", "lightgbm"):
                spent = train(root, until.isoformat(), cap, model)
                listed = score(config, root, as_of=until, reasons="none").frame
                definition = definition or Places(root).shelf().load().definition
                labels = churn_labels(
                    events, listed.select("user_id"), as_of=until, definition=definition, known_until=shop.end
                )
                reached = auroc(labels["churned"].cast(float).to_numpy(), listed["churn_probability"].to_numpy())
                runs.append(Run(**spent, auroc=reached))
            one, other = runs
            print(f"{cap:>9,} {one.rows:>9,} {one.sampled:>7.0%}   {told(one)}   {told(other)}   "
                  f"{one.wall / other.wall:.1f} (CPU {one.cpu / other.cpu:.1f})", flush=True)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=3_000)
    parser.add_argument("--days", type=int, default=360)
    parser.add_argument("--caps", type=int, nargs="+", default=[2_000, 8_000, 30_000])
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def train(root: Path, until: str, cap: int, model: str) -> dict[str, float]:
    """`ebbtide train` in a process of its own."""
    call = ("train", "-w", str(root), "--until", until, "--model", model, "--json")
    spent = run_ebbtide(*call, EBBTIDE_TRAIN__MAX_ROWS=str(cap))
    report = json.loads(spent.said)
    used = {"rows": report["rows"], "sampled": report["sampled"]}
    return used | {"wall": spent.wall, "cpu": spent.cpu, "peak_mb": spent.peak_mb}


def told(run: Run) -> str:
    return f"{run.wall:6.1f} s {run.cpu:6.1f} s CPU {run.peak_mb:6,.0f} MB {run.auroc:.4f}"


if __name__ == "__main__":
    main()
