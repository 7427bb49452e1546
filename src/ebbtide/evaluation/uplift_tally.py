"""Treated and untreated users counted along a ranking: the one form from which every uplift metric is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import InputError
from ebbtide.evaluation.tally import Vector


@dataclass(frozen=True)
class UpliftTally:
    """Running totals along the ranking in each of D draws, each (D, G + 1), from 0 at nobody to everybody.

    treated, control: how many users of each arm stand at or above each distinct score; treated_y, control_y: the sum
    of their outcomes.
    """

    treated: Vector
    control: Vector
    treated_y: Vector
    control_y: Vector

    @property
    def users(self) -> Vector:
        """Users at or above each distinct score, (D, G + 1)."""
        return self.treated + self.control

    def at(self, shares: Vector) -> UpliftTally:
        """The totals at the top `shares` (K,) of users, each (D, K). Users of equal score are taken in part."""
        users = self.users
        grids = users[:, -1:] * shares

        def read(totals: Vector) -> Vector:
            return np.array([np.interp(g, u, t) for g, u, t in zip(grids, users, totals, strict=True)])

        return UpliftTally(read(self.treated), read(self.control), read(self.treated_y), read(self.control_y))


class UpliftRanking:
    """Rows sorted once by descending score, ready to be counted under any weights.

    y (N,) outcomes, 0/1 or money; score (N,) equal ones tie; treated (N,) 1 or 0; weight (N,) what a row counts, for
    users who were treated with different chances (the inverse of the chance of their own arm); default 1.
    Raises InputError if the arrays differ in length, are empty, hold anything but numbers, or only one arm.
    """

    def __init__(
        self, y: NDArray[Any], score: NDArray[Any], treated: NDArray[Any], weight: NDArray[Any] | None = None
    ) -> None:
        outcome, ranked_by, arm = check_arms(y, score, treated)
        self._order = np.argsort(-ranked_by, kind="stable")
        ranked = ranked_by[self._order]
        self._starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self._y, self._arm = outcome[self._order], arm[self._order]
        self._weight = None if weight is None else np.asarray(weight, np.float64)[self._order]

    def count(self, weights: Vector | None = None) -> UpliftTally:
        """Count rows `weights` (D, N) times each; without weights, once: D = 1."""
        rows = np.ones((1, len(self._order))) if weights is None else weights[:, self._order]
        if self._weight is not None:
            rows = rows * self._weight
        treated = rows * self._arm
        control = rows - treated
        return UpliftTally(*(self._totals(part) for part in (treated, control, treated * self._y, control * self._y)))

    def _totals(self, rows: Vector) -> Vector:
        """Running sums of (D, N) in score order over distinct scores, (D, G + 1)."""
        merged = rows if len(self._starts) == rows.shape[1] else np.add.reduceat(rows, self._starts, axis=1)
        out: Vector = np.zeros((len(rows), merged.shape[1] + 1))
        np.cumsum(merged, axis=1, out=out[:, 1:])
        return out


def check_arms(y: NDArray[Any], score: NDArray[Any], treated: NDArray[Any]) -> tuple[Vector, Vector, Vector]:
    """Outcomes, scores and arms as float64 vectors. Raises InputError as said at `UpliftRanking`."""
    columns = tuple(np.asarray(c, np.float64) for c in (y, score, treated))
    outcome, ranked_by, arm = columns
    if outcome.ndim != 1 or len({c.shape for c in columns}) != 1:
        shapes = ", ".join(str(c.shape) for c in columns)
        raise InputError(
            f"outcomes, scores and arms must be three columns of equal length; they have shapes {shapes}",
            f"结果、分数与分组必须是等长的三列；实际形状为 {shapes}",
        )
    unfit = int(np.sum(~(np.isfinite(outcome) & np.isfinite(ranked_by))))
    if unfit:
        raise InputError(
            f"outcomes and scores must be numbers; {unfit} rows lack one", f"结果与分数必须是数字；有 {unfit} 行缺失"
        )
    odd = int(np.sum((arm != 0) & (arm != 1)))
    if odd:
        raise InputError(
            f"the arm must be 1 (treated) or 0 (control); {odd} rows hold something else",
            f"分组必须为 1（处理）或 0（对照）；有 {odd} 行不是",
        )
    if not 0 < arm.sum() < len(arm):
        raise InputError(
            f"uplift needs treated and control users; there are {int(arm.sum())} treated of {len(arm)}",
            f"评估增益需要处理组与对照组；{len(arm)} 行中处理组为 {int(arm.sum())} 行",
        )
    return outcome, ranked_by, arm
