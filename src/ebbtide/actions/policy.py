"""Which action each user gets, including none, so that the expected value is as high as the limits allow.

At most one action a user; the sum of costs stays within the budget; an action with a capacity goes to no more users;
of each group between a least and a largest number of users get something. With a budget alone this is the knapsack of
`hull.py`; with more limits each gets a price (`prices.py`). Either way at most about one user a limit is undecided, and
those near the edge are decided exactly (`core_problem.py`). `bound` is proof: no plan whatever gains more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.core_problem import improved, relaxed
from ebbtide.actions.hull import Choice, Vector, climb, hull_of, price_of_budget
from ebbtide.actions.limits import Limits, picked, total
from ebbtide.actions.prices import Prices, find_prices

_GOOD = 1e-5  # a plan so close to the bound is not polished
_FEW = 3000  # so many users are one linear programme
_CORE, _MOVED = 1000, 300  # users near the edge that are decided together, and exchanged in pairs


@dataclass(frozen=True)
class Assignment:
    """`choice` (N,): the place of each user's action, -1 for nothing. `bound`: no assignment gains more, where no least
    share had to be given up. `missing` (G,): users by which a group falls short of its least share."""

    choice: Choice
    gain: float
    cost: float
    bound: float
    prices: Prices
    missing: Vector

    @property
    def gap(self) -> float:
        """The share of the bound that is at most lost; 0 where nothing can be gained."""
        return max(0.0, 1 - self.gain / self.bound) if self.bound > 0 else 0.0


def assign(gain: Vector, cost: Vector, allowed: NDArray[np.bool_], limits: Limits, *, exact: bool = True) -> Assignment:
    """The best assignment of A actions to N users. All arrays (N, A); `gain` in money, costs taken off already.

    An action that gains nothing is given only where a least share of a group asks for it. What alone costs more than
    the budget is out. The budget is kept in whatever order the costs are added up. `exact=False` leaves out the last
    exchanges of users near the edge.

    >>> gain, cost = np.array([[3.0, 5.0], [2.0, 2.5]]), np.array([[1.0, 3.0], [1.0, 3.0]])
    >>> assign(gain, cost, np.ones((2, 2), bool), Limits.of(4.0, 2)).choice.tolist()
    [1, 0]
    """
    usable = allowed & (cost <= limits.budget) & (limits.capacity >= 1) & np.isfinite(gain)
    hull = hull_of(gain, cost, usable)
    price = price_of_budget(hull, limits.budget)
    choice = climb(hull, price, limits.budget)
    prices = Prices(price if np.isfinite(price) else 0.0, np.zeros(gain.shape[1]), np.zeros(limits.groups), 0.0)
    penalty = _penalty(gain, cost, usable, price)
    if not limits.holds_but_for_budget(choice):
        if len(gain) <= _FEW:
            everybody = np.arange(len(gain))
            choice, prices = relaxed(gain, cost, usable, limits, choice, everybody, penalty)
        else:
            prices = find_prices(gain, cost, usable, limits, prices.budget, penalty)
            choice = prices.blurred(gain, cost, usable, _groups(limits, len(gain)))
    return _finished(gain, cost, usable, limits, choice, prices, penalty, exact)


def _finished(
    gain: Vector,
    cost: Vector,
    usable: NDArray[np.bool_],
    limits: Limits,
    choice: Choice,
    prices: Prices,
    penalty: float,
    exact: bool,
) -> Assignment:
    """Decide the users near the edge, keep every limit, fill up."""
    at_prices, margin, surplus = prices.choose(gain, cost, usable, _groups(limits, len(gain)))
    bound = prices.bound(limits, surplus)
    best = _kept(gain, cost, usable, limits, choice)
    if exact and bound - _value(gain, limits, best, penalty) > _GOOD * max(bound, 0.0):
        margin = np.where((choice == at_prices) & (best == choice), margin, 0.0)
        core = _least(margin, max(_CORE, int(4 * np.sqrt(len(gain)))))
        again, _ = relaxed(gain, cost, usable, limits, choice, core, penalty)
        best = max(best, _kept(gain, cost, usable, limits, again), key=lambda c: _value(gain, limits, c, penalty))
        best = improved(gain, cost, usable, limits, best, _least(margin, _MOVED), penalty)
        best = _kept(gain, cost, usable, limits, best)
    earned, spent = float(picked(gain, best).sum()), total(picked(cost, best))
    return Assignment(best, earned, spent, bound, prices, limits.missing(best))


def _least(margin: Vector, count: int) -> NDArray[np.int64]:
    """The users with the smallest margins."""
    if count >= len(margin):
        return np.arange(len(margin))
    return np.sort(np.argpartition(margin, count)[:count])


def _value(gain: Vector, limits: Limits, choice: Choice, penalty: float) -> float:
    return float(picked(gain, choice).sum() - penalty * limits.missing(choice).sum())


def _kept(gain: Vector, cost: Vector, usable: NDArray[np.bool_], limits: Limits, choice: Choice) -> Choice:
    """The choice without the users that break a limit, least worth a euro first."""
    choice = choice.copy()
    for action, room in enumerate(limits.capacity):
        _drop(choice, np.flatnonzero(choice == action), room, gain, cost)
    for group, room in enumerate(limits.most):
        _drop(choice, np.flatnonzero((choice >= 0) & (limits.group == group)), room, gain, cost)
    spent = picked(cost, choice)
    over = total(spent) - limits.budget
    if over > 0:
        worst = _least_worth_first(np.flatnonzero(spent > 0), choice, gain, cost)
        count = int(np.searchsorted(np.cumsum(spent[worst]), over)) + 1
        choice[worst[:count]] = -1
        while total(picked(cost, choice)) > limits.budget:
            choice[worst[count]] = -1
            count += 1
    return choice


def _drop(choice: Choice, users: NDArray[np.int64], room: float, gain: Vector, cost: Vector) -> None:
    if len(users) > room:
        choice[_least_worth_first(users, choice, gain, cost)[: len(users) - int(room)]] = -1


def _least_worth_first(users: NDArray[np.int64], choice: Choice, gain: Vector, cost: Vector) -> NDArray[np.int64]:
    worth = picked(gain[users], choice[users]) / np.maximum(picked(cost[users], choice[users]), 1e-12)
    return np.asarray(users[np.argsort(worth, kind="stable")])


def _penalty(gain: Vector, cost: Vector, usable: NDArray[np.bool_], price: float) -> float:
    """More than any exchange of users could gain, so that a least share is given up only where it cannot be met."""
    if not usable.any():
        return 1.0
    dear = price if np.isfinite(price) else 0.0
    return 4 * float(np.abs(gain[usable]).max() + dear * cost[usable].max()) + 1e-9


def _groups(limits: Limits, users: int) -> NDArray[np.int64]:
    return limits.group if limits.groups else np.zeros(users, np.int64)
