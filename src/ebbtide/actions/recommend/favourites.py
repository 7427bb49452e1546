"""Lists for those who drift away lean towards what they used to love, by a weight that was measured.

A user is overdue if silent for more than twice the usual gap between own orders; with one order, twice everybody's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.recommend.evidence import Candidates
from ebbtide.actions.recommend.lesson import Lesson

Floats = NDArray[np.float64]
WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
_FEWEST = 30
_OVERDUE = 2.0


@dataclass(frozen=True)
class LovedWeight:
    """The weight that was chosen; `users` overdue ones on whom it was measured, and the mean NDCG@10 of each weight."""

    weight: float = 0.0
    users: int = 0
    ndcg: dict[str, float] = field(default_factory=dict)


def is_overdue(candidates: Candidates) -> NDArray[np.bool_]:
    """Whether each candidate's user is silent for more than twice the usual gap, (N,)."""
    silent, gap = (candidates.column(name).astype(np.float64) for name in ("silent_days", "usual_gap"))
    return np.nan_to_num(silent, nan=0.0) > _OVERDUE * np.nan_to_num(gap, nan=np.inf)


def loved(candidates: Candidates) -> Floats:
    """How much the user used to love each candidate, whenever that was: 1 for what was bought (or looked at) most.

    (N,) in [0, 1]: half for the item itself, against the user's most frequent one, half for its category's share.
    """
    met = candidates.column("bought").astype(np.float64) + 0.15 * candidates.column("viewed").astype(np.float64)
    most = np.zeros(int(candidates.user.max(initial=-1)) + 1)
    np.maximum.at(most, candidates.user, met)
    own = np.log1p(met) / np.maximum(np.log1p(most[candidates.user]), 1e-12)
    category = candidates.column("category_love").astype(np.float64)
    return np.where(np.isfinite(category), 0.5 * own + 0.5 * np.nan_to_num(category), own)


def leaning(candidates: Candidates, score: Floats, weight: float, whom: NDArray[np.bool_]) -> Floats:
    """The scores, for the candidates in `whom` moved towards former favourites: score + weight x spread x loved.

    `spread` is the standard deviation of the user's own scores, so that a weight means the same for every order.
    """
    if not weight or not whom.any():
        return score
    users = int(candidates.user.max()) + 1
    count = np.maximum(np.bincount(candidates.user, minlength=users), 1)
    mean = np.bincount(candidates.user, score, minlength=users) / count
    spread = np.sqrt(np.bincount(candidates.user, (score - mean[candidates.user]) ** 2, minlength=users) / count)
    return score + np.where(whom, weight * spread[candidates.user] * loved(candidates), 0.0)


def measure_weight(held_out: Lesson, score: Floats) -> LovedWeight:
    """The weight with the best mean NDCG@10 among overdue users who came back in a window that the scores had not seen.

    A weight above 0 must gain more than its standard error; fewer than 30 such users choose 0.
    """
    whom = is_overdue(held_out.candidates)
    overdue = np.zeros(len(held_out.start) - 1, np.bool_)
    overdue[held_out.candidates.user[whom]] = True
    figures = {w: held_out.ndcg(leaning(held_out.candidates, score, w, whom))[overdue] for w in WEIGHTS}
    counted = np.isfinite(figures[0.0])
    users = int(counted.sum())
    means = {f"{w:g}": float(figures[w][counted].mean()) for w in WEIGHTS} if users else {}
    if users < _FEWEST:
        return LovedWeight(0.0, users, means)
    best = max(WEIGHTS, key=lambda w: (figures[w][counted].mean(), -w))
    gain = (figures[best] - figures[0.0])[counted]
    sure = gain.mean() > gain.std() / np.sqrt(users)
    return LovedWeight(best if sure else 0.0, users, means)
