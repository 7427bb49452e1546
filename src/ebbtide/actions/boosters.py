"""Small, heavily regularised LightGBM ensembles of a weighted outcome, averaged over seeds: what the learners stand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import lightgbm as lgb
import numpy as np
from scipy.special import expit

from ebbtide.models.base import Matrix, Vector
from ebbtide.models.tree_ensemble import TreeEnsemble
from ebbtide.models.tree_model import EVERYWHERE


@dataclass(frozen=True)
class TreeSizes:
    """Settings of one ensemble. Effects are small beside outcomes, so trees are shallow and leaves hold many users."""

    leaves: int = 8
    depth: int = 3
    learning_rate: float = 0.05
    rounds: int = 80
    seeds: int = 3
    leaf_rows: int = 60
    leaf_share: float = 0.01
    column_share: float = 0.6
    row_share: float = 0.7
    ridge: float = 20.0
    random_thresholds: bool = True

    def parameters(self, rows: int, seed: int, *, binary: bool) -> dict[str, Any]:
        """What LightGBM is told."""
        return {
            **EVERYWHERE,
            "objective": "binary" if binary else "regression",
            "num_leaves": self.leaves,
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": max(min(self.leaf_rows, rows // 20), int(self.leaf_share * rows), 1),
            "feature_fraction": self.column_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "lambda_l2": self.ridge,
            "extra_trees": self.random_thresholds,
            "max_bin": 127,
            "seed": seed,
        }


@dataclass(frozen=True)
class Boosted:
    """Trees as texts; `binary`: their mean margin is a log-odds and `predict` answers with a chance."""

    texts: tuple[str, ...]
    binary: bool

    @cached_property
    def _trees(self) -> TreeEnsemble:
        return TreeEnsemble.from_text(list(self.texts))

    def predict(self, X: Matrix) -> Vector:
        """The expected outcome of each row, (N,)."""
        margin = self._trees.margin(np.ascontiguousarray(X, np.float32))
        return np.asarray(expit(margin) if self.binary else margin)

    def save(self, folder: Path) -> None:
        """One LightGBM text file a booster."""
        folder.mkdir(parents=True, exist_ok=True)
        kind = "chance" if self.binary else "mean"
        for k, text in enumerate(self.texts):
            (folder / f"{kind}-{k}.txt").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        files: Sequence[Path] = sorted(folder.glob("*-*.txt"))
        return cls(tuple(f.read_text(encoding="utf-8") for f in files), files[0].name.startswith("chance"))


def boost(
    X: Matrix, y: Vector, weight: Vector | None = None, *, sizes: TreeSizes, seed: int, binary: bool | None = None
) -> Boosted:
    """Fit an outcome. `binary`: as chances; by default where it is 0 or 1 in every row, and both occur."""
    yes_or_no = bool(np.all((y == 0) | (y == 1)) and 0 < y.sum() < len(y)) if binary is None else binary
    told = [sizes.parameters(len(y), seed + 1000 * k + 1, binary=yes_or_no) for k in range(sizes.seeds)]
    data = lgb.Dataset(X, y, weight=weight, params=told[0], free_raw_data=False)
    return Boosted(tuple(str(lgb.train(p, data, sizes.rounds).model_to_string()) for p in told), yes_or_no)
