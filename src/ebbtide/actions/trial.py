"""What an experiment left behind: who got which arm, with what chance, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ebbtide.models.base import Matrix, Vector

CONTROL = 0


@dataclass(frozen=True)
class Trial:
    """N users, or users at several moments. Arm 0 is control, arms 1 to K - 1 are treatments.

    X (N, F) what was known before the assignment, NaN = unknown; arm (N,) whole numbers; y (N,) outcome, 0/1 or money;
    propensity (N, K) the chance of each arm, rows add up to 1; names (F,); arms (K,) their names; user (N,) whose rows
    are drawn together and stay in one fold.
    """

    X: Matrix
    arm: NDArray[np.int64]
    y: Vector
    propensity: Vector
    names: tuple[str, ...]
    arms: tuple[str, ...]
    user: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def is_binary(self) -> bool:
        """Whether the outcome is yes or no."""
        return bool(np.all((self.y == 0) | (self.y == 1)))

    @property
    def treatments(self) -> range:
        """The arms but control."""
        return range(1, len(self.arms))

    @property
    def shares(self) -> Vector:
        """The mean chance of each arm, (K,)."""
        return np.asarray(self.propensity.mean(axis=0))

    @property
    def weight(self) -> Vector:
        """What a row counts so that the arms are alike: the inverse chance of its own arm times that arm's share, (N,);
        1 where all have the same chances."""
        return np.asarray(self.shares[self.arm] / self.propensity[np.arange(len(self)), self.arm])

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> Trial:
        """The rows at `index`, a mask or positions."""
        return replace(
            self,
            X=self.X[index],
            arm=self.arm[index],
            y=self.y[index],
            propensity=self.propensity[index],
            user=self.user[index],
        )

    def between(self, treatment: int) -> NDArray[np.bool_]:
        """The rows of one treatment and of control, (N,)."""
        return np.asarray((self.arm == treatment) | (self.arm == CONTROL))


def folds_of(user: NDArray[np.uint64], arm: NDArray[np.int64], *, folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each row, (N,): the same for all rows of a user, arms spread evenly, whatever the row order."""
    distinct, first = np.unique(user, return_index=True)
    fold_of = np.empty(len(distinct), np.int64)
    rng = np.random.default_rng(seed)
    for group in np.unique(arm):
        there = np.flatnonzero(arm[first] == group)
        fold_of[there] = rng.permutation(np.arange(len(there)) % folds)
    return np.asarray(fold_of[np.searchsorted(distinct, user)])
