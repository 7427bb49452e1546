"""Columns put on one scale, for what compares them: logarithms of heavy tails, unknown at the middle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import DataError
from ebbtide.models.base import Matrix

MOST_ROWS = 50_000
"""Rows that the label-free compressions learn from, a stable sample; what they learn does not become finer with more."""
_FARTHEST = 5.0


@dataclass(frozen=True)
class Standard:
    """`kept` (K,): the columns that vary; `centre`, `spread` (K,): of sign(x) log(1 + |x|) over the known values.

    Values lie within 5 spreads; an unknown one is at the centre.
    """

    kept: NDArray[np.int64]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def fit(cls, X: Matrix) -> Self:
        """Learn from (N, F). Raises DataError if no column varies."""
        logs = _logs(X)
        known = np.isfinite(logs)
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, logs, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, logs - centre, 0) ** 2).sum(axis=0) / count)
        kept = np.flatnonzero(spread > 1e-6)
        if not len(kept):
            raise DataError(
                "no column varies, so there is nothing to compress: leave features.unsupervised empty",
                "没有任何列有变化，无可压缩：请将 features.unsupervised 留空",
            )
        return cls(kept, centre[kept], spread[kept])

    def apply(self, X: Matrix) -> NDArray[np.float64]:
        """(N, F) -> (N, K)."""
        scaled = (_logs(X[:, self.kept]) - self.centre) / self.spread
        return np.clip(np.where(np.isfinite(scaled), scaled, 0.0), -_FARTHEST, _FARTHEST)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What to save."""
        return {"kept": self.kept, "centre": self.centre, "spread": self.spread}


def sample_of(X: Matrix, user: NDArray[np.uint64]) -> Matrix:
    """All rows of the users with the smallest hashes, about MOST_ROWS of them."""
    if len(X) <= MOST_ROWS:
        return X
    limit = np.partition(user, MOST_ROWS)[MOST_ROWS]
    return np.asarray(X[user < limit])


def _logs(X: Matrix) -> NDArray[np.float64]:
    wide = X.astype(np.float64)
    return np.asarray(np.sign(wide) * np.log1p(np.abs(wide)))
