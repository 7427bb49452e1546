"""Several limits at once: a price for each, found by minimising the smoothed Lagrangian dual.

The dual  y.b + sum over users of max over actions (gain - y.use)  is convex and almost smooth with many users. The
maximum is replaced by the soft maximum of temperature t, whose gradient and Hessian are exact sums over users, and the
temperature falls step by step. Source: Nesterov 2005, "Smooth minimization of non-smooth functions", Math. Programming
103; the soft maximum gives each user's chances of being fractional.

Prices are kept in one vector: budget, then A capacities, then G largest shares, then G least shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.actions.hull import Choice, Vector
from ebbtide.actions.limits import Limits
from ebbtide.models.newton import Evaluation, maximise

_SAMPLE = 20_000
_WARM = (0.3, 0.1, 0.03, 0.01, 0.003)
_LAST = 0.001
_HIGHEST = 1e4
_LEAN = 1e-9  # curvature where everybody is decided and the dual is straight


@dataclass(frozen=True)
class Prices:
    """What one more euro, place or user would gain: `budget`, `action` (A,), `group` (G,), the latter negative where
    the least share binds. `temperature`: how blurred the choice still is, in money."""

    budget: float
    action: Vector
    group: Vector
    temperature: float

    def choose(
        self, gain: Vector, cost: Vector, allowed: NDArray[np.bool_], group: NDArray[np.int64]
    ) -> tuple[Choice, Vector, float]:
        """The best action of each user at these prices, by how much it beats the next, and the sum over users."""
        return _choose(gain, cost, allowed, group, self.budget, self.action, _padded(self.group))  # type: ignore[no-any-return]

    def blurred(self, gain: Vector, cost: Vector, allowed: NDArray[np.bool_], group: NDArray[np.int64]) -> Choice:
        """As `choose`, but ties and near-ties are spread by the soft maximum, so that limits are met on average."""
        prices = (self.budget, self.action, _padded(self.group), self.temperature)
        return _blurred(gain, cost, allowed, group, *prices)  # type: ignore[no-any-return]

    def bound(self, limits: Limits, surplus: float) -> float:
        """No assignment within the limits gains more than this (weak duality); `surplus` comes from `choose`."""
        capped = np.isfinite(limits.capacity)
        value = self.budget * limits.budget + float(self.action[capped] @ limits.capacity[capped]) + surplus
        if limits.groups:
            value += float(np.maximum(self.group, 0) @ limits.most - np.maximum(-self.group, 0) @ limits.least)
        return value


def find_prices(
    gain: Vector, cost: Vector, allowed: NDArray[np.bool_], limits: Limits, start: float, highest: float
) -> Prices:
    """The prices that minimise the dual; `start`: the price of the budget alone; `highest`: of a least share's user."""
    worth = float(np.abs(gain[allowed]).mean()) if allowed.any() else 1.0
    euro = worth / start if start > 0 else max(float(cost[allowed].mean()) if allowed.any() else 1.0, 1e-12)
    users, actions = gain.shape
    group = limits.group if limits.groups else np.zeros(users, np.int64)
    scaled = (gain / worth, cost / euro, allowed, group)
    aim = np.concatenate([[limits.budget / euro], limits.capacity, limits.most, -limits.least]) / users
    upper = np.where(np.isfinite(aim), _HIGHEST, 0.0)
    upper[1 + actions :] = highest / worth
    aim = np.where(np.isfinite(aim), aim, 0.0)
    point = np.zeros(len(aim))
    point[0] = 1.0 if start > 0 else 0.0
    some = np.arange(0, users, max(1, users // _SAMPLE))
    few = tuple(part[some] for part in scaled)
    for temperature in _WARM:
        point = _minimised(few, aim, temperature, point, upper)
    point = _minimised(scaled, aim, _LAST, point, upper)
    groups = limits.groups
    by_group = point[1 + actions : 1 + actions + groups] - point[1 + actions + groups :]
    return Prices(float(point[0]) * worth / euro, point[1 : 1 + actions] * worth, by_group * worth, _LAST * worth)


def _minimised(
    parts: tuple[NDArray[np.generic], ...], aim: Vector, temperature: float, start: Vector, upper: Vector
) -> Vector:
    gain, cost, allowed, group = parts
    groups = (len(aim) - 1 - gain.shape[1]) // 2

    def dual(point: Vector) -> Evaluation:
        value, slope, bend = _smooth_dual(gain, cost, allowed, group, groups, point, temperature)
        users = len(gain)
        value = value / users + float(aim @ point) + _LEAN / 2 * float(point @ point)
        return -value, -(aim - slope / users + _LEAN * point), -bend / users - _LEAN * np.eye(len(aim))

    with np.errstate(over="ignore"):  # a step of almost nothing has room for any multiple of it
        return maximise(dual, start, np.zeros(len(aim)), upper).point


def _padded(group: Vector) -> Vector:
    return group if len(group) else np.zeros(1)


@njit(cache=True)
def _choose(
    gain: Vector,
    cost: Vector,
    allowed: NDArray[np.bool_],
    group: NDArray[np.int64],
    price: float,
    by_action: Vector,
    by_group: Vector,
) -> tuple[Choice, Vector, float]:
    users, actions = gain.shape
    choice, margin, surplus = np.full(users, -1, np.int64), np.empty(users), 0.0
    for i in range(users):
        best, second = 0.0, -np.inf
        for a in range(actions):
            if not allowed[i, a]:
                continue
            value = gain[i, a] - price * cost[i, a] - by_action[a] - by_group[group[i]]
            if value > best:
                best, second = value, best
                choice[i] = a
            elif value > second:
                second = value
        margin[i] = best - second
        surplus += best
    return choice, margin, surplus


@njit(cache=True)
def _blurred(
    gain: Vector,
    cost: Vector,
    allowed: NDArray[np.bool_],
    group: NDArray[np.int64],
    price: float,
    by_action: Vector,
    by_group: Vector,
    temperature: float,
) -> Choice:
    users, actions = gain.shape
    choice, weight = np.full(users, -1, np.int64), np.empty(actions)
    for i in range(users):
        best = 0.0
        for a in range(actions):
            weight[a] = -np.inf
            if allowed[i, a]:
                weight[a] = gain[i, a] - price * cost[i, a] - by_action[a] - by_group[group[i]]
                best = max(best, weight[a])
        whole = np.exp(-best / temperature)
        for a in range(actions):
            weight[a] = np.exp((weight[a] - best) / temperature)
            whole += weight[a]
        luck = ((i + 1) * 0.6180339887498949) % 1.0 * whole  # golden ratio: spread evenly over users
        for a in range(actions):
            luck -= weight[a]
            if luck < 0 and weight[a] > 0:
                choice[i] = a
                break
    return choice


@njit(cache=True)
def _smooth_dual(
    gain: Vector,
    cost: Vector,
    allowed: NDArray[np.bool_],
    group: NDArray[np.int64],
    groups: int,
    point: Vector,
    temperature: float,
) -> tuple[float, Vector, Vector]:
    """Sum of soft maxima, its use of each limit (negative for least shares) and its Hessian, in the order of prices."""
    users, actions = gain.shape
    size = 1 + actions + 2 * groups
    value, slope, bend = 0.0, np.zeros(size), np.zeros((size, size))
    chance, least = np.empty(actions), 1 + actions + groups
    kinds = max(groups, 1)
    together = np.zeros((kinds, actions + 2, actions + 2))
    for i in range(users):
        g = group[i]
        toll = point[1 + actions + g] - point[least + g] if groups else 0.0
        best = 0.0
        for a in range(actions):
            chance[a] = -np.inf
            if allowed[i, a]:
                chance[a] = gain[i, a] - point[0] * cost[i, a] - point[1 + a] - toll
                best = max(best, chance[a])
        whole = np.exp(-best / temperature)
        for a in range(actions):
            chance[a] = np.exp((chance[a] - best) / temperature) if allowed[i, a] else 0.0
            whole += chance[a]
        value += best + temperature * np.log(whole)
        spent, treated, squares = 0.0, 0.0, 0.0
        for a in range(actions):
            chance[a] /= whole
            spent += chance[a] * cost[i, a]
            squares += chance[a] * cost[i, a] * cost[i, a]
            treated += chance[a]
            slope[1 + a] += chance[a]
        slope[0] += spent
        if groups:
            slope[1 + actions + g] += treated
            slope[least + g] -= treated
        if spent * spent == squares and treated * (1 - treated) == 0.0:
            continue  # decided: no curvature
        m = together[g if groups else 0]
        m[0, 0] += squares - spent * spent
        m[0, actions + 1] += spent * (1 - treated)
        m[actions + 1, actions + 1] += treated * (1 - treated)
        for a in range(actions):
            m[0, 1 + a] += chance[a] * (cost[i, a] - spent)
            m[1 + a, actions + 1] += chance[a] * (1 - treated)
            m[1 + a, 1 + a] += chance[a]
            for b in range(actions):
                m[1 + a, 1 + b] -= chance[a] * chance[b]
    for g in range(kinds):
        m = together[g]
        for r in range(actions + 1):
            for c in range(r, actions + 1):
                bend[r, c] += m[r, c]
                if c > r:
                    bend[c, r] += m[r, c]
        if groups:
            high, low = 1 + actions + g, least + g
            for r in range(actions + 1):
                bend[r, high] += m[r, actions + 1]
                bend[high, r] += m[r, actions + 1]
                bend[r, low] -= m[r, actions + 1]
                bend[low, r] -= m[r, actions + 1]
            t = m[actions + 1, actions + 1]
            bend[high, high] += t
            bend[low, low] += t
            bend[high, low] -= t
            bend[low, high] -= t
    return value, slope, bend / temperature
