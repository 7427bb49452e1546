"""Scores and outcomes counted together: the one form from which every metric is computed.

A metric of this folder does not depend on the order of rows, and users with equal scores are exchangeable. So it is
a function of how many churned and how many retained users stand at each distinct score, and a bootstrap draw only
changes those counts.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import InputError

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """Counts at each distinct score in each of D draws: score (G,) descending, churned (D, G), retained (D, G)."""

    score: Vector
    churned: Vector
    retained: Vector

    @property
    def total(self) -> Vector:
        """Users at each score, (D, G)."""
        return self.churned + self.retained


class Ranking:
    """Rows sorted once by descending score, ready to be counted under any weights.

    y (N,) 1 churned, 0 retained; p (N,) scores, equal ones tie.
    Raises InputError if the arrays differ in length, are empty, or hold anything but 0 and 1, or finite scores.
    """

    def __init__(self, y: NDArray[Any], p: NDArray[Any]) -> None:
        outcome, score = check_scores(y, p)
        self._order = np.argsort(-score, kind="stable")
        ranked = score[self._order]
        self._churned = outcome[self._order]
        self._starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self.score = ranked[self._starts]

    def merged(self, *, limit: int = 2000, keep: float | None = None) -> Ranking:
        """The same rows with neighbouring scores merged into about `limit` cells, each with its mean score.

        For bootstrap draws over many rows, whose cost it bounds: within a cell of 1 / 2000 of the scores order hardly
        matters (AUROC moves by less than 1e-5, average precision by less than 5e-4). No cell straddles the score `keep`.
        """
        count = len(self.score)
        if count <= limit:
            return self
        first = np.arange(limit) * count // limit
        if keep is not None:
            first = np.union1d(first, np.searchsorted(-self.score, -keep, side="right"))
        first = first[first < count]
        rows = np.diff(np.r_[self._starts, len(self._order)])
        cells = copy.copy(self)
        cells.score = np.add.reduceat(self.score * rows, first) / np.add.reduceat(rows, first)
        cells._starts = self._starts[first]
        return cells

    def count(self, weights: Vector | None = None) -> Tally:
        """Count rows `weights` (D, N) times each; without weights, once: D = 1."""
        ordered = np.ones((1, len(self._order))) if weights is None else weights[:, self._order]
        churned = ordered * self._churned
        return Tally(self.score, self._merge(churned), self._merge(ordered - churned))

    def _merge(self, rows: Vector) -> Vector:
        """Sum (D, N) in score order over equal scores, (D, G)."""
        if len(self._starts) == rows.shape[1]:
            return rows
        return np.asarray(np.add.reduceat(rows, self._starts, axis=1))


def tally(y: NDArray[Any], p: NDArray[Any]) -> Tally:
    """Count each row once.

    >>> t = tally(np.array([1, 0, 1]), np.array([0.9, 0.2, 0.2]))
    >>> t.score.tolist(), t.churned.tolist(), t.retained.tolist()
    ([0.9, 0.2], [[1.0, 1.0]], [[0.0, 1.0]])
    """
    return Ranking(y, p).count()


def check_scores(y: NDArray[Any], p: NDArray[Any]) -> tuple[Vector, Vector]:
    """Outcomes and scores as float64 vectors. Raises InputError as said at `Ranking`."""
    outcome, score = np.asarray(y, np.float64), np.asarray(p, np.float64)
    if outcome.ndim != 1 or outcome.shape != score.shape:
        raise InputError(
            f"outcomes and scores must be two columns of equal length; they have shapes {outcome.shape} and "
            f"{score.shape}",
            f"结果与分数必须是等长的两列；实际形状为 {outcome.shape} 与 {score.shape}",
        )
    if not len(outcome):
        raise InputError("there is nothing to evaluate: no row has a known outcome", "没有可评估的行：没有已知结果")
    wrong = int(np.sum((outcome != 0) & (outcome != 1)))
    if wrong:
        raise InputError(
            f"outcomes must be 1 (churned) or 0 (retained); {wrong} rows hold something else: leave out rows without "
            "a label",
            f"结果必须为 1（流失）或 0（留存）；有 {wrong} 行不是：请去掉没有标签的行",
        )
    unfit = int(np.sum(~np.isfinite(score)))
    if unfit:
        raise InputError(f"scores must be numbers; {unfit} rows have none", f"分数必须是数字；有 {unfit} 行缺失")
    return outcome, score


def check_probabilities(p: NDArray[Any]) -> None:
    """Raise InputError unless every value lies in [0, 1]."""
    outside = int(np.sum((np.asarray(p) < 0) | (np.asarray(p) > 1)))
    if outside:
        raise InputError(
            f"probabilities must lie between 0 and 1; {outside} rows lie outside",
            f"概率必须在 0 与 1 之间；有 {outside} 行超出范围",
        )


def ratio(above: Vector, below: Vector) -> Vector:
    """`above / below`, NaN where `below` is zero: an undefined metric, not a warning."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    out: Vector = np.full(shape, np.nan)
    np.divide(above, below, out=out, where=np.broadcast_to(below, shape) != 0)
    return out
