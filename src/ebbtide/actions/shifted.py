"""A learner of uplift with one number a treatment: every user's odds of the outcome are multiplied by the same factor.

Who is changed most is then who wavers most, p (1 - p). It needs by far the least data, since the base is learnt from all
arms together and nothing else from differences between them; it finds nothing that is not of this form. For money, the
expected outcome is multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from ebbtide.actions.boosters import Boosted, TreeSizes, boost
from ebbtide.actions.trial import Trial, folds_of
from ebbtide.models.base import Matrix, Vector
from ebbtide.models.sealed import read_json, write_json

_FARTHEST = 5.0
_FOLDS = 3


@dataclass(frozen=True)
class Shifted:
    """`shifts` (K,): of the log-odds of each arm, control first; for money (`model` not binary), the logarithms of
    factors."""

    kind: ClassVar[str] = "shifted"
    model: Boosted
    shifts: tuple[float, ...]

    def expected(self, X: Matrix) -> Vector:
        """The expectation under each arm, (N, K)."""
        base = self.model.predict(X)
        return np.column_stack([_moved(base, shift, binary=self.model.binary) for shift in self.shifts])

    def effects(self, X: Matrix) -> Vector:
        """(N, K - 1)."""
        expected = self.expected(X)
        return np.asarray(expected[:, 1:] - expected[:, :1])

    def save(self, folder: Path) -> None:
        """The trees and the shifts."""
        self.model.save(folder / "model-00")
        write_json(folder / "shifted.json", {"shifts": self.shifts})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        return cls(Boosted.load(folder / "model-00"), tuple(read_json(folder / "shifted.json")["shifts"]))


def fit_shifted(trial: Trial, sizes: TreeSizes, seed: int) -> Shifted:
    """The base from all arms; the shifts from base expectations of users whom the base had not seen."""
    fold = folds_of(trial.user, trial.arm, folds=_FOLDS, seed=seed)
    base = np.empty(len(trial))
    for number in range(_FOLDS):
        learnt = trial.take(fold != number)
        fitted = boost(learnt.X, learnt.y, learnt.weight, sizes=sizes, seed=seed, binary=trial.is_binary)
        base[fold == number] = fitted.predict(trial.X[fold == number])
    model = boost(trial.X, trial.y, trial.weight, sizes=sizes, seed=seed, binary=trial.is_binary)
    shifts = [_shift_of(trial, base, arm) for arm in range(len(trial.arms))]
    return Shifted(model, tuple(shifts))


def _shift_of(trial: Trial, base: Vector, arm: int) -> float:
    """The shift under which the arm's expected outcomes add up to those that came."""
    rows = trial.arm == arm
    weight, y, expected = trial.weight[rows], trial.y[rows], base[rows]

    def missing(shift: float) -> float:
        return float(weight @ (y - _moved(expected, shift, binary=trial.is_binary)))

    return _root(missing)


def _root(missing: Callable[[float], float]) -> float:
    if missing(-_FARTHEST) <= 0:
        return -_FARTHEST
    if missing(_FARTHEST) >= 0:
        return _FARTHEST
    return float(brentq(missing, -_FARTHEST, _FARTHEST, xtol=1e-10))


def _moved(expected: Vector, shift: float, *, binary: bool) -> Vector:
    """Expectations after the odds, or the money, are multiplied by exp(shift)."""
    if binary:
        return np.asarray(expit(logit(np.clip(expected, 1e-9, 1 - 1e-9)) + shift))
    return np.asarray(np.maximum(expected, 0.0) * np.exp(shift))
