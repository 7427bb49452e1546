"""Which rows of a table are predicted by models that learnt from which others: folds, or the past and what followed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import DataError
from ebbtide.models.base import Vector

FOLDS = 5
NEWEST_SHARE = 0.2
_MIX = np.uint64(0x9E3779B97F4A7C15)

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Rows `asked`, predicted by what `known` teaches. `moment_us`: when they are asked; `closed_us`: when all their
    labels are known (both 0 in folds)."""

    known: Index
    asked: Index
    moment_us: int = 0
    closed_us: int = 0


def stratified_parts(y: Vector, group: NDArray[np.uint64], *, seed: int = 0, folds: int = FOLDS) -> list[Part]:
    """Folds with equal shares of churned rows, in which the rows of a group stand together.

    The fold of a row depends on its group and the set of groups, not on the order of rows. Raises DataError if there
    are fewer distinct rows of a class than folds.
    """
    groups, place = np.unique(group, return_inverse=True)
    size = np.bincount(place)
    churned = np.bincount(place, y) * 2 >= size
    luck = (groups ^ np.uint64(seed + 1)) * _MIX
    fold = np.zeros(len(groups), np.int64)
    for label in (True, False):
        own = np.flatnonzero(churned == label)
        if len(own) < folds:
            raise DataError(
                "too few distinct rows for {folds} folds: {count:,} that churned, {rest:,} that did not",
                "不同的行太少，无法分成 {folds} 折：流失 {count:,} 行，留存 {rest:,} 行",
                folds=folds,
                count=int(churned.sum()),
                rest=int((~churned).sum()),
            )
        # the largest groups first, so that the folds come out even; rows that stand alone go by luck
        order = own[np.lexsort((luck[own], -size[own]))]
        fold[order] = np.arange(len(order)) % folds
    of_row = fold[place]
    return [Part(np.flatnonzero(of_row != k), np.flatnonzero(of_row == k)) for k in range(folds)]


def time_blocks(time_us: NDArray[np.int64], *, newest: float = NEWEST_SHARE, blocks: int = FOLDS) -> NDArray[np.int64]:
    """Where blocks of time begin, oldest first; the last one holds about the `newest` share of the rows.

    Rows of one time stand in one block; times of few rows may give fewer blocks.
    """
    shares = np.r_[0, np.linspace(0, 1 - newest, blocks)[1:]]
    return np.unique(np.quantile(time_us, shares, method="higher").astype(np.int64))


def time_parts(time_us: NDArray[np.int64], y: Vector, embargo_us: int) -> list[Part]:
    """The blocks of time after the first, each predicted by what was known when it began: rows whose label is known
    `embargo_us` after their time. Oldest first; the last one is the test. Blocks with nothing to learn from before
    them are left out.

    Raises DataError if that is so for the newest one.
    """
    starts = time_blocks(time_us)
    parts = []
    for k in range(1, len(starts)):
        moment, end = int(starts[k]), int(starts[k + 1]) if k + 1 < len(starts) else int(time_us.max()) + 1
        known = np.flatnonzero((time_us < moment) & (time_us + embargo_us <= moment))
        asked = np.flatnonzero((time_us >= moment) & (time_us < end))
        if 0 < y[known].sum() < len(known):
            parts.append(Part(known, asked, moment, end + embargo_us))
    if not parts or parts[-1].moment_us != starts[-1]:
        raise DataError(
            "the times do not reach back far enough: no labels of both kinds were known before the newest fifth of the "
            "rows began; give older rows, or a shorter --horizon",
            "时间跨度太短：在最新五分之一的行开始之前，没有两类标签都已知的行；请提供更早的行，或缩短 --horizon",
        )
    return parts
