"""One decision tree, small enough to be read aloud: the classic that the field's tutorials start with.

Grown by LightGBM in one step, best leaf first, so that the reasons are exact; the leaves hold log-odds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ebbtide.models.base import Rows
from ebbtide.models.space import Real, Space, Whole
from ebbtide.models.trainable import check_trainable
from ebbtide.models.tree_model import EVERYWHERE, TreeModel, grow, with_odds_in_leaves


@dataclass(frozen=True)
class DecisionTreeConfig:
    """Settings. `leaf_rows`, `leaf_share`: the least rows of a leaf, and the least share of all rows."""

    leaves: int = 15
    depth: int = 5
    leaf_rows: int = 40
    leaf_share: float = 0.01

    def parameters(self, rows: int) -> dict[str, Any]:
        """What LightGBM is told."""
        return {
            **EVERYWHERE,
            "learning_rate": 1.0,
            "num_leaves": self.leaves,
            "max_depth": self.depth,
            "min_data_in_leaf": max(min(self.leaf_rows, rows // 20), int(self.leaf_share * rows), 1),
        }


class DecisionTreeModel(TreeModel):
    """One tree behind the model protocol."""

    name: ClassVar[str] = "tree"
    space: ClassVar[Space] = {
        "leaves": Whole(4, 63, usual=15, log=True),
        "depth": Whole(2, 10, usual=5),
        "leaf_share": Real(0.002, 0.05, usual=0.01, log=True),
    }

    def __init__(self, config: DecisionTreeConfig | None = None) -> None:
        super().__init__()
        self.config = config or DecisionTreeConfig()

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Grow the tree on all rows. `seed` is unused: nothing is random. Raises DataError if nothing can be learnt."""
        check_trainable(rows)
        (booster,) = grow(rows, [self.config.parameters(len(rows))], 1)
        return self._keep([with_odds_in_leaves(booster, float(rows.y.mean())).model_to_string()])
