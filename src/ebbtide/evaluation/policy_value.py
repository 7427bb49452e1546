"""What following a policy would bring, from an experiment in which it was not followed: doubly robust estimation.

Each user gets one score an arm, whose mean over users is the mean outcome if all had that arm:
`m_a(x) + 1{A = a} (y - m_a(x)) / e_a(x)`. It is right if either the expected outcomes `m` or the chances `e` are; with
chances known from the experiment it is right whatever `m` is, which only makes it less noisy.
Source: Dudik, Langford and Li 2011, "Doubly robust policy evaluation and learning".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ebbtide.core.errors import InputError
from ebbtide.evaluation.intervals import LEVEL, Estimate, affordable_draws, draw_weights, row_users
from ebbtide.evaluation.tally import Vector


def doubly_robust_scores(
    y: NDArray[Any], arm: NDArray[Any], propensity: NDArray[Any], expected: NDArray[Any]
) -> Vector:
    """The score of each user and arm, (N, K).

    y (N,) outcome; arm (N,) the arm that was given, 0 to K - 1; propensity (N, K) the chance of each arm; expected
    (N, K) the outcome that a model, fitted without this user, expects under each.
    Raises InputError if the chance of an arm that was given is not above 0.

    >>> doubly_robust_scores(np.array([1.0]), np.array([1]), np.array([[0.5, 0.5]]), np.array([[0.2, 0.4]])).tolist()
    [[0.2, 1.6]]
    """
    outcome, given = np.asarray(y, np.float64), np.asarray(arm, np.int64)
    rows = np.arange(len(outcome))
    scores = np.array(expected, np.float64)
    chance = np.asarray(propensity, np.float64)[rows, given]
    bad = int(np.sum(~(chance > 0)))
    if bad:
        raise InputError(
            f"the chance of an arm that was given must be above 0; it is not in {bad} rows",
            f"实际分到的组的概率必须大于 0；有 {bad} 行不是",
        )
    scores[rows, given] += (outcome - scores[rows, given]) / chance
    return scores


def policy_value(
    scores: NDArray[Any],
    choice: NDArray[Any],
    *,
    against: NDArray[Any] | None = None,
    user: NDArray[Any] | None = None,
    draws: int = 300,
    seed: int = 0,
) -> Estimate:
    """Mean outcome per user if each got the arm `choice` (N,), with its 95 % interval; `against`: how much more than
    under that other choice. Scores as `doubly_robust_scores` gives them, for users who had no part in the choice.

    >>> policy_value(np.array([[0.0, 1.0], [0.5, 0.0]]), np.array([1, 0])).value
    0.75
    """
    rows = np.arange(len(scores))
    gained = np.asarray(scores, np.float64)[rows, np.asarray(choice, np.int64)]
    if against is not None:
        gained = gained - np.asarray(scores, np.float64)[rows, np.asarray(against, np.int64)]
    return means_with_intervals(gained[:, None], user=user, draws=draws, seed=seed)[0]


def top_choice(effect: NDArray[Any], share: float) -> NDArray[np.int64]:
    """Give the top `share` of users, by their best arm's effect (N, K - 1), that arm; 0, nothing, to all others.

    Arm `a` of column `a - 1`. A user whom no arm helps gets nothing, even if the share is not used up. Equal effects
    are taken in row order.

    >>> top_choice(np.array([[0.1, 0.3], [0.2, 0.0], [-0.1, -0.2]]), 0.34).tolist()
    [2, 0, 0]
    """
    effects = np.asarray(effect, np.float64)
    best = effects.max(axis=1)
    size = int(np.floor(share * len(best) + 1e-9))
    chosen = np.zeros(len(best), np.int64)
    top = np.argsort(-best, kind="stable")[:size]
    top = top[best[top] > 0]
    chosen[top] = effects[top].argmax(axis=1) + 1
    return chosen


def targeting_terms(scores: NDArray[Any], order_by: NDArray[Any], choice: NDArray[Any]) -> Vector:
    """Each user's part in what a ranking wins over giving everyone the same, averaged over all budgets, (N,).

    The ranking gives the arm `choice` (N,) from the top of `order_by` down until the budget is used up; compared is the
    same number of users drawn at random who get the one arm that is best on average. A user at the share `r` of the
    ranking is contacted at all budgets above `r`, so its part is `(1 - r) s(choice) - s(best) / 2`, `s` being scores
    less those of arm 0. The mean is the area between the two gain curves: with one treatment and equal chances, Qini's
    numerator per user, with less noise. Users of equal `order_by` share their place.
    Source: Yadlowsky et al. 2021, "Evaluating treatment prioritization rules via rank-weighted average effects" (the
    Qini-like weights), with doubly robust scores.
    """
    gained = np.asarray(scores, np.float64) - np.asarray(scores, np.float64)[:, :1]
    rows = np.arange(len(gained))
    place = (rankdata(-np.asarray(order_by, np.float64)) - 0.5) / len(gained)
    best = 1 + int(np.argmax(gained[:, 1:].mean(axis=0)))
    return np.asarray((1 - place) * gained[rows, np.asarray(choice, np.int64)] - gained[:, best] / 2)


def means_with_intervals(
    terms: NDArray[Any],
    *,
    user: NDArray[Any] | None = None,
    draws: int = 300,
    seed: int = 0,
    level: float = LEVEL,
) -> list[Estimate]:
    """The mean of each column of terms (N, M) with its bootstrap interval by user, of 95 % or `level`; all columns share
    the draws."""
    values = np.asarray(terms, np.float64)
    users = row_users(*values.T) if user is None else user
    times = affordable_draws(draws, len(users))
    drawn = [(w @ values) / w.sum(1, keepdims=True) for w in draw_weights(users, draws=times, seed=seed)]
    told = zip(values.mean(axis=0), np.concatenate(drawn).T, strict=True)
    return [Estimate.of(float(v), d, level=level) for v, d in told]
