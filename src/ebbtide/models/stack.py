"""The stack: a weighted sum of models in log-odds, so that exact contributions stay exact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ebbtide.models.base import Matrix, Model, Rows, Vector

_PULL = 50.0
_LEAST_WEIGHT = 0.02
_FADING = 0.6


Reads = tuple[tuple[int, int], ...]
"""Ranges of columns, each from `start` to before `stop`; an empty tuple stands for all columns."""


class StackModel:
    """`margin = intercept + sum of weight * margin` over its members. A single model is a stack of one with weight 1.

    `names`: what the members are called in the registry, by default their own names. `reads`: which columns of X each
    member looks at, by default all.
    """

    name: ClassVar[str] = "stack"

    def __init__(
        self,
        members: Sequence[Model],
        weights: Sequence[float],
        *,
        intercept: float = 0.0,
        names: Sequence[str] | None = None,
        reads: Sequence[Reads] | None = None,
    ) -> None:
        self.members = list(members)
        self.weights = [float(w) for w in weights]
        self.intercept = intercept
        self.names = list(names) if names is not None else [m.name for m in members]
        self.reads: list[Reads] = list(reads) if reads is not None else [()] * len(self.members)

    def fit(self, rows: Rows, *, seed: int) -> StackModel:
        """Fit every member on all rows; the weights and the intercept stay."""
        for member, reads in zip(self.members, self.reads, strict=True):
            member.fit(read_rows(rows, reads), seed=seed)
        return self

    def margin(self, X: Matrix) -> Vector:
        """Log-odds of churn, (N,)."""
        parts = zip(self.weights, self.members, self.reads, strict=True)
        return np.asarray(sum((w * m.margin(read(X, reads)) for w, m, reads in parts), self.intercept))

    def contributions(self, X: Matrix) -> Vector:
        """Exact terms, (N, F + 1): each row sums to its margin."""
        out = np.zeros((len(X), X.shape[1] + 1))
        out[:, -1] = self.intercept
        for weight, member, reads in zip(self.weights, self.members, self.reads, strict=True):
            terms, start = member.contributions(read(X, reads)), 0
            for first, stop in reads or ((0, X.shape[1]),):
                out[:, first:stop] += weight * terms[:, start : start + stop - first]
                start += stop - first
            out[:, -1] += weight * terms[:, -1]
        return out

    def save(self, folder: Path) -> None:
        """A folder a member, their weights and the intercept."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, member in zip(self.names, self.members, strict=True):
            member.save(folder / name)
        about = zip(self.names, self.weights, self.reads, strict=True)
        members = {name: {"weight": weight, "reads": reads} for name, weight, reads in about}
        data = {"intercept": self.intercept, "members": members}
        (folder / "stack.json").write_text(json.dumps(data, indent=1), encoding="utf-8")


def read(X: Matrix, reads: Reads) -> Matrix:
    """The columns that a member looks at; no copy for a single range.

    >>> read(np.arange(5.0)[None], ((0, 2), (4, 5))).tolist()
    [[0.0, 1.0, 4.0]]
    """
    if not reads or reads == ((0, X.shape[1]),):
        return X
    parts = [X[:, first:stop] for first, stop in reads]
    return parts[0] if len(parts) == 1 else np.column_stack(parts)


def as_ranges(positions: Sequence[int]) -> Reads:
    """Ascending positions as ranges.

    >>> as_ranges([0, 1, 4])
    ((0, 2), (4, 5))
    """
    ranges: list[tuple[int, int]] = []
    for place in map(int, positions):
        if ranges and ranges[-1][1] == place:
            ranges[-1] = (ranges[-1][0], place + 1)
        else:
            ranges.append((place, place + 1))
    return tuple(ranges)


def read_rows(rows: Rows, reads: Reads) -> Rows:
    """The rows with only these columns."""
    names = tuple(name for first, stop in reads or ((0, len(rows.names)),) for name in rows.names[first:stop])
    return replace(rows, X=read(rows.X, reads), names=names)


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
