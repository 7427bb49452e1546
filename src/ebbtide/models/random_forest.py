"""A random forest (Breiman 2001): many trees, each on its own draw of rows, each split on its own draw of columns.

Grown by LightGBM, so that the reasons are exact. The margin is the mean of the trees' log-odds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ebbtide.models.base import Rows
from ebbtide.models.space import Real, Space, Whole
from ebbtide.models.trainable import check_trainable
from ebbtide.models.tree_model import EVERYWHERE, TreeModel, grow, with_odds_in_leaves


@dataclass(frozen=True)
class RandomForestConfig:
    """Settings. `groves` boosters of `trees` trees each are grown side by side.

    `leaf_rows`, `leaf_share`: the least rows of a leaf, and the least share of all rows. `column_share` is drawn for
    every split, `row_share` for every tree.
    """

    groves: int = 4
    trees: int = 50
    leaves: int = 31
    leaf_rows: int = 40
    leaf_share: float = 0.002
    column_share: float = 0.2
    row_share: float = 0.632

    def parameters(self, rows: int, seed: int) -> dict[str, Any]:
        """What LightGBM is told."""
        return {
            **EVERYWHERE,
            "boosting": "rf",
            "num_leaves": self.leaves,
            "min_data_in_leaf": max(min(self.leaf_rows, rows // 20), int(self.leaf_share * rows), 1),
            "feature_fraction_bynode": self.column_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "seed": seed,
        }


class RandomForestModel(TreeModel):
    """A random forest behind the model protocol."""

    name: ClassVar[str] = "forest"
    space: ClassVar[Space] = {
        "leaves": Whole(8, 127, usual=31, log=True),
        "leaf_rows": Whole(10, 160, usual=40, log=True),
        "column_share": Real(0.05, 0.6, usual=0.2),
        "row_share": Real(0.3, 0.9, usual=0.632),
    }

    def __init__(self, config: RandomForestConfig | None = None) -> None:
        super().__init__()
        self.config = config or RandomForestConfig()

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Grow all trees. Raises DataError if nothing can be learnt from the rows."""
        check_trainable(rows)
        parameters = [self.config.parameters(len(rows), seed + 1000 * k + 1) for k in range(self.config.groves)]
        rate = float(rows.y.mean())
        grown = grow(rows, parameters, self.config.trees)
        return self._keep([with_odds_in_leaves(b, rate).model_to_string() for b in grown])
