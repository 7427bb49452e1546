"""Reasons of a model that is neither linear nor trees: its margin shared out over the columns, one walk at a time.

A walk starts at a reference user and takes over the row's values column by column; each step's change of the margin
goes to its column, so that the terms add up exactly whatever the model is. Shapley values are the mean over the walks
of all orders (Castro, Gomez, Tejada 2009); here a few seeded orders stand for all, every second one the reverse of the
one before (antithetic: Mitchell et al. 2022), which is already exact for a margin of single columns and pairs of them.
The orders depend on nothing but the seed and the number of columns, so a row has the same reasons in any company.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ebbtide.models.base import Matrix, Vector

_BLOCK_CELLS = 4_000_000
_SAMPLE_ROWS = 100_000


def permutation_terms(
    margin: Callable[[Matrix], Vector],
    X: Matrix,
    reference: NDArray[np.float32],
    *,
    permutations: int = 4,
    seed: int = 0,
    active: NDArray[np.bool_] | None = None,
) -> Vector:
    """The terms of each row, (N, F + 1), last column the base `margin(reference)`; each row sums to its margin.

    `margin` must give a row the same value in any company. X (N, F), NaN = unknown; `reference` (F,), for example
    `reference_row` of the training rows. `active` (F,) marks the columns that the margin looks at, by default all: the
    others get 0. A column in which a row does not differ from the reference gets 0 and costs nothing; every other one
    costs an evaluation a walk. Memory is bounded whatever N.

    >>> product = lambda X: (X[:, 0] * X[:, 1]).astype(float)
    >>> permutation_terms(product, np.array([[2, 3]], np.float32), np.array([0, 1], np.float32)).tolist()
    [[4.0, 2.0, 0.0]]
    """
    reference = np.asarray(reference, np.float32)
    used = np.flatnonzero(np.ones(len(reference), np.bool_) if active is None else active)
    base = float(margin(reference[None, :])[0])
    out = np.zeros((len(X), len(reference) + 1))
    out[:, -1] = base
    rows = max(1, _BLOCK_CELLS // max(1, len(used) * len(reference)))
    for order in _orders(used, permutations, seed):
        for start in range(0, len(X), rows):
            _walk(margin, X[start : start + rows], reference, order, base, out[start : start + rows], permutations)
    return out


def reference_row(X: Matrix) -> NDArray[np.float32]:
    """A usual user, (F,): the lower median of each column's known values; NaN where at most half of them are known.

    X (N, F); an even sample of its rows is looked at when there are many.

    >>> reference_row(np.array([[1, 9, 5], [2, np.nan, 5], [3, np.nan, np.nan]], np.float32)).tolist()
    [2.0, nan, 5.0]
    """
    sample = X[:: -(-len(X) // _SAMPLE_ROWS)] if len(X) else X
    out = np.full(X.shape[1], np.nan, np.float32)
    for j in range(X.shape[1]):
        known = sample[:, j][~np.isnan(sample[:, j])]
        if 2 * len(known) > len(sample):
            middle = (len(known) - 1) // 2
            out[j] = np.partition(known, middle)[middle]
    return out


def _orders(used: NDArray[np.intp], permutations: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """The orders of the walks: one drawn, then its reverse, and so on."""
    rng = np.random.default_rng(seed)
    order = used
    for k in range(permutations):
        order = order[::-1] if k % 2 else rng.permutation(used)
        yield order


def _walk(
    margin: Callable[[Matrix], Vector],
    X: Matrix,
    reference: NDArray[np.float32],
    order: NDArray[np.intp],
    base: float,
    out: Vector,
    share: int,
) -> None:
    """Add to `out` one walk's changes, divided by `share`. A step stands for every column that differs, (S,) in all."""
    same = (reference == X) | (np.isnan(X) & np.isnan(reference))
    row, step = np.nonzero(~same[:, order])  # by row, then by step
    if len(row) == 0:
        return
    turn = np.full(len(reference), len(order))
    turn[order] = np.arange(len(order))
    value = margin(np.where(turn <= step[:, None], X[row], reference))  # (S, F) -> (S,)
    before = np.r_[base, value[:-1]]
    before[np.r_[True, row[1:] != row[:-1]]] = base
    out[row, order[step]] += (value - before) / share
