"""Which evidence is named: the strongest families of each user, and the column that speaks for each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.explain.families import Floats, family_sums
from ebbtide.explain.layout import Layout
from ebbtide.explain.silence import ALWAYS, GONE, UNKNOWN, ZERO
from ebbtide.features.columns import frozen_array

NEGLIGIBLE = 0.05
"""Log-odds below which a family is no reason, unless it is the strongest one: it moves a probability by little over
one percentage point."""
PLAIN = 4.0
"""A column that takes thinking speaks for its family only if it pushes so many times as hard as any plain one."""
EVIDENT = 2.0
"""A column whose value is just the usual one speaks only if it pushes so many times as hard as any other."""

NEWS = 0.5
"""Beside columns that would only tell a silence again, another one speaks if it pushes at least so many times as hard."""
SPARE = 2
"""Families looked at beyond those that are named, to stand in for such as have nothing new to say."""


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
    That nothing of a kind happened is said once: a weaker family that could hardly say anything else is not named, and
    the next one takes its place.
    Raises DefectError if the contributions do not belong to the columns.
    """
    sums = family_sums(contributions, layout)
    size = np.where(layout.speaks, np.abs(sums), 0.0)
    order = np.argsort(-size, axis=1, kind="stable")[:, : at_most + SPARE]
    ranked = np.take_along_axis(size, order, axis=1)
    is_first = np.arange(order.shape[1]) == 0
    row, rank = np.nonzero((ranked >= NEGLIGIBLE) | (is_first & (ranked > 0)))
    family = order[row, rank]
    total = sums[row, family]
    column = np.empty(len(row), np.int64)
    told = (frozen_array(a) for a in (contributions, X, usual.astype(np.float32)))
    members = (layout.order, layout.start, layout.is_plain, layout.silent_on, layout.silent_when)
    _speakers(*told, (row, family, total), members, column)
    heard = column >= 0
    before: NDArray[np.int64] = np.cumsum(heard) - heard
    heard &= before - before[np.searchsorted(row, row)] < at_most
    row, family, column, total = row[heard], family[heard], column[heard], total[heard]
    rest = sums.sum(axis=1) - np.bincount(row, total, minlength=len(X))
    return Selection(row, family, column, total, rest)


@njit(cache=True, nogil=True)
def _speakers(contributions, X, usual, named, members, column) -> None:  # type: ignore[no-untyped-def]
    """Fill `column` (M,): the one of each named family that pushes hardest in the family's direction; the first of equals.

    -1 where those that push hardest tell a silence that a stronger family of the row has told.
    usual (N, F), or (1, F) for all rows alike.
    """
    row, family, total = named
    order, start, is_plain, silent_on, silent_when = members
    told_by = np.full(silent_on.max() + 1 if len(silent_on) else 0, -1, np.int64)  # the last row that told each silence
    for m in range(len(row)):
        r, best, again = row[m], 0.0, 0.0
        everyday = usual[r if len(usual) > 1 else 0]
        column[m] = -1
        for place in range(start[family[m]], start[family[m] + 1]):
            c = order[place]
            push = contributions[r, c] if total[m] > 0 else -contributions[r, c]
            if is_plain[c]:
                push *= PLAIN
            if X[r, c] != everyday[c]:
                push *= EVIDENT
            if silent_on[c] >= 0 and told_by[silent_on[c]] == r and _is_silent(X[r, c], silent_when[c]):
                again = max(again, push)
            elif push > best:
                best, column[m] = push, c
        if best < NEWS * again:
            column[m] = -1
        c = column[m]
        if c >= 0 and silent_on[c] >= 0 and _is_silent(X[r, c], silent_when[c]):
            told_by[silent_on[c]] = r


@njit(cache=True, nogil=True)
def _is_silent(value, when) -> bool:  # type: ignore[no-untyped-def]
    if np.isnan(value):
        return bool(when & (ALWAYS | UNKNOWN))
    return bool(when & ALWAYS or (when & ZERO and value == 0) or (when & GONE and value == -1))
