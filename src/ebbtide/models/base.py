"""The one protocol behind which every model stands: rows in, log-odds of churn out, exact contributions beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ebbtide.churn.labels import NEVER_US, Moments
from ebbtide.models.exposures import Exposures
from ebbtide.sequences.event_log import Sequences

Matrix = NDArray[np.float32]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Cohort members at one or more moments, N rows, F columns.

    X (N, F) float32, NaN = unknown; y (N,) 1 churned, 0 retained; as_of_us (N,) UTC microseconds;
    user (N,) a stable hash of the user; names (F,) column names. `embargo_us`: how long after its as_of a row's
    label is known (gap + horizon). `stayed_us` (N,): from when on it was known that the user stayed, `NEVER_US` for
    those who churned; None: that was known when the window closed. `sequences`: the events behind each row, where a
    model asked for them. `exposures`: the actions that users got, None where nobody got any or that does not matter any
    more; never a feature. Rows stand in the order (as_of, user), so that fits do not depend on the lake.
    """

    X: Matrix
    y: Vector
    as_of_us: NDArray[np.int64]
    user: NDArray[np.uint64]
    names: tuple[str, ...]
    embargo_us: int = 0
    stayed_us: NDArray[np.int64] | None = None
    sequences: Sequences | None = None
    exposures: Exposures | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> Rows:
        """The rows at `index`, a mask or positions."""
        stayed = None if self.stayed_us is None else self.stayed_us[index]
        events = None if self.sequences is None else self.sequences.take(index)
        as_of, user = self.as_of_us[index], self.user[index]
        taken = replace(self, X=self.X[index], y=self.y[index], as_of_us=as_of, user=user)
        return replace(taken, stayed_us=stayed, sequences=events)

    def widened(self, names: tuple[str, ...], columns: Matrix) -> Rows:
        """With more columns at the end of X."""
        return replace(self, X=np.column_stack([self.X, columns]), names=(*self.names, *names))

    def moments(self) -> NDArray[np.int64]:
        """The distinct moments, oldest first."""
        return np.unique(self.as_of_us)

    def known_at(self, moment_us: int) -> Rows:
        """The rows that a model fitted at `moment_us` may learn from, labelled as then.

        An outcome that arrived later did not count: who was known to stay only after `moment_us` had churned.
        """
        usable = self.take(self.usable_at(moment_us))
        return replace(usable, y=labels_known_at(moment_us, usable.y, usable.stayed_us))

    def usable_at(self, moment_us: int) -> NDArray[np.bool_]:
        """Whose window had closed by `moment_us`, (N,), without those known then to be treated if they are left out."""
        closed = self.as_of_us + self.embargo_us <= moment_us
        if self.exposures is None or self.exposures.rule != "leave_out":
            return closed
        return closed & (self.treated_us() > moment_us)

    def treated_us(self) -> Moments:
        """Since when it is known that an action fell into the row's outcome window, (N,); NEVER_US where none did."""
        if self.exposures is None:
            return np.full(len(self), NEVER_US)
        return self.exposures.known_since(self.user, self.as_of_us, self.embargo_us)

    def untreated(self) -> Rows:
        """The rows by which a risk can be judged: no action is known to have changed their outcome."""
        return self if self.exposures is None else self.take(self.treated_us() == NEVER_US)

    def at(self, moment_us: int) -> Rows:
        """The rows of one moment."""
        return self.take(self.as_of_us == moment_us)

    def column(self, name: str) -> Matrix:
        """One column, (N,)."""
        return self.X[:, self.names.index(name)]


def labels_known_at(moment_us: int, y: Vector, stayed_us: NDArray[np.int64] | None) -> Vector:
    """The labels of closed windows as they stood at `moment_us`, (N,); `y` and `stayed_us` as in `Rows`.

    >>> labels_known_at(20, np.array([1.0, 0.0, 0.0]), np.array([2**62, 20, 21])).tolist()
    [1.0, 0.0, 1.0]
    """
    return y if stayed_us is None else np.where(stayed_us > moment_us, 1.0, y)


class Model(Protocol):
    """A churn model over tabular rows.

    `margin` is the model's log-odds of churn, (N,). `contributions` is (N, F + 1): exact terms, one a column, the
    last one the base value; each row sums to its margin within 1e-6. A fitted model is saved as text or JSON in a
    folder of its own, never pickled.
    """

    @property
    def name(self) -> str: ...

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
