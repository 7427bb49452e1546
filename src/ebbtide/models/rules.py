"""The two rules of thumb that every shop knows: who has been away long, and who has ordered seldom.

A rule ranks by one number; a one-variable logistic fit, whose slope cannot turn round, maps its logarithm to log-odds
of churn. They are the baselines that a learnt model must beat.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from ebbtide.core.errors import InputError
from ebbtide.models.base import Matrix, Rows, Vector
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.shapley import shapley_few
from ebbtide.models.trainable import check_trainable


class _Rule:
    """A rule over a few columns: `_score` grows with the risk. An unknown value counts as the training median."""

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.line = AffineCalibration()
        self.positions: tuple[int, ...] = tuple(range(len(self.columns)))
        self.reference = np.zeros(len(self.columns))

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Fit the one slope and intercept. `seed` is unused: nothing is random.

        Raises InputError if a column is missing, DataError if the rows cannot be learnt from.
        """
        check_trainable(rows)
        missing = [c for c in self.columns if c not in rows.names]
        if missing:
            raise InputError(
                "the {rule} rule needs the columns {columns}, which are not there",
                "{rule} 规则需要列 {columns}，但没有找到",
                rule=self.name,
                columns=", ".join(missing),
            )
        self.positions = tuple(rows.names.index(c) for c in self.columns)
        own = rows.X[:, self.positions].astype(np.float64)
        known = own[np.isfinite(own).all(axis=1)]
        if len(known):
            self.reference = np.quantile(known, 0.5, axis=0, method="lower")
        self.line = AffineCalibration.fit(self._score(self._filled(rows.X)), rows.y, slope_spread=3.0)
        return self

    def margin(self, X: Matrix) -> Vector:
        """Log-odds of churn, (N,)."""
        return self._margin(self._filled(X))

    def contributions(self, X: Matrix) -> Vector:
        """Exact Shapley terms over the rule's own columns, (N, F + 1); zero for all others."""
        shares, base = shapley_few(self._margin, self._filled(X), self.reference)
        out = np.zeros((len(X), X.shape[1] + 1))
        out[:, self.positions] = shares
        out[:, -1] = base
        return out

    def save(self, folder: Path) -> None:
        """One JSON file."""
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "line": self.line.to_json(),
            "positions": list(self.positions),
            "reference": self.reference.tolist(),
        }
        (folder / "rule.json").write_text(json.dumps(data, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        data = json.loads((folder / "rule.json").read_text(encoding="utf-8"))
        model = cls()
        model.line = AffineCalibration.from_json(data["line"])
        model.positions, model.reference = tuple(data["positions"]), np.array(data["reference"])
        return model

    def _filled(self, X: Matrix) -> Vector:
        own = X[:, self.positions].astype(np.float64)
        return np.where(np.isfinite(own), own, self.reference)

    def _margin(self, columns: Vector) -> Vector:
        return self.line.apply(self._score(columns))

    def _score(self, columns: Vector) -> Vector:
        raise NotImplementedError


class RecencyModel(_Rule):
    """Rank by the days since the last outcome day: the longer away, the likelier gone."""

    name: ClassVar[str] = "recency"
    columns: ClassVar[tuple[str, ...]] = ("outcome_last_age_days", "outcome_age_days")

    def _score(self, columns: Vector) -> Vector:
        return np.asarray(np.log1p(np.maximum(columns[:, 1] - columns[:, 0], 0.0)))


class FrequencyModel(_Rule):
    """Rank by the number of outcome days: the fewer, the likelier gone."""

    name: ClassVar[str] = "frequency"
    columns: ClassVar[tuple[str, ...]] = ("outcome_repeat_days",)

    def _score(self, columns: Vector) -> Vector:
        return np.asarray(-np.log1p(np.maximum(columns[:, 0], 0.0)))
