"""Gradient-boosted trees (LightGBM): small, heavily regularised trees with random thresholds, averaged over seeds.

Extremely randomised thresholds and averaging cost little and gain most where a log has few users. How many rounds
to boost is chosen outside, on moments that the model had not learnt from: `margin_path` gives the margins after each
number of rounds in one fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np

from ebbtide.models.base import Matrix, Rows, Vector
from ebbtide.models.trainable import check_trainable
from ebbtide.models.tree_model import EVERYWHERE, TreeModel, grow


@dataclass(frozen=True)
class BoostingConfig:
    """Settings of one boosted ensemble. `leaf_share`: least share of the training rows in one leaf.

    `seeds` boosters are averaged where there are at most `few_rows` rows, which need it most; half as many beyond, and
    `rehearsal_seeds` when held-out moments are predicted.
    """

    leaves: int = 15
    depth: int = 6
    learning_rate: float = 0.06
    seeds: int = 6
    few_rows: int = 100_000
    rehearsal_seeds: int = 2
    leaf_rows: int = 40
    leaf_share: float = 0.002
    column_share: float = 0.4
    row_share: float = 0.7
    ridge: float = 10.0

    def seeds_for(self, rows: int) -> int:
        """How many boosters to average."""
        return self.seeds if rows <= self.few_rows else max(1, self.seeds // 2)

    def parameters(self, rows: int, seed: int) -> dict[str, Any]:
        """What LightGBM is told."""
        return {
            **EVERYWHERE,
            "num_leaves": self.leaves,
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": max(min(self.leaf_rows, rows // 20), int(self.leaf_share * rows), 1),
            "feature_fraction": self.column_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "lambda_l2": self.ridge,
            "extra_trees": True,
            "max_bin": 127,
            "seed": seed,
        }


class LightGbmModel(TreeModel):
    """LightGBM behind the model protocol. Margins and contributions come from our own tree engine."""

    name: ClassVar[str] = "lightgbm"
    rounds_grid: ClassVar[tuple[int, ...]] = (20, 40, 60, 85, 115, 150, 190, 240)
    usual_rounds: ClassVar[int] = 85

    def __init__(self, config: BoostingConfig | None = None, rounds: int | None = None) -> None:
        super().__init__()
        self.config = config or BoostingConfig()
        self.rounds = rounds or self.usual_rounds

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Fit `rounds` rounds on all rows. Raises DataError if the rows cannot be learnt from."""
        boosters = self._boosters(rows, self.rounds, self.config.seeds_for(len(rows)), seed)
        return self._keep([b.model_to_string() for b in boosters])

    def margin_path(self, rows: Rows, X: Matrix, *, seed: int) -> Vector:
        """Margins on X after each number of rounds of `rounds_grid`, (V, N), from one fit on `rows`."""
        boosters = self._boosters(rows, self.rounds_grid[-1], self.config.rehearsal_seeds, seed)
        return np.asarray(np.mean([_staged(b, X, self.rounds_grid) for b in boosters], axis=0))

    def _boosters(self, rows: Rows, rounds: int, seeds: int, seed: int) -> list[lgb.Booster]:
        check_trainable(rows)
        return grow(rows, [self.config.parameters(len(rows), seed + 1000 * k + 1) for k in range(seeds)], rounds)


def _staged(booster: lgb.Booster, X: Matrix, grid: Sequence[int]) -> Vector:
    """Margins after each number of rounds, (V, N)."""
    parts, start = [], 0
    for rounds in grid:
        parts.append(booster.predict(X, raw_score=True, start_iteration=start, num_iteration=rounds - start))
        start = rounds
    return np.asarray(np.cumsum(parts, axis=0))
