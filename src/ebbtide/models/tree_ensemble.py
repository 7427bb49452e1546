"""A forest of LightGBM trees, predicted and explained by our own compiled loops: exact, fast, no LightGBM needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ebbtide.core.errors import InputError
from ebbtide.models.base import Matrix, Vector
from ebbtide.models.tree_forest import Forest, plant
from ebbtide.models.tree_margin import add_margins
from ebbtide.models.tree_shap import add_contributions
from ebbtide.models.tree_text import read_trees

MARGIN_ROWS, REASON_ROWS = 4096, 128
"""Least rows a thread is started for: fewer cost less than the start."""


@dataclass(frozen=True)
class TreeEnsemble:
    """The weighted sum of LightGBM boosters. `forest` holds the trees, `base` the mean margin over training rows."""

    forest: Forest
    base: float
    feature_count: int

    @classmethod
    def from_text(cls, texts: Sequence[str], weights: Sequence[float] | None = None) -> TreeEnsemble:
        """Read the texts of `Booster.model_to_string()`. Without `weights` the boosters' margins are averaged.

        Raises InputError if a text is no usable LightGBM model, or the boosters expect different columns.
        """
        if not texts:
            raise InputError("averaging needs at least one tree model", "取平均至少需要一个树模型")
        shares = [1.0 / len(texts)] * len(texts) if weights is None else list(weights)
        read = [read_trees(text) for text in texts]
        if len({features for _, features in read}) != 1 or len(shares) != len(read):
            raise InputError(
                "averaged tree models must expect the same columns, and each needs one weight",
                "取平均的树模型必须使用相同的列，且每个模型需有一个权重",
            )
        trees = [tree for booster, _ in read for tree in booster]
        tree_weights = [share for (booster, _), share in zip(read, shares, strict=True) for _ in booster]
        forest, base = plant(trees, tree_weights)
        return cls(forest, base, read[0][1])

    def margin(self, X: Matrix) -> Vector:
        """Raw score of each row, (N,): what `Booster.predict(raw_score=True)` gives. X (N, F), NaN = unknown."""
        return self._run(add_margins, X, np.zeros(len(X)), MARGIN_ROWS)

    def contributions(self, X: Matrix) -> Vector:
        """Exact TreeSHAP values, (N, F + 1), last column the base value: `Booster.predict(pred_contrib=True)`.

        Each row sums to its margin within 1e-9.
        """
        out = np.zeros((len(X), self.feature_count + 1))
        out[:, -1] = self.base
        return self._run(add_contributions, X, out, REASON_ROWS)

    def _run(self, loop: Callable[[Matrix, Vector, Forest], None], X: Matrix, out: Vector, least: int) -> Vector:
        if X.ndim != 2 or X.shape[1] != self.feature_count:
            raise InputError(
                "the tree model expects {wanted} columns, the matrix has shape {shape}",
                "树模型需要 {wanted} 列，而矩阵的形状是 {shape}",
                wanted=self.feature_count,
                shape=X.shape,
            )
        rows = np.ascontiguousarray(X, np.float32)
        parts = min(os.cpu_count() or 1, len(rows) // least)
        if parts < 2:
            loop(rows, out, self.forest)
            return out
        ends = np.linspace(0, len(rows), parts + 1).astype(int)
        with ThreadPoolExecutor(parts) as threads:
            list(threads.map(lambda i, j: loop(rows[i:j], out[i:j], self.forest), ends[:-1], ends[1:]))
        return out
