"""A linear learner of uplift: one regression of the outcome with the arm, the columns, and each column times the arm.

Chances are modelled on the log-odds scale, so an arm that moves all log-odds alike still moves some chances more than
others. Effects of few columns that simply add up are found with fewer users than trees need.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge

from ebbtide.actions.trial import Trial
from ebbtide.models.base import Matrix, Vector
from ebbtide.models.sealed import read_json, write_json

_LOOSENESS = 0.1
"""Prior variance of a coefficient of a column with spread 1."""
_ARM_SCALE = 5.0
_INTERACTION_SPREAD = 4.0
"""Root of the prior variance of the whole interaction, whatever the number of columns, over that of one column."""
_FARTHEST = 4.0


@dataclass(frozen=True)
class Linear:
    """Columns less `centre`, over `spread`, cut at 4, unknown 0: base (F,), arm (K - 1,) and interaction (K - 1, F)
    coefficients; shares (K - 1,) of the treatments, at which the base stands."""

    kind: ClassVar[str] = "linear"
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    intercept: float
    base: tuple[float, ...]
    arm: tuple[float, ...]
    interaction: tuple[tuple[float, ...], ...]
    shares: tuple[float, ...]
    binary: bool

    def expected(self, X: Matrix) -> Vector:
        """The expectation under each arm, (N, K)."""
        Z = standardised(X, np.array(self.centre), np.array(self.spread))
        moved = np.array(self.arm) + Z @ np.array(self.interaction).T
        control = self.intercept + Z @ np.array(self.base) - moved @ np.array(self.shares)
        margin = control[:, None] + np.column_stack([np.zeros(len(Z)), moved])
        return np.asarray(expit(margin) if self.binary else margin)

    def effects(self, X: Matrix) -> Vector:
        """(N, K - 1)."""
        expected = self.expected(X)
        return np.asarray(expected[:, 1:] - expected[:, :1])

    def save(self, folder: Path) -> None:
        """All of it as JSON."""
        write_json(folder / "linear.json", vars(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        told = read_json(folder / "linear.json")
        rows = tuple(tuple(r) for r in told.pop("interaction"))
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
        return cls(interaction=rows, **plain)


def fit_linear(trial: Trial) -> Linear:
    """Fit by ridge. The interactions together have the same prior spread however many columns there are."""
    X = trial.X.astype(np.float64)
    known = np.isfinite(X)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, X, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, X - centre, 0.0) ** 2).sum(axis=0) / count)
    spread = np.where(spread > 0, spread, 1.0)
    Z = standardised(trial.X, centre, spread)
    shares = trial.shares[1:]
    switched = (trial.arm[:, None] == np.arange(1, len(trial.arms))) - shares
    scale = _INTERACTION_SPREAD / np.sqrt(max(Z.shape[1], 1))
    D = np.hstack([Z, _ARM_SCALE * switched, *(scale * switched[:, [a]] * Z for a in range(len(shares)))])
    binary = trial.is_binary and 0 < trial.y.sum() < len(trial)
    if binary:
        model = LogisticRegression(C=_LOOSENESS, tol=1e-3, max_iter=2000)
        model.fit(D, trial.y, sample_weight=trial.weight)
        found, intercept = model.coef_[0], float(model.intercept_[0])
    else:
        noise = max(float(trial.y.var()), 1e-12)
        ridge = Ridge(alpha=1 / _LOOSENESS, tol=1e-8)
        ridge.fit(D, trial.y / np.sqrt(noise), sample_weight=trial.weight)
        found, intercept = ridge.coef_ * np.sqrt(noise), float(ridge.intercept_) * float(np.sqrt(noise))
    F, T = Z.shape[1], len(shares)
    return Linear(
        centre=_plain(centre),
        spread=_plain(spread),
        intercept=intercept,
        base=_plain(found[:F]),
        arm=_plain(_ARM_SCALE * found[F : F + T]),
        interaction=tuple(_plain(row) for row in scale * found[F + T :].reshape(T, F)),
        shares=_plain(shares),
        binary=binary,
    )


def standardised(X: Matrix, centre: Vector, spread: Vector) -> Vector:
    """(N, F): in spreads from the centre, at most 4; 0 where unknown."""
    Z = np.clip((X.astype(np.float64) - centre) / spread, -_FARTHEST, _FARTHEST)
    return np.asarray(np.nan_to_num(Z, nan=0.0))


def _plain(values: Vector) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
