"""Uplift's verdict by one split into halves or by the median over several: what each rule says of the same trials.

    python benchmarks/uplift_splits.py [--kind line] [--size .05] [--rows 3000] [--trials 60] [--splits 5]

Trials as in `uplift_verdict.py`, one learner (`linear`, so that there is no choice). A split halves the users anew and crosses
learning and judging; a win is the estimate over its standard error. Rules: today's, by the first split; the median win over
splits, above 1.96 or, with its p-value doubled, 2.24; the median estimate over the root of the median of squared error plus
squared distance from it, above 1.96 (Chernozhukov et al. 2018, section 3.4, and 2025). All ask for both wins.
"""

from __future__ import annotations

import argparse

import numpy as np

from ebbtide.actions.boosters import TreeSizes
from ebbtide.actions.choosing import held_out
from ebbtide.actions.uplift import judge
from ebbtide.evaluation.intervals import wilson
from ebbtide.models.base import Vector
from machine import machine_line
from uplift_verdict import SURE, planted

Found = list[tuple[bool, Vector]]
"""Of each split: whether today's rule follows, and the estimates and standard errors of both wins, (2, 2)."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The verdict by the median over splits.")
    parser.add_argument("--kind", default="line")
    parser.add_argument("--size", type=float, default=0.05)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--splits", type=int, default=5)
    asked = parser.parse_args()
    print(machine_line())
    trials = [splits(asked.kind, asked.size, asked.rows, n, asked.splits) for n in range(asked.trials)]
    said = {"today, the first split": sum(found[0][0] for found in trials)}
    for name, least in (("median win over 1.96", SURE), ("p doubled", 2.2414)):
        said[name] = sum(bool((np.median(wins(found), axis=0) > least).all()) for found in trials)
    said["spread of splits added"] = sum(bool((spread(found) > SURE).all()) for found in trials)
    for name, count in said.items():
        low, high = wilson(count, asked.trials)
        print(f"  {name:24} use it in {count} of {asked.trials} [{low:.1%}, {high:.1%}]")
    agree = np.mean([len({follows for follows, _ in found}) == 1 for found in trials])
    print(f"  today's rule says the same in every split: {agree:.0%} of trials")


def splits(kind: str, size: float, rows: int, number: int, count: int) -> Found:
    """One trial judged by several splits."""
    trial, _ = planted(kind, size, rows, number)
    found = []
    for split in range(count):
        held = held_out(trial, ("linear",), sizes=TreeSizes(rounds=10, seeds=1, leaves=4), seed=number + 1000 * split)
        judged = judge(trial, held, seed=number)
        both = (judged.over_everyone.overall, judged.over_risk.overall)
        errors = [((w.high or 0.0) - (w.low or 0.0)) / (2 * SURE) for w in both]
        found.append((judged.is_followed, np.array([[w.value or 0.0 for w in both], errors])))
    return found


def wins(found: Found) -> Vector:
    """Estimates over standard errors, (splits, 2)."""
    return np.array([figures[0] / np.maximum(figures[1], 1e-12) for _, figures in found])


def spread(found: Found) -> Vector:
    """Median estimates over the root of the median of variance plus squared distance from the median, (2,)."""
    value, error = (np.array([figures[n] for _, figures in found]) for n in (0, 1))
    middle = np.median(value, axis=0)
    return np.asarray(middle / np.sqrt(np.maximum(np.median(error**2 + (value - middle) ** 2, axis=0), 1e-24)))


if __name__ == "__main__":
    main()
