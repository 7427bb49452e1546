"""A share of customers, budget and capacities goes to chance, so that what is planned can be judged later.

A user explores action a with probability  e / (number of possible actions, nothing among them), scaled down so that
exploring is expected to take at most the share e of each capacity and of the budget. Everybody else gets what the
policy says. The propensity of what a user gets is the chance of exploring it, plus the chance of not exploring anything
if the policy would have chosen it.
Source: Horvitz and Thompson 1952 for why the chance must be logged; Li et al. 2010 (WWW) for epsilon-greedy logging.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.hull import Choice, Vector
from ebbtide.actions.limits import Limits, picked, total

_UNTOUCHED = -2


@dataclass(frozen=True)
class Exploration:
    """`rates` (N, A): the chance of exploring each action; `still` (N,): of exploring nothing at all. `drawn` (N,): the
    explored action, -1 for nothing, -2 for who does not explore."""

    rates: Vector
    still: Vector
    drawn: Choice

    @property
    def explores(self) -> NDArray[np.bool_]:
        """Whose action is left to chance, (N,)."""
        return np.asarray(self.drawn != _UNTOUCHED, np.bool_)

    def propensities(self, choice: Choice, by_policy: Choice) -> Vector:
        """The chance with which each user got what `choice` says, (N,), if the policy says `by_policy`."""
        explored = np.where(choice >= 0, picked(self.rates, choice), self.still)
        rest = 1 - self.rates.sum(axis=1) - self.still
        return np.asarray(explored + np.where(choice == by_policy, rest, 0.0), np.float64)


def explore(
    cost: Vector, allowed: NDArray[np.bool_], limits: Limits, epsilon: float, luck: NDArray[np.float64]
) -> Exploration:
    """Draw who explores what. `luck` (N,): one uniform number a user; a user whose number is high never explores.

    If the drawn costs or capacities exceed the limits all the same, all rates are halved until they do not.
    """
    possible = allowed & (cost <= limits.budget) & (limits.capacity >= 1)
    base = epsilon / (possible.sum(axis=1) + 1.0)
    rates = np.where(possible, base[:, None], 0.0)
    rates *= np.minimum(1.0, epsilon * limits.capacity / np.maximum(rates.sum(axis=0), 1e-12))
    rates *= min(1.0, epsilon * limits.budget / max(float((rates * cost).sum()), 1e-12))
    still = np.where(possible.any(axis=1), base, 0.0)
    while True:
        drawn = _drawn(rates, still, luck)
        treated = np.maximum(drawn, -1)
        by_action, by_group = limits.used(treated)
        fits = (by_action <= limits.capacity).all() and (not limits.groups or (by_group <= limits.most).all())
        if (fits and total(picked(cost, treated)) <= limits.budget) or not (treated >= 0).any():
            return Exploration(rates, still, drawn)
        rates = rates / 2


def without_explorers(limits: Limits, cost: Vector, found: Exploration) -> Limits:
    """What is left of the limits for those who do not explore; groups keep their codes."""
    treated = np.maximum(found.drawn, -1)
    by_action, by_group = limits.used(treated)
    return Limits(
        max(limits.budget - total(picked(cost, treated)), 0.0),
        limits.capacity - by_action,
        limits.group,
        np.maximum(limits.least - by_group, 0.0) if limits.groups else limits.least,
        limits.most - by_group if limits.groups else limits.most,
    )


def _drawn(rates: Vector, still: Vector, luck: NDArray[np.float64]) -> Choice:
    """The action in whose stretch of [0, 1) a user's number lies; first nothing, then the actions in order."""
    edges = np.cumsum(np.column_stack([still, rates]), axis=1)
    place = (luck[:, None] >= edges).sum(axis=1)
    return np.where(place > rates.shape[1], _UNTOUCHED, place - 1).astype(np.int64)
