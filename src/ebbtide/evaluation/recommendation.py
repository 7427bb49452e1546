"""How good lists of recommendations were: recall and NDCG of each user, and their means with intervals.

A list is a row of `shown` (U, K): item numbers, best first, -1 where the list is shorter. What each user then did is
`start` (U + 1,) and `wanted`: user u's distinct items are `wanted[start[u]:start[u + 1]]`. A user who did nothing is
undefined (NaN) and counts in no mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import InputError
from ebbtide.evaluation.intervals import Estimate, draw_weights
from ebbtide.evaluation.tally import Vector

Ints = NDArray[np.int64]


def hits(shown: Ints, start: Ints, wanted: Ints) -> NDArray[np.bool_]:
    """Which shown items were wanted, (U, K).

    >>> hits(np.array([[3, 1, -1]]), np.array([0, 2]), np.array([1, 7])).tolist()
    [[False, True, False]]

    Raises InputError if lists and wants are not of the same users.
    """
    if len(shown) != len(start) - 1:
        raise InputError("lists and wants are of different users", "推荐列表与实际行为的用户数不一致")
    items = int(max(shown.max(initial=0), wanted.max(initial=0))) + 1
    user = np.repeat(np.arange(len(shown)), np.diff(start))
    asked = np.arange(len(shown))[:, None] * items + np.maximum(shown, 0)
    return np.isin(asked, user * items + wanted) & (shown >= 0)


def recall_at(shown: Ints, start: Ints, wanted: Ints, k: int = 10) -> Vector:
    """Share of what each user wanted that is among the first `k` shown, (U,): of 20 wanted items at most half can be.

    >>> recall_at(np.array([[3, 1], [5, 6]]), np.array([0, 2, 2]), np.array([1, 7]), 2).tolist()
    [0.5, nan]
    """
    size = np.diff(start)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, hits(shown[:, :k], start, wanted).sum(1) / size, np.nan)


def ndcg_at(shown: Ints, start: Ints, wanted: Ints, k: int = 10) -> Vector:
    """Discounted gain of the first `k` over the best possible, (U,): a hit at place p counts 1 / log2(p + 1).

    Source: Jaervelin and Kekaelaeinen 2002, with gains of 0 and 1.

    >>> ndcg_at(np.array([[7, 3]]), np.array([0, 1]), np.array([7]), 2).tolist()
    [1.0]
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    found = hits(shown[:, :k], start, wanted)
    best = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(np.diff(start), k)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(best > 0, found @ discount[: found.shape[1]] / best, np.nan)


def mean_estimate(value: Vector, *, draws: int = 1000, seed: int = 0) -> Estimate:
    """The mean over users whose value is defined, with its 95 % bootstrap interval. For a paired difference give the
    difference of the two values of each user.

    >>> mean_estimate(np.array([0.5, 0.5, np.nan])).to_json()
    {'value': 0.5, 'low': 0.5, 'high': 0.5}
    """
    defined = value[np.isfinite(value)]
    if not len(defined):
        return Estimate(None, None, None)
    means = [w @ defined / len(defined) for w in draw_weights(np.arange(len(defined)), draws=draws, seed=seed)]
    return Estimate.of(float(defined.mean()), np.concatenate(means))
