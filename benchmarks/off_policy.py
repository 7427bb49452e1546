"""Off-policy values on real logs: can the log of one policy tell what the other earned?

    python benchmarks/off_policy.py --data FOLDER

FOLDER holds `open_bandit_zozo` (ZOZO's Open Bandit Dataset, small edition, as Parquet): the same shop at the same time under uniform random
recommendations and under Thompson sampling, so that each policy's own log is the truth for an estimate from the other's.
Thompson sampling is told by its shares of items by position over the week; its log gives the chance of each shown item.
The model of DM and DR is the click rate of item and position, drawn towards the mean of all, from the other half of the log.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.errors import DataError
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.off_policy import Decisions, policy_value
from ebbtide.evaluation.tally import Vector
from machine import machine_line

CAMPAIGNS = ("men", "women")
PRIOR = 200.0  # shows that the mean click rate weighs in the model of one item at one position
FLOOR = 100.0


def shares_of(log: pl.DataFrame) -> Vector:
    """How often each item was shown at each position, (positions, items), by the log itself."""
    counts = _counts(log, np.ones(len(log)))
    return counts / counts.sum(axis=1, keepdims=True)


def _counts(log: pl.DataFrame, weight: NDArray[np.float64]) -> Vector:
    place, item = log["position"].to_numpy() - 1, log["item_id"].to_numpy()
    size = (3, int(log["item_id"].max()) + 1)  # type: ignore[arg-type]
    return np.bincount(place * size[1] + item, weight, minlength=size[0] * size[1]).reshape(size)


def decisions(log: pl.DataFrame, policy: Vector) -> Decisions:
    """The log's decisions under another policy (positions, items), with a cross-fitted model of clicks."""
    place, item = log["position"].to_numpy() - 1, log["item_id"].to_numpy()
    click = log["click"].to_numpy().astype(np.float64)
    half = np.arange(len(log)) % 2
    expected, new = np.zeros(len(log)), np.zeros(len(log))
    for fold in (0, 1):
        rest = log.filter(pl.Series(half != fold))
        shown = _padded(_counts(rest, np.ones(len(rest))), policy.shape)
        clicked = _padded(_counts(rest, rest["click"].to_numpy().astype(np.float64)), policy.shape)
        rate = (clicked + PRIOR * clicked.sum() / shown.sum()) / (shown + PRIOR)
        here = half == fold
        expected[here] = rate[place[here], item[here]]
        new[here] = (policy * rate).sum(axis=1)[place[here]]
    return Decisions(click, log["propensity_score"].to_numpy(), policy[place, item], expected, new)


def _padded(counts: Vector, shape: tuple[int, ...]) -> Vector:
    return np.pad(counts, ((0, 0), (0, shape[1] - counts.shape[1])))


def told(e: Estimate) -> str:
    return f"{(e.value or 0) * 100:.2f} [{(e.low or 0) * 100:.2f}, {(e.high or 0) * 100:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data / "open_bandit_zozo"
    print(machine_line())
    print("\nclicks, % of shows; 95 % intervals\n")
    print(
        "| | truth | logged policy | IPS | SNIPS | DM | DR | effective | mean weight |\n|---|---|---|---|---|---|---|---|---|"
    )
    for campaign in CAMPAIGNS:
        logs = {p: pl.read_parquet(folder / f"{p}_{campaign}.parquet") for p in ("random", "bts")}
        items = max(int(log["item_id"].max()) for log in logs.values()) + 1  # type: ignore[arg-type]
        policies = {"random": np.full((3, items), 1 / items), "bts": _padded(shares_of(logs["bts"]), (3, items))}
        for source, target in (("random", "bts"), ("bts", "random")):
            truth = policy_value(decisions(logs[target], policies[target])).logged
            try:
                v = policy_value(decisions(logs[source], policies[target]), floor=FLOOR)
            except DataError as refused:
                print(f"| {campaign}, {source} to {target} | refused: {refused} |")
                v = policy_value(decisions(logs[source], policies[target]))
            figures = " | ".join(map(told, (truth, v.logged, v.ips, v.snips, v.dm, v.dr)))
            print(f"| {campaign}, {source} to {target} | {figures} | {v.effective:,.0f} | {v.mean_weight:.2f} |")


if __name__ == "__main__":
    main()
