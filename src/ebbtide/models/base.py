"""The one protocol behind which every model stands: rows in, log-odds of churn out, exact contributions beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Cohort members at one or more moments, N rows, F columns.

    X (N, F) float32, NaN = unknown; y (N,) 1 churned, 0 retained; as_of_us (N,) UTC microseconds;
    user (N,) a stable hash of the user; names (F,) column names. `embargo_us`: how long after its as_of a row's
    label is known (gap + horizon). Rows stand in the order (as_of, user), so that fits do not depend on the lake.
    """

    X: Matrix
    y: Vector
    as_of_us: NDArray[np.int64]
    user: NDArray[np.uint64]
    names: tuple[str, ...]
    embargo_us: int = 0

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> Rows:
        """The rows at `index`, a mask or positions."""
        return replace(self, X=self.X[index], y=self.y[index], as_of_us=self.as_of_us[index], user=self.user[index])

    def moments(self) -> NDArray[np.int64]:
        """The distinct moments, oldest first."""
        return np.unique(self.as_of_us)

    def known_at(self, moment_us: int) -> Rows:
        """The rows whose label was known at `moment_us`: the ones that a model fitted then may learn from."""
        return self.take(self.as_of_us + self.embargo_us <= moment_us)

    def at(self, moment_us: int) -> Rows:
        """The rows of one moment."""
        return self.take(self.as_of_us == moment_us)

    def column(self, name: str) -> Matrix:
        """One column, (N,)."""
        return self.X[:, self.names.index(name)]


class Model(Protocol):
    """A churn model over tabular rows.

    `margin` is the model's log-odds of churn, (N,). `contributions` is (N, F + 1): exact terms, one a column, the
    last one the base value; each row sums to its margin within 1e-6. A fitted model is saved as text or JSON in a
    folder of its own, never pickled.
    """

    name: ClassVar[str]

    def fit(self, rows: Rows, *, seed: int) -> Self: ...

    def margin(self, X: Matrix) -> Vector: ...

    def contributions(self, X: Matrix) -> Vector: ...

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


def sigmoid(margin: Vector) -> Vector:
    """Log-odds to probability, stable at both ends.

    >>> sigmoid(np.array([0.0, -1000.0])).tolist()
    [0.5, 0.0]
    """
    return np.where(margin >= 0, 1.0, np.exp(-np.abs(margin))) / (1.0 + np.exp(-np.abs(margin)))


def logit(probability: Vector, *, floor: float = 1e-6) -> Vector:
    """Probability to log-odds, clipped to `[floor, 1 - floor]`."""
    p = np.clip(probability, floor, 1 - floor)
    return np.asarray(np.log(p) - np.log1p(-p))
