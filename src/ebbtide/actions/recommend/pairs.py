"""Pairs of user and item as sorted numbers, so that sources of candidates can be joined without tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def keys_of(user: Ints, item: Ints, items: int) -> Ints:
    """One number a pair, ascending by user, then item.

    >>> keys_of(np.array([0, 1]), np.array([2, 0]), 10)
    array([ 2, 10])
    """
    return user.astype(np.int64) * items + item


def looked_up(asked: Ints, known: Ints, values: Floats, otherwise: float = 0.0) -> Floats:
    """The value of each asked key (N,) among sorted known ones; `otherwise` where it is not known.

    >>> looked_up(np.array([3, 4]), np.array([1, 3]), np.array([0.5, 0.7]))
    array([0.7, 0. ])
    """
    if not len(known):
        return np.full(len(asked), otherwise)
    at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.where(known[at] == asked, values[at], otherwise)


def best_columns(scores: NDArray[np.float32], count: int) -> Ints:
    """The places of the `count` greatest scores of each row (B, I) -> (B, min(count, I)), in no particular order."""
    count = min(count, scores.shape[1])
    return np.argpartition(scores, scores.shape[1] - count, axis=1)[:, scores.shape[1] - count :]
