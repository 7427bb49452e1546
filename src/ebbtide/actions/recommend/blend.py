"""Which order of candidates to trust: the linear one, or that of trees where a held-out moment says that it is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.recommend.favourites import LovedWeight, measure_weight
from ebbtide.actions.recommend.lesson import Lesson
from ebbtide.actions.recommend.linear_blend import LinearBlend
from ebbtide.actions.recommend.tree_blend import TreeBlend

Blend = LinearBlend | TreeBlend
_FEWEST_BUYERS = 20
_BUYERS_FOR_TREES = 300


@dataclass(frozen=True)
class Choice:
    """What was measured at the newest lesson, which neither order had learnt from. `ndcg`: mean NDCG@10 of each kind;
    `loved`: the weight of former favourites for overdue users."""

    kind: str
    lessons: int
    ndcg: dict[str, float]
    loved: LovedWeight

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self)


def fit_blend(lessons: Sequence[Lesson], *, seed: int) -> tuple[Blend | None, Choice]:
    """Fit both on all lessons (newest first) but the newest, keep the better there, and fit it again on all.

    With one lesson there is nothing to choose by: linear. Without a lesson of at least 20 buyers: None, so that lists
    follow popularity and the user's own purchases.
    """
    useful = [lesson for lesson in lessons if _buyers(lesson) >= _FEWEST_BUYERS]
    if not useful:
        return None, Choice("none", 0, {}, LovedWeight())
    if len(useful) == 1:
        return LinearBlend.fit(useful, seed=seed), Choice("linear", 1, {}, LovedWeight())
    newest, older = useful[0], useful[1:]
    tried: dict[str, Blend] = {"linear": LinearBlend.fit(older, seed=seed)}
    if sum(map(_buyers, useful)) >= _BUYERS_FOR_TREES:
        tried["trees"] = TreeBlend.fit(older, seed=seed)
    scores = {kind: blend.scores(newest.candidates) for kind, blend in tried.items()}
    ndcg = {kind: float(np.nanmean(newest.ndcg(score))) for kind, score in scores.items()}
    best = max(ndcg, key=ndcg.__getitem__)
    loved = measure_weight(newest, scores[best])
    fit = TreeBlend.fit if best == "trees" else LinearBlend.fit
    return fit(useful, seed=seed), Choice(best, len(useful), ndcg, loved)


def _buyers(lesson: Lesson) -> int:
    bought: NDArray[np.bool_] = lesson.bought
    return len(np.unique(lesson.candidates.user[bought]))
