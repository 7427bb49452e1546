"""One budget: the multiple-choice knapsack, solved on the upper convex hull of each user's (cost, gain) points.

From doing nothing, a user climbs along the hull; each step costs something and gains something, and steps get worse as
one climbs. Taking all steps of all users that gain more than a price a euro, at the price where the budget is just
spent, is the optimum of the linear relaxation; only the user at the break is fractional, and is left out.
Source: Sinha and Zoltners 1979, "The multiple-choice knapsack problem", Operations Research 27(3); Dyer 1984 and Zemel
1984 for finding the price in linear time by halving.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Choice = NDArray[np.int64]
"""(N,) the place of each user's action, -1 for nothing."""

_SORTED = 64  # so few steps are sorted rather than halved
_NEXT = 2000  # steps below the break that may still fit into what is left
_SAMPLE = 101


@dataclass(frozen=True)
class Hull:
    """The corners of every user's hull, cheapest first, (N, A): action (-1: no more), what the step to it costs, and
    what it gains a euro (inf where it costs nothing, 0 where there is none)."""

    corner: NDArray[np.int16]
    step_cost: Vector
    slope: Vector


def hull_of(gain: Vector, cost: Vector, allowed: NDArray[np.bool_]) -> Hull:
    """The hulls of N users over A actions; what is not allowed or gains nothing is on no hull.

    >>> h = hull_of(np.array([[3.0, 4.0, 1.0]]), np.array([[1.0, 2.0, 3.0]]), np.ones((1, 3), bool))
    >>> h.corner.tolist(), h.slope.tolist()
    ([[0, 1, -1]], [[3.0, 1.0, 0.0]])
    """
    return Hull(*_hulls(gain, cost, allowed))


def price_of_budget(hull: Hull, budget: float) -> float:
    """The gain a euro of the first step that no longer fits; 0 if the budget pays for every step."""
    some = hull.slope > 0
    slope, step_cost = hull.slope[some], hull.step_cost[some]
    if step_cost.sum() <= budget:
        return 0.0
    left = budget
    while len(slope) > _SORTED:
        pivot = float(np.median(slope[:: max(1, len(slope) // _SAMPLE)]))
        upper = slope > pivot
        if not upper.any():
            upper = slope == pivot
            if not upper.any() or step_cost[upper].sum() > left:
                break
        if step_cost[upper].sum() <= left:
            left -= float(step_cost[upper].sum())
            upper = ~upper
        slope, step_cost = slope[upper], step_cost[upper]
    order = np.argsort(-slope, kind="stable")
    place = int(np.searchsorted(np.cumsum(step_cost[order]), left, side="right"))
    return float(slope[order[min(place, len(order) - 1)]])


def climb(hull: Hull, price: float, budget: float) -> Choice:
    """Every user's highest corner whose step gains more than the price, then the next best steps that still fit."""
    choice: Choice
    choice, level, spent = _above(hull.corner, hull.step_cost, hull.slope, price)
    slope = hull.slope.ravel()
    tied, below = np.flatnonzero((slope == price) & (slope > 0)), np.flatnonzero((slope > 0) & (slope < price))
    if len(below) > _NEXT:
        below = below[np.argpartition(-slope[below], _NEXT)[:_NEXT]]
    order = np.concatenate([tied, below[np.lexsort((below, -slope[below]))]])
    _fill(hull.corner, hull.step_cost, order, choice, level, budget - spent)
    return choice


@njit(cache=True)
def _hulls(gain: Vector, cost: Vector, allowed: NDArray[np.bool_]) -> tuple[NDArray[np.int16], Vector, Vector]:
    users, actions = gain.shape
    corner = np.full((users, actions), -1, np.int16)
    step_cost, slope = np.zeros((users, actions)), np.zeros((users, actions))
    order = np.empty(actions, np.int16)
    for i in range(users):
        found = 0
        for a in range(actions):  # sorted by cost, the larger gain first among equals
            if not allowed[i, a] or not gain[i, a] > 0:
                continue
            place = found
            while place > 0:
                b = order[place - 1]
                if cost[i, b] < cost[i, a] or (cost[i, b] == cost[i, a] and gain[i, b] >= gain[i, a]):
                    break
                order[place] = b
                place -= 1
            order[place] = a
            found += 1
        top = 0
        for k in range(found):
            a = order[k]
            if top and gain[i, a] <= gain[i, corner[i, top - 1]]:
                continue
            while top:
                last = corner[i, top - 1]
                c0, g0 = 0.0, 0.0
                if top > 1:
                    before = corner[i, top - 2]
                    c0, g0 = cost[i, before], gain[i, before]
                c1, g1 = cost[i, last], gain[i, last]
                if (gain[i, a] - g1) * (c1 - c0) < (g1 - g0) * (cost[i, a] - c1):
                    break
                top -= 1
            corner[i, top] = a
            top += 1
        for k in range(top, actions):
            corner[i, k] = -1
        c0, g0 = 0.0, 0.0
        for k in range(top):
            c1, g1 = cost[i, corner[i, k]], gain[i, corner[i, k]]
            step_cost[i, k] = c1 - c0
            slope[i, k] = (g1 - g0) / (c1 - c0) if c1 > c0 else np.inf
            c0, g0 = c1, g1
    return corner, step_cost, slope


@njit(cache=True)
def _above(
    corner: NDArray[np.int16], step_cost: Vector, slope: Vector, price: float
) -> tuple[Choice, NDArray[np.int64], float]:
    users, actions = corner.shape
    choice, level, spent = np.full(users, -1, np.int64), np.zeros(users, np.int64), 0.0
    for i in range(users):
        for k in range(actions):
            if not slope[i, k] > price:
                break
            choice[i] = corner[i, k]
            level[i] = k + 1
            spent += step_cost[i, k]
    return choice, level, spent


@njit(cache=True)
def _fill(
    corner: NDArray[np.int16],
    step_cost: Vector,
    order: NDArray[np.int64],
    choice: Choice,
    level: NDArray[np.int64],
    left: float,
) -> None:
    actions = corner.shape[1]
    for place in order:
        i, k = place // actions, place % actions
        if k == level[i] and step_cost[i, k] <= left:
            left -= step_cost[i, k]
            choice[i] = corner[i, k]
            level[i] = k + 1
