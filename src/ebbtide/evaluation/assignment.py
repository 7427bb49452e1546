"""Was the assignment random? Arm sizes against the plan, and whether anything known beforehand tells the arms apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm, rankdata

from ebbtide.core.errors import InputError


def srm_p_value(counts: Sequence[float], shares: Sequence[float]) -> float:
    """How surprising arm sizes this far from their planned shares are: the sample ratio mismatch test (chi-square).

    counts: users of each arm; shares: what was planned, in any unit. 1.0 for a single arm or nobody.
    Source: Fabijan et al. 2019, "Diagnosing sample ratio mismatch in online controlled experiments".
    Raises InputError if the lists differ in length, or a share is not above 0, or a count is negative.

    >>> round(srm_p_value([5000, 5200], [1, 1]), 4)
    0.0477
    """
    seen, planned = np.asarray(counts, np.float64), np.asarray(shares, np.float64)
    if seen.ndim != 1 or seen.shape != planned.shape:
        raise InputError(
            f"each arm needs one count and one share; there are {seen.size} counts and {planned.size} shares",
            f"每个组需要一个人数和一个比例；现有 {seen.size} 个人数和 {planned.size} 个比例",
        )
    if not (np.all(planned > 0) and np.all(seen >= 0)):
        raise InputError("planned shares must be above 0 and counts not below 0", "计划比例必须大于 0，人数不能为负")
    if len(seen) < 2 or seen.sum() == 0:
        return 1.0
    expected = seen.sum() * planned / planned.sum()
    return float(chi2.sf(np.sum((seen - expected) ** 2 / expected), len(seen) - 1))


def separation(treated: NDArray[Any], score: NDArray[Any], fold: NDArray[Any]) -> tuple[float, float]:
    """Whether a classifier tells treated from untreated users: its AUROC and the p value that it is not above 1/2.

    treated (N,) 1 or 0; score (N,) of a classifier that had not learnt from the row's fold; fold (N,). Within each fold
    users are ranked by score (ties share their rank), and the rank sums of the folds are added up (van Elteren). Under
    random assignment the p value is uniform to good approximation. (1/2, 1) where no fold holds both arms.
    Source: Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests"; Mann and Whitney 1947.

    >>> separation(np.array([1, 1, 0, 0]), np.array([0.9, 0.8, 0.2, 0.1]), np.zeros(4))[0]
    1.0
    """
    pairs = above = surplus = variance = 0.0
    arm, scores, folds = (np.asarray(a) for a in (treated, score, fold))
    for part in np.unique(folds):
        held = folds == part
        given = arm[held] == 1
        one, other = int(given.sum()), int((~given).sum())
        if not one or not other:
            continue
        rank = rankdata(scores[held])
        u = float(rank[given].sum()) - one * (one + 1) / 2
        size = one + other
        _, tied = np.unique(rank, return_counts=True)
        spread = size + 1 - float(np.sum(tied.astype(np.float64) ** 3 - tied)) / (size * (size - 1))
        weight = 1 / (size + 1)
        above, pairs = above + u, pairs + one * other
        surplus += weight * (u - one * other / 2)
        variance += weight**2 * one * other * spread / 12
    if not pairs or not variance:
        return 0.5, 1.0
    return above / pairs, float(norm.sf(surplus / np.sqrt(variance)))
