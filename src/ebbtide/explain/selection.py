"""Which evidence is named: the strongest families of each user, and the column that speaks for each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.explain.families import Floats, families_of
from ebbtide.explain.layout import Columns, layout_of

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
    columns: Columns,
    usual: Floats,
    at_most: int,
) -> Selection:
    """Choose at most `at_most` families a user. All but `at_most` have N rows; `usual` is (N, F).

    A family that only tells of the moment, not of the user, is not named. Equal sizes: the family that comes first.
    Raises DefectError if the contributions do not belong to the columns.
    """
    sums, layout = families_of(contributions, columns), layout_of(columns)
    speaks = np.zeros(sums.shape[1], np.bool_)
    speaks[layout.family[[p.is_personal for p in layout.phrases]]] = True
    size = np.where(speaks, np.abs(sums), 0.0)
    order = np.argsort(-size, axis=1, kind="stable")[:, :at_most]
    ranked = np.take_along_axis(size, order, axis=1)
    is_first = np.arange(order.shape[1]) == 0
    row, rank = np.nonzero((ranked >= NEGLIGIBLE) | (is_first & (ranked > 0)))
    family = order[row, rank]
    total = sums[row, family]
    ease = np.array([PLAIN if p.is_plain else 1.0 for p in layout.phrases])
    column = np.zeros(len(row), np.int64)
    for k in np.unique(family):
        named, own = np.flatnonzero(family == k), layout.members(k)
        cells = row[named][:, None], own
        push = contributions[cells] * np.sign(total[named])[:, None] * ease[own]
        is_usual = X[cells] == usual[cells].astype(np.float32)
        column[named] = own[np.argmax(np.where(is_usual, push, push * EVIDENT), axis=1)]
    rest = sums.sum(axis=1) - np.bincount(row, total, minlength=len(X))
    return Selection(row, family, column, total, rest)
