"""A linear order: logistic regression on damped evidence. It needs few lessons, and is what short logs can support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ebbtide.actions.recommend.evidence import Candidates
from ebbtide.actions.recommend.lesson import Lesson

Floats = NDArray[np.float64]
_COUNTS = (
    "bought", "bought_30d", "bought_120d", "viewed", "viewed_3d", "viewed_14d", "viewed_60d", "carted_14d", "wished_30d",
    "sold_7d", "sold_30d", "sold_120d", "looked_at",
)  # fmt: skip
_STRENGTHS = ("together", "shared", "last_basket")
_RANKS = ("als_rank", "shared_rank", "together_rank")
_FAR = 500.0
_INVERSE_PENALTY = 1e-3


@dataclass(frozen=True)
class LinearBlend:
    """Standardised evidence times weights. mean, scale, weight (D,)."""

    mean: Floats
    scale: Floats
    weight: Floats

    @classmethod
    def fit(cls, lessons: Sequence[Lesson], *, seed: int) -> LinearBlend:
        """Learn from the buyers of earlier moments."""
        parts = [lesson.of_buyers() for lesson in lessons]
        X = np.concatenate([damped(candidates) for candidates, _ in parts])
        y = np.concatenate([bought for _, bought in parts])
        mean, scale = X.mean(0), X.std(0)
        scale[scale < 1e-9] = 1.0
        model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=300, random_state=seed).fit((X - mean) / scale, y)
        return cls(mean, scale, model.coef_[0])

    def scores(self, candidates: Candidates) -> Floats:
        """The score of each candidate, (N,); the greater, the likelier it is bought next."""
        return np.asarray(((damped(candidates) - self.mean) / self.scale) @ self.weight, np.float64)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "weight": self.weight.tolist()}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> LinearBlend:
        """The inverse of `to_json`."""
        return cls(*(np.asarray(told[name], np.float64) for name in ("mean", "scale", "weight")))


def damped(candidates: Candidates) -> Floats:
    """Evidence of comparable spread, (N, D): logarithms of counts, strengths and places, without unknowns."""
    column = {name: candidates.column(name).astype(np.float64) for name in (*_COUNTS, *_STRENGTHS, *_RANKS)}
    due = np.nan_to_num(candidates.column("due_item").astype(np.float64), nan=0.01)
    bought = column["bought"] > 0
    columns = [
        *(np.log1p(column[name]) for name in _COUNTS),
        *(np.log1p(100 * column[name]) for name in _STRENGTHS),
        *(-np.log1p(np.nan_to_num(column[name], nan=_FAR)) for name in _RANKS),
        np.nan_to_num(candidates.column("als").astype(np.float64)),
        np.log1p(candidates.column("again").astype(np.float64)),
        bought * np.exp(-np.abs(np.log(np.maximum(due, 0.01)))),  # one when it is exactly due again
        bought.astype(np.float64),
        (column["viewed"] > 0).astype(np.float64),
        np.nan_to_num(candidates.column("category_share").astype(np.float64)),
    ]
    return np.column_stack(columns)
