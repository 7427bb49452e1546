"""An order by boosted trees, where there are enough lessons (LambdaMART: Burges 2010, LightGBM's `lambdarank`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.recommend.evidence import NAMES, Candidates
from ebbtide.actions.recommend.lesson import Lesson

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TreeConfig:
    """Settings of the trees. `cut`: places whose order counts in training."""

    rounds: int = 120
    leaves: int = 15
    learning_rate: float = 0.07
    leaf_rows: int = 50
    column_share: float = 0.6
    row_share: float = 0.7
    ridge: float = 5.0
    cut: int = 20

    def parameters(self, seed: int) -> dict[str, Any]:
        """What LightGBM is told."""
        return {
            "objective": "lambdarank", "lambdarank_truncation_level": self.cut, "label_gain": [0, 1],
            "num_leaves": self.leaves, "learning_rate": self.learning_rate, "min_data_in_leaf": self.leaf_rows,
            "feature_fraction": self.column_share, "bagging_fraction": self.row_share, "bagging_freq": 1,
            "lambda_l2": self.ridge, "max_bin": 63, "seed": seed, "num_threads": 1, "deterministic": True,
            "force_row_wise": True, "verbosity": -1,
        }  # fmt: skip


class TreeBlend:
    """Boosted trees over the columns of `evidence.NAMES`; `text` is all of them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._booster = lgb.Booster(model_str=text)

    @classmethod
    def fit(cls, lessons: Sequence[Lesson], *, seed: int, config: TreeConfig | None = None) -> TreeBlend:
        """Learn from the buyers of earlier moments."""
        parts = [lesson.of_buyers() for lesson in lessons]
        sizes = [np.unique(candidates.user, return_counts=True)[1] for candidates, _ in parts]
        rows = lgb.Dataset(
            np.concatenate([candidates.X for candidates, _ in parts]),
            np.concatenate([bought for _, bought in parts]).astype(np.float64),
            group=np.concatenate(sizes),
            feature_name=list(NAMES),
            params={"verbosity": -1},
        )
        how = config or TreeConfig()
        return cls(lgb.train(how.parameters(seed), rows, how.rounds).model_to_string())

    def scores(self, candidates: Candidates) -> Floats:
        """The score of each candidate, (N,); the greater, the likelier it is bought next. Comparable within a user."""
        if not len(candidates.user):
            return np.zeros(0)
        return np.asarray(self._booster.predict(candidates.X, num_threads=1), np.float64)
