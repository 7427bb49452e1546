"""A model that reads one column and believes it: the log-odds that a column maker has learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import numpy as np

from ebbtide.models.base import Matrix, Rows, Vector


class ReadModel:
    """The margin is the only column it is given, log-odds of churn; unknown counts as the training rows' mean.

    Its contribution is how far the column stands from the training rows' mean; the mean is the base.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.mean = 0.0

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Take the mean. `seed` is unused: nothing is random."""
        known = rows.X[np.isfinite(rows.X[:, 0]), 0]
        self.mean = float(known.mean(dtype=np.float64)) if len(known) else 0.0
        return self

    def margin(self, X: Matrix) -> Vector:
        """Log-odds of churn, (N,)."""
        column = X[:, 0].astype(np.float64)
        return np.where(np.isfinite(column), column, self.mean)

    def contributions(self, X: Matrix) -> Vector:
        """(N, 2): the column's term and the base."""
        return np.column_stack([self.margin(X) - self.mean, np.full(len(X), self.mean)])

    def save(self, folder: Path) -> None:
        """One JSON file."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "read.json").write_text(json.dumps({"name": self.name, "mean": self.mean}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        data = json.loads((folder / "read.json").read_text(encoding="utf-8"))
        model = cls(data["name"])
        model.mean = data["mean"]
        return model
