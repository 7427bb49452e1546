"""A student: few small trees that learn what a teacher says, not what happened (Hinton, Vinyals, Dean 2015).

The student is LightGBM again, so its margins are cheap and its TreeSHAP reasons exact, whatever the teacher is.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from ebbtide.models.base import Rows
from ebbtide.models.tree_model import EVERYWHERE, TreeModel, grow

_TREES, _LEAVES = 150, 15
_LEAF_ROWS = 20


class DistilledModel(TreeModel):
    """Boosted trees fitted by least squares to a teacher's log-odds."""

    name: ClassVar[str] = "distilled"

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Learn the log-odds that stand in `rows.y`; a teacher can tell them of rows whose outcome nobody knows yet."""
        parameters: dict[str, Any] = {
            **EVERYWHERE,
            "objective": "regression",
            "num_leaves": _LEAVES,
            "learning_rate": 0.1,
            "min_data_in_leaf": max(1, min(_LEAF_ROWS, len(rows) // 20)),
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 1.0,
            "max_bin": 127,
            "seed": seed,
        }
        (booster,) = grow(rows, [parameters], _TREES)
        return self._keep([booster.model_to_string()])
