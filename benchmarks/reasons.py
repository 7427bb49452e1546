"""Exact reasons and margins of boosted trees, beside LightGBM's own, and the wording of reasons: users a second.

    python benchmarks/reasons.py [--rows 20000] [--trees 300] [--leaves 31] [--columns 80] [--depth -1]

Both sides of each ratio are measured in this one run, on the same rows, with all cores.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.language import LANGUAGES
from ebbtide.explain.reasons import reason_column
from ebbtide.features.catalogue import default_catalogue
from ebbtide.models.tree_ensemble import TreeEnsemble


def main() -> None:
    asked = arguments()
    rng = np.random.default_rng(0)
    X, y = make_data(rng, asked.rows, asked.columns)
    booster = lgb.train(
        {
            "objective": "binary",
            "num_leaves": asked.leaves,
            "max_depth": asked.depth,
            "num_threads": os.cpu_count(),
            "verbosity": -1,
        },
        lgb.Dataset(X, y),
        asked.trees,
    )
    trees = TreeEnsemble.from_text([booster.model_to_string()])
    print(f"{asked.trees} trees, {asked.leaves} leaves, {asked.columns} columns, {os.cpu_count()} cores")
    few = X[: max(1, asked.rows // 40)]
    compare("margin", lambda: booster.predict(X, raw_score=True), len(X), lambda: trees.margin(X), len(X))
    compare(
        "exact reasons (TreeSHAP)",
        lambda: booster.predict(few, pred_contrib=True),
        len(few),
        lambda: trees.contributions(X),
        len(X),
    )
    print(f"largest difference   margin {difference(booster.predict(X, raw_score=True), trees.margin(X)):.1e}   "
          f"reasons {difference(booster.predict(few, pred_contrib=True), trees.contributions(few)):.1e}")  # fmt: skip
    for name, call in (("margin", trees.margin), ("reasons", trees.contributions)):
        print(f"one user, {name}: {1e3 * seconds(lambda call=call: call(X[:1]), times=50):.2f} ms")  # type: ignore[misc]
    word(rng, asked.rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("rows", 20_000),
        ("trees", 300),
        ("leaves", 31),
        ("columns", 80),
        ("depth", -1),
        ("threads", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def make_data(rng: np.random.Generator, rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Normal columns with a tenth unknown; a noisy linear rule with an interaction."""
    X = rng.normal(size=(rows, columns)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    known = np.nan_to_num(X)
    signal = known[:, :10] @ rng.normal(size=min(10, columns)) + known[:, 0] * known[:, 1]
    return X, (signal + rng.normal(size=rows) > 0).astype(float)


def compare(
    name: str, theirs: Callable[[], object], their_rows: int, ours: Callable[[], object], our_rows: int
) -> None:
    their_rate, our_rate = their_rows / seconds(theirs), our_rows / seconds(ours)
    print(
        f"{name:26} LightGBM {their_rate:9,.0f} rows/s   Ebbtide {our_rate:9,.0f} rows/s   ratio {our_rate / their_rate:6.1f}"
    )


def word(rng: np.random.Generator, rows: int) -> None:
    """Selection and wording of five reasons each, from given contributions."""
    columns = default_catalogue(ChurnDefinition(), history_days=400).features
    X = np.exp(rng.normal(1, 1, (rows, len(columns)))).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    terms = rng.normal(0, 0.1, (rows, len(columns) + 1)) * (rng.random((rows, len(columns) + 1)) < 0.3)
    usual = np.nanmedian(X, axis=0)
    for language in LANGUAGES:
        rate = rows / seconds(lambda language=language: reason_column(terms, X, columns, usual, language=language))  # type: ignore[misc]
        print(f"five reasons in words ({language}), {len(columns)} columns: {rate:9,.0f} users/s")


def seconds(call: Callable[[], object], times: int = 3) -> float:
    """The best of a few runs, the first of which (compilation) is not counted."""
    call()
    best = np.inf
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.abs(a - b).max())


if __name__ == "__main__":
    main()
