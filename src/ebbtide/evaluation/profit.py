"""What a retention campaign that follows the scores would earn.

A targeted churner accepts the offer with probability gamma and stays, worth `clv` less the `incentive`; a targeted
retained user takes the incentive without need; every target costs one `contact`. With gamma known the profit per
user is  gamma (clv - incentive) c - contact c - (incentive + contact) r,  c and r being the shares of all users that
are targeted churners and targeted retained users.
Source: Verbraken, Verbeke and Baesens 2013, "A novel profit maximizing metric for measuring classification
performance of customer churn prediction models", IEEE TKDE 25(5), equations 4 and 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import betainc

from ebbtide.core.errors import InputError
from ebbtide.core.settings import ProfitConfig
from ebbtide.evaluation.tally import Tally, Vector, check_scores, tally


def empc(y: NDArray[Any], p: NDArray[Any], profit: ProfitConfig | None = None) -> tuple[float, float]:
    """Expected maximum profit per user, and the share of users that it targets on average.

    gamma is Beta(alpha, beta) distributed; for each gamma the best number of users from the top is targeted, in money
    of the shop per user. Zero where targeting never pays.

    >>> y, p = np.array([0, 1, 0, 1, 0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9])
    >>> round(empc(y, p)[0], 6)  # empulse prints 23.875593
    23.875593
    """
    earned, share = empc_of(tally(y, p), profit or ProfitConfig())
    return float(earned[0]), float(share[0])


def empc_of(t: Tally, profit: ProfitConfig) -> tuple[Vector, Vector]:
    """`empc` of each draw: profit (D,) and targeted share (D,)."""
    draws = [_empc_of_counts(c, r, profit) for c, r in zip(t.churned, t.retained, strict=True)]
    earned, share = np.array(draws).T
    return earned, share


def _empc_of_counts(churned: Vector, retained: Vector, profit: ProfitConfig) -> tuple[float, float]:
    """A segment of the ROC convex hull is targeted as soon as gamma exceeds its break-even rate, so the integral over
    gamma splits into one term a segment."""
    c, r = _hull_segments(churned, retained)
    kept_value = profit.clv - profit.incentive
    cost = profit.contact * c + (profit.incentive + profit.contact) * r
    pays = c * kept_value > cost
    c, r, cost = c[pays], r[pays], cost[pays]
    break_even = cost / (c * kept_value)
    a, b = profit.alpha, profit.beta
    chance = 1 - betainc(a, b, break_even)
    accepted = a / (a + b) * (1 - betainc(a + 1, b, break_even))
    users = churned.sum() + retained.sum()
    earned = float(np.sum(kept_value * c * accepted - cost * chance) / users)
    return earned, float(np.sum((c + r) * chance) / users)


def _hull_segments(churned: Vector, retained: Vector) -> tuple[Vector, Vector]:
    """Churned and retained counts of the segments of the ROC convex hull, steepest first.

    The hull's slopes are the isotonic regression of the churn rate on the ranking (Fawcett and Niculescu-Mizil 2007).
    """
    users = churned + retained
    drawn = users > 0
    fit = isotonic_regression(churned[drawn] / users[drawn], weights=users[drawn], increasing=False)
    starts = fit.blocks[:-1]
    return np.add.reduceat(churned[drawn], starts), np.add.reduceat(retained[drawn], starts)


@dataclass(frozen=True)
class ValuePolicy:
    """One campaign when every user has a value of their own, row by row.

    targeted (N,): users whose expected profit, by their own probability and value, is above zero.
    by_probability (N,): equally many users, from the top by probability alone.
    earned (N,): what targeting a row truly earned, given its outcome and the mean acceptance rate.
    """

    targeted: NDArray[np.bool_]
    by_probability: NDArray[np.bool_]
    earned: Vector

    def profit_of(self, weights: Vector) -> tuple[Vector, Vector, Vector]:
        """For each draw (D, N): profit per user, the same by probability alone, targeted share; each (D,)."""
        users = weights.sum(1)
        paid = weights @ np.where(self.targeted, self.earned, 0.0)
        blind = weights @ np.where(self.by_probability, self.earned, 0.0)
        return paid / users, blind / users, weights @ self.targeted.astype(np.float64) / users


def value_policy(y: NDArray[Any], p: NDArray[Any], value: NDArray[Any], profit: ProfitConfig) -> ValuePolicy:
    """Target by probability and own value: the policy decides without seeing outcomes, so its profit is honest.

    `value` (N,) stands in for `clv`; an unknown one (NaN) counts as the mean of the known. Equal probabilities at the
    edge of `by_probability` go to the higher value.
    Raises InputError if no value is known or one is infinite.
    """
    outcome, score = check_scores(y, p)
    worth = _known_values(value, len(score))
    kept = profit.alpha / (profit.alpha + profit.beta) * (worth - profit.incentive) - profit.contact
    wasted = profit.incentive + profit.contact
    targeted = score * kept - (1 - score) * wasted > 0
    by_probability = np.zeros(len(score), bool)
    by_probability[np.lexsort((-worth, -score))[: int(targeted.sum())]] = True
    return ValuePolicy(targeted, by_probability, np.where(outcome == 1, kept, -wasted))


def _known_values(value: NDArray[Any], rows: int) -> Vector:
    worth = np.asarray(value, np.float64)
    known = np.isfinite(worth)
    if worth.shape != (rows,) or np.isinf(worth).any() or not known.any():
        raise InputError(
            "values must be one finite number a row, at least one of them known",
            "价值列必须每行一个有限数值，且至少有一个已知",
        )
    return np.where(known, worth, worth[known].mean())
