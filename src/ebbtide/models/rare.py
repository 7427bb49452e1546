"""More rows of the rare class, made up from training rows: between near neighbours (SMOTE: Chawla et al. 2002).

Made on the scale of `Basis`, where distances mean something, and brought back to the columns' own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.settings import AugmentConfig
from ebbtide.models.base import Matrix, Rows
from ebbtide.models.basis import Basis, signed_log
from ebbtide.models.makers import deep

_NEIGHBOURS = 5
_MOST_SEEN = 4000
_BLOCK = 500
_TINY = 1e-12


def with_more_rare(rows: Rows, config: AugmentConfig, *, seed: int) -> Rows:
    """The rows and so many made-up ones that the rarer class has the share `rare_share`; the same rows if it has that
    already, if it has fewer than 2, or if `rare` is none.

    A made-up row stands beside one that it was made from: same user, same moment, same label. No sequences.
    """
    rare = 1.0 if 2 * rows.y.sum() <= len(rows) else 0.0
    own = np.flatnonzero(rows.y == rare)
    count = int(np.ceil((config.rare_share * len(rows) - len(own)) / (1 - config.rare_share)))
    if config.rare == "none" or len(own) < 2 or count <= 0:
        return rows
    rng = np.random.default_rng(seed)
    scale = RareScale.of(rows.X)
    seen = own if len(own) <= _MOST_SEEN else np.sort(rng.choice(own, _MOST_SEEN, replace=False))
    beside = rng.choice(seen, count)  # (count,) places in rows
    if config.rare == "gan":
        made = deep("tabular_gan", "imagined_rows")(scale.to_scale(rows.X[own]), count, seed=seed)
    else:
        made = between_neighbours(scale.to_scale(rows.X[seen]), np.searchsorted(seen, beside), rng)
    more = replace(rows.take(beside), X=scale.from_scale(made, rows.X[beside]), sequences=None)
    whole = Rows(
        X=np.vstack([rows.X, more.X]),
        y=np.r_[rows.y, more.y],
        as_of_us=np.r_[rows.as_of_us, more.as_of_us],
        user=np.r_[rows.user, more.user],
        names=rows.names,
        embargo_us=rows.embargo_us,
        stayed_us=None if rows.stayed_us is None else np.r_[rows.stayed_us, more.stayed_us],
    )
    return whole.take(np.lexsort((whole.user, whole.as_of_us)))


@dataclass(frozen=True)
class RareScale:
    """Columns to the scale of `Basis` and back, one to one inside the range of the training rows.

    `whole` (F,): columns that hold whole numbers only, and so do made-up rows.
    """

    basis: Basis
    whole: NDArray[np.bool_]

    @classmethod
    def of(cls, X: Matrix) -> RareScale:
        """Learn from training rows (N, F)."""
        fractions = np.fmax.reduce(np.abs(X - np.rint(X)), axis=0, initial=0.0)
        return cls(Basis.fit(X), fractions == 0)

    def to_scale(self, X: Matrix) -> Matrix:
        """(N, F), standardised; NaN stays; a column that is constant in training is 0."""
        u = np.clip(signed_log(X), self.basis.low, self.basis.high)
        return ((u - self.basis.mean) / np.maximum(self.basis.scale, _TINY) * (self.basis.scale > 0)).astype(np.float32)

    def from_scale(self, z: Matrix, beside: Matrix) -> Matrix:
        """(N, F) in the columns' own units, within their ranges; `beside` (N, F) gives the constant columns."""
        u = np.clip(z * self.basis.scale + self.basis.mean, self.basis.low, self.basis.high)
        X = np.copysign(np.expm1(np.abs(u)), u)
        X = np.where(self.whole, np.rint(X), X)
        return np.where(self.basis.scale > 0, X, beside).astype(np.float32)


def between_neighbours(z: Matrix, start: NDArray[np.int64], rng: np.random.Generator) -> Matrix:
    """A row for each place in `start`: somewhere on the way from z[start] to one of its 5 nearest neighbours.

    z (N, F), standardised; a cell that is unknown at the start stays so, and one that is unknown at the other end does
    not move. Distances count an unknown cell as the mean.
    """
    filled = np.nan_to_num(z, nan=0.0)
    near = _nearest(filled, min(_NEIGHBOURS, len(z) - 1))  # (N, K)
    other = near[start, rng.integers(0, near.shape[1], len(start))]  # (count,)
    way = rng.random((len(start), 1), dtype=np.float32)  # (count, 1)
    step = np.nan_to_num(z[other] - z[start], nan=0.0)
    made: Matrix = z[start] + way * step
    return made


def _nearest(z: Matrix, count: int) -> NDArray[np.int64]:
    """The nearest other rows of each row, (N, count)."""
    square = np.square(z).sum(axis=1)
    found = np.empty((len(z), count), np.int64)
    for first in range(0, len(z), _BLOCK):
        part = slice(first, first + _BLOCK)
        distance = square[part, None] + square - 2 * z[part] @ z.T  # (block, N)
        distance[np.arange(len(distance)), np.arange(first, first + len(distance))] = np.inf
        found[part] = np.argpartition(distance, count - 1, axis=1)[:, :count]
    return found
