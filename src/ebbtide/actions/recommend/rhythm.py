"""How long after a purchase an item is bought again: of every item, and of one user's own habit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.recommend.interactions import BOUGHT, Interactions
from ebbtide.actions.recommend.pairs import keys_of

Floats = NDArray[np.float64]
_PRIOR_BUYERS = 10.0


@dataclass(frozen=True)
class Rhythm:
    """Of each item, (I,): `gap_days`, the median time between two purchases by one user (NaN where nobody bought it
    twice), and `again`, the share of its buyers who bought it again, drawn towards that of all items. `usual_days`: the
    median over users of the mean time between their own orders; NaN where nobody ordered twice."""

    gap_days: Floats
    again: Floats
    usual_days: float

    @classmethod
    def fit(cls, known: Interactions) -> Rhythm:
        """From all purchases. Two purchases of one item within a basket are one; gaps are between baskets' times."""
        count = len(known.items)
        bought = known.kind == BOUGHT
        key = keys_of(known.user[bought], known.item[bought], count)
        at = known.at_us[bought]
        order = np.lexsort((at, key))
        key, at = key[order], at[order]
        same = key[1:] == key[:-1]
        gap = (at[1:] - at[:-1])[same] / 86_400_000_000
        item = (key[1:] % count)[same] if count else key[:0]
        owned, times = np.unique(key, return_counts=True)
        buyers = np.bincount(owned % max(count, 1), minlength=count)
        again = np.bincount((owned % max(count, 1))[times > 1], minlength=count)
        usual = again.sum() / max(buyers.sum(), 1)
        share = (again + usual * _PRIOR_BUYERS) / (buyers + _PRIOR_BUYERS)
        return cls(_medians(item, gap, count), share, _usual_days(known))


def _usual_days(known: Interactions) -> float:
    bought = known.kind == BOUGHT
    _, first = np.unique(known.basket[bought], return_index=True)
    who, at = known.user[bought][first], known.at_us[bought][first].astype(np.float64)
    orders = np.bincount(who, minlength=len(known))
    newest, oldest = np.full(len(known), -np.inf), np.full(len(known), np.inf)
    np.maximum.at(newest, who, at)
    np.minimum.at(oldest, who, at)
    several = orders > 1
    if not several.any():
        return float("nan")
    return float(np.median((newest - oldest)[several] / (orders[several] - 1)) / 86_400_000_000)


def _medians(group: NDArray[np.int64], value: Floats, groups: int) -> Floats:
    """The median value of each group, (G,); NaN for a group without values."""
    order = np.lexsort((value, group))
    group, value = group[order], value[order]
    found = np.full(groups, np.nan)
    held, first, size = np.unique(group, return_index=True, return_counts=True)
    found[held] = (value[first + (size - 1) // 2] + value[first + size // 2]) / 2
    return found
