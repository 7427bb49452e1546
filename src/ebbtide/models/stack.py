"""The stack: a weighted sum of models in log-odds, so that exact contributions stay exact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ebbtide.models.base import Matrix, Model, Rows, Vector

_PULL = 50.0
_LEAST_WEIGHT = 0.02
_FADING = 0.6


class StackModel:
    """`margin = sum of weight * margin` over its members. A single model is a stack of one with weight 1."""

    name: ClassVar[str] = "stack"

    def __init__(self, members: Sequence[Model], weights: Sequence[float]) -> None:
        self.members = list(members)
        self.weights = [float(w) for w in weights]

    def fit(self, rows: Rows, *, seed: int) -> StackModel:
        """Fit every member on all rows; the weights stay."""
        for member in self.members:
            member.fit(rows, seed=seed)
        return self

    def margin(self, X: Matrix) -> Vector:
        """Log-odds of churn, (N,)."""
        return np.asarray(sum(w * m.margin(X) for w, m in zip(self.weights, self.members, strict=True)))

    def contributions(self, X: Matrix) -> Vector:
        """Exact terms, (N, F + 1): each row sums to its margin."""
        terms = zip(self.weights, self.members, strict=True)
        return np.asarray(sum(w * m.contributions(X) for w, m in terms))

    def save(self, folder: Path) -> None:
        """A folder a member, and their weights."""
        folder.mkdir(parents=True, exist_ok=True)
        for member in self.members:
            member.save(folder / member.name)
        weights = {m.name: w for m, w in zip(self.members, self.weights, strict=True)}
        (folder / "stack.json").write_text(json.dumps(weights, indent=1), encoding="utf-8")


def fit_weights(margins: Vector, y: Vector, group: NDArray[np.int64], prior: Vector) -> Vector:
    """Non-negative weights of K models that explain held-out outcomes best, (K,).

    `margins` (K, N): margins of rows that the models had not learnt from; `group` (N,): the moment of each row, which
    gets an intercept of its own, so that a moving base rate rewards nobody. Logistic likelihood with a normal prior
    around `prior` (K,): with few rows the weights stay near it (stacked regressions, Breiman 1996). Each older moment
    counts 0.6 times the next, because its models had less to learn from. Weights below 0.02 become 0.
    """
    _, place = np.unique(group, return_inverse=True)
    count, k = int(place.max()) + 1, len(margins)

    faded = (_FADING ** np.arange(count)[::-1])[place]

    def loss(point: Vector) -> tuple[float, Vector]:
        odds = point[:k] @ margins + point[k:][place]
        pull = point[:k] - prior
        residual = faded * (1 / (1 + np.exp(-np.clip(odds, -60, 60))) - y)
        value = float(np.sum(faded * (np.logaddexp(0, odds) - y * odds)) + 0.5 * _PULL * pull @ pull)
        gradient = np.r_[margins @ residual + _PULL * pull, np.bincount(place, residual, count)]
        return value, gradient

    bounds = [(0.0, None)] * k + [(-20.0, 20.0)] * count
    found = minimize(loss, np.r_[prior, np.zeros(count)], jac=True, method="L-BFGS-B", bounds=bounds)
    weights = found.x[:k]
    return np.where(weights < _LEAST_WEIGHT, 0.0, weights) if weights.max() >= _LEAST_WEIGHT else prior
