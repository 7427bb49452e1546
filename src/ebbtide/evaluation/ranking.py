"""How well scores order users: AUROC, average precision, lift and gain.

Functions named `..._of` take a `Tally` and answer once a draw, (D,); the others take outcomes and scores. A metric
that is undefined (nobody churned, or everybody did) is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.evaluation.tally import Tally, Vector, ratio, tally


def auroc(y: NDArray[Any], p: NDArray[Any]) -> float:
    """The chance that a churned user scores above a retained one; equal scores count one half.

    >>> auroc(np.array([1, 0, 1, 0]), np.array([0.9, 0.9, 0.5, 0.1]))
    0.625
    """
    return float(auroc_of(tally(y, p))[0])


def average_precision(y: NDArray[Any], p: NDArray[Any]) -> float:
    """Precision averaged over the recall gained at each distinct score, as in scikit-learn.

    >>> average_precision(np.array([1, 0, 1]), np.array([0.9, 0.5, 0.1])) == (1 + 2 / 3) / 2
    True
    """
    return float(average_precision_of(tally(y, p))[0])


def lift(y: NDArray[Any], p: NDArray[Any], *, share: float = 0.1) -> float:
    """Churn rate among the top `share` of users over the base rate; at least one user, ties share their average.

    >>> lift(np.array([1, 1, 0, 0]), np.array([0.9, 0.8, 0.2, 0.1]), share=0.5)
    2.0
    """
    return float(lift_of(tally(y, p), share)[0])


def auroc_of(t: Tally) -> Vector:
    """AUROC of each draw, (D,)."""
    churned, retained = t.churned.sum(1), t.retained.sum(1)
    below = retained[:, None] - np.cumsum(t.retained, axis=1)
    return ratio(np.sum(t.churned * (below + t.retained / 2), axis=1), churned * retained)


def average_precision_of(t: Tally) -> Vector:
    """Average precision of each draw, (D,)."""
    precision = ratio(np.cumsum(t.churned, axis=1), np.cumsum(t.total, axis=1))
    return ratio(np.sum(np.where(t.churned > 0, precision * t.churned, 0.0), axis=1), t.churned.sum(1))


def lift_of(t: Tally, share: float) -> Vector:
    """Lift at the top `share` of each draw, (D,)."""
    total = t.total
    size = total.sum(1)
    top = np.maximum(1.0, np.round(share * size))
    taken = np.clip(top[:, None] - (np.cumsum(total, axis=1) - total), 0, total)
    hits = np.sum(np.where(taken > 0, t.churned * ratio(taken, total), 0.0), axis=1)
    return ratio(hits * size, top * t.churned.sum(1))


def gain_of(t: Tally, shares: Vector) -> Vector:
    """Share of all churned users found among the top `shares` (K,) of users, for each draw, (D, K).

    Between two distinct scores the curve is straight: users of equal score are taken in random order.
    """
    users = np.cumsum(t.total, axis=1)
    found = np.cumsum(t.churned, axis=1)
    curve = np.full((len(users), len(shares)), np.nan)
    for draw in np.flatnonzero(found[:, -1] > 0):
        grid = shares * users[draw, -1]
        curve[draw] = np.interp(grid, np.r_[0, users[draw]], np.r_[0, found[draw]]) / found[draw, -1]
    return curve
