"""Which evidence is named: the strongest families of each user, and the column that speaks for each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.explain.families import Floats, family_sums
from ebbtide.explain.layout import Layout
from ebbtide.features.columns import frozen_array

NEGLIGIBLE = 0.05
"""Log-odds below which a family is no reason, unless it is the strongest one: it moves a probability by little over
one percentage point."""
PLAIN = 4.0
"""A column that takes thinking speaks for its family only if it pushes so many times as hard as any plain one."""
EVIDENT = 2.0
"""A column whose value is just the usual one speaks only if it pushes so many times as hard as any other."""


@dataclass(frozen=True)
class Selection:
    """M named families of N users, user by user, strongest first.

    row, family, column, contribution (M,): contribution is the whole family's, column the one that speaks for it.
    remainder (N,): the sum of the families that are not named.
    """

    row: NDArray[np.int64]
    family: NDArray[np.int64]
    column: NDArray[np.int64]
    contribution: Floats
    remainder: Floats


def select(
    contributions: Floats,
    X: NDArray[np.float32],
    layout: Layout,
    usual: Floats,
    at_most: int,
) -> Selection:
    """Choose at most `at_most` families a user. contributions, X have N rows; `usual` is (N, F), or (1, F) for all alike.

    A family that only tells of the moment, not of the user, is not named. Equal sizes: the family that comes first.
    Raises DefectError if the contributions do not belong to the columns.
    """
    sums = family_sums(contributions, layout)
    size = np.where(layout.speaks, np.abs(sums), 0.0)
    order = np.argsort(-size, axis=1, kind="stable")[:, :at_most]
    ranked = np.take_along_axis(size, order, axis=1)
    is_first = np.arange(order.shape[1]) == 0
    row, rank = np.nonzero((ranked >= NEGLIGIBLE) | (is_first & (ranked > 0)))
    family = order[row, rank]
    total = sums[row, family]
    column = np.empty(len(row), np.int64)
    told = (frozen_array(a) for a in (contributions, X, usual.astype(np.float32)))
    _speakers(*told, (row, family, total), (layout.order, layout.start, layout.is_plain), column)
    rest = sums.sum(axis=1) - np.bincount(row, total, minlength=len(X))
    return Selection(row, family, column, total, rest)


@njit(cache=True, nogil=True)
def _speakers(contributions, X, usual, named, members, column) -> None:  # type: ignore[no-untyped-def]
    """Fill `column` (M,): the one of each named family that pushes hardest in the family's direction; the first of equals.

    usual (N, F), or (1, F) for all rows alike.
    """
    row, family, total = named
    order, start, is_plain = members
    for m in range(len(row)):
        r, best = row[m], -np.inf
        everyday = usual[r if len(usual) > 1 else 0]
        for place in range(start[family[m]], start[family[m] + 1]):
            c = order[place]
            push = contributions[r, c] if total[m] > 0 else -contributions[r, c]
            if is_plain[c]:
                push *= PLAIN
            if X[r, c] != everyday[c]:
                push *= EVIDENT
            if push > best:
                best, column[m] = push, c
