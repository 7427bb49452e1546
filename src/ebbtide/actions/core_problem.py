"""The few users whose action is not clear at the prices, decided together: a linear programme, rounded and improved.

Everybody else is fixed; what they leave of the limits binds the rest. A corner of the linear relaxation leaves at most one
user a limit undecided; these get nothing, and then single users and pairs of users are moved as long as that gains.
Source of the idea of a core: Balas and Zemel 1980, "An algorithm for large zero-one knapsack problems", Operations
Research 28(5).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array

from ebbtide.actions.hull import Choice, Vector
from ebbtide.actions.limits import Limits, picked
from ebbtide.actions.prices import Prices

_WHOLE = 1 - 1e-6
_SWEEPS = 30


def relaxed(
    gain: Vector,
    cost: Vector,
    allowed: NDArray[np.bool_],
    limits: Limits,
    choice: Choice,
    core: NDArray[np.int64],
    penalty: float,
) -> tuple[Choice, Prices]:
    """The choice with the users of `core` (C,) decided anew by the linear relaxation, and its prices.

    Who is fractional gets nothing. `penalty`: what a user that a least share lacks counts.
    Where the relaxation has no solution the choice stays, at prices of 0.
    """
    rest = choice.copy()
    rest[core] = -1
    rows, actions = np.nonzero(allowed[core])
    left = _left(cost, limits, rest, core)
    free = Prices(0.0, np.zeros(len(limits.capacity)), np.zeros(limits.groups), 0.0)
    if not len(rows) or left.budget < 0:
        return choice, free
    worth = gain[core[rows], actions]
    matrix, upper, missing = _limits_of(rows, actions, cost[core[rows], actions], left, len(core))
    scale = float(np.abs(worth).max()) or 1.0
    objective = np.concatenate([-worth, np.full(missing, penalty)]) / scale
    found = linprog(objective, A_ub=matrix, b_ub=upper, bounds=(0, None), method="highs-ds")
    if found.x is None:
        return choice, free
    taken = found.x[: len(rows)] > _WHOLE
    rest[core[rows[taken]]] = actions[taken]
    return rest, _prices(-found.ineqlin.marginals[len(core) :] * scale, left)


def _prices(paid: Vector, left: Limits) -> Prices:
    """The prices from the multipliers of the lines of `_limits_of`, in their order."""
    capped, groups = np.isfinite(left.capacity), left.groups
    by_action, by_group = np.zeros(len(left.capacity)), np.zeros(groups)
    by_action[capped] = paid[1 : 1 + capped.sum()]
    by_group += paid[1 + capped.sum() :][:groups]
    by_group[left.least > 0] -= paid[1 + capped.sum() + groups :]
    return Prices(float(max(paid[0], 0.0)), by_action, by_group, 0.0)


def improved(
    gain: Vector,
    cost: Vector,
    allowed: NDArray[np.bool_],
    limits: Limits,
    choice: Choice,
    core: NDArray[np.int64],
    penalty: float,
) -> Choice:
    """The choice with one or two users of `core` at a time moved to other actions, within the limits, while it gains."""
    choice = choice.copy()
    by_action, by_group = limits.used(choice)
    groups = limits.groups
    here = choice[core]
    _exchange(
        gain[core],
        cost[core],
        allowed[core],
        limits.group[core] if groups else np.zeros(len(core), np.int64),
        here,
        np.array([limits.budget - float(picked(cost, choice).sum())]),
        limits.capacity - by_action,
        limits.most - by_group if groups else np.full(1, np.inf),
        by_group - limits.least if groups else np.full(1, np.inf),
        penalty,
    )
    choice[core] = here
    return choice


def _left(cost: Vector, limits: Limits, rest: Choice, core: NDArray[np.int64]) -> Limits:
    by_action, by_group = limits.used(rest)
    return replace(
        limits,
        budget=limits.budget - float(picked(cost, rest).sum()),
        capacity=np.maximum(limits.capacity - by_action, 0.0),
        group=limits.group[core] if limits.groups else limits.group,
        least=limits.least - by_group,
        most=np.maximum(limits.most - by_group, 0.0),
    )


def _limits_of(
    rows: NDArray[np.int64], actions: NDArray[np.int64], costs: Vector, left: Limits, users: int
) -> tuple[csr_array, Vector, int]:
    """One row a limit, `matrix @ x <= upper`; behind the choices stands one slack for each least share that binds."""
    options, one = np.arange(len(rows)), np.ones(len(rows))
    short = np.flatnonzero(left.least > 0)
    lines: list[tuple[NDArray[np.int64], Vector, float]] = [(options, costs, left.budget)]
    for action in np.flatnonzero(np.isfinite(left.capacity)):
        its = options[actions == action]
        lines.append((its, one[its], left.capacity[action]))
    for number in range(left.groups):
        its = options[left.group[rows] == number]
        lines.append((its, one[its], left.most[number]))
    for number, group in enumerate(short):
        its = np.append(options[left.group[rows] == group], len(rows) + number)
        lines.append((its, -np.ones(len(its)), -left.least[group]))
    place = np.concatenate([rows, *(np.full(len(its), users + n) for n, (its, _, _) in enumerate(lines))])
    column = np.concatenate([options, *(its for its, _, _ in lines)])
    value = np.concatenate([one, *(values for _, values, _ in lines)])
    shape = (users + len(lines), len(rows) + len(short))
    upper = np.concatenate([np.ones(users), [most for _, _, most in lines]])
    return coo_array((value, (place, column)), shape=shape).tocsr(), upper, len(short)


@njit(cache=True)
def _exchange(
    gain: Vector,
    cost: Vector,
    allowed: NDArray[np.bool_],
    group: NDArray[np.int64],
    choice: Choice,
    left: Vector,
    capacity: Vector,
    most: Vector,
    over: Vector,
    penalty: float,
) -> None:
    """`left` (1,), `capacity` (A,), `most` (G,): what is left of the limits; `over` (G,): treated above the least share."""
    users, actions = gain.shape
    for _ in range(_SWEEPS):
        moved = False
        for i in range(users):
            for a in range(-1, actions):
                if a == choice[i] or (a >= 0 and not allowed[i, a]):
                    continue
                old = choice[i]
                gained = _move(gain, cost, group, choice, left, capacity, most, over, penalty, i, a)
                if gained > 1e-12 and _kept(left, capacity, most):
                    moved = True
                    continue
                done = False
                for j in range(users):
                    if j == i:
                        continue
                    before = choice[j]
                    for b in range(-1, actions):
                        if b == before or (b >= 0 and not allowed[j, b]):
                            continue
                        both = gained + _move(gain, cost, group, choice, left, capacity, most, over, penalty, j, b)
                        if both > 1e-12 and _kept(left, capacity, most):
                            done = True
                            break
                        _move(gain, cost, group, choice, left, capacity, most, over, penalty, j, before)
                    if done:
                        break
                if done:
                    moved = True
                else:
                    _move(gain, cost, group, choice, left, capacity, most, over, penalty, i, old)
        if not moved:
            return


@njit(cache=True)
def _kept(left: Vector, capacity: Vector, most: Vector) -> bool:
    return bool(left[0] >= 0 and capacity.min() >= 0 and most.min() >= 0)


@njit(cache=True)
def _move(
    gain: Vector,
    cost: Vector,
    group: NDArray[np.int64],
    choice: Choice,
    left: Vector,
    capacity: Vector,
    most: Vector,
    over: Vector,
    penalty: float,
    user: int,
    to: int,
) -> float:
    """Give a user another action, whatever the limits; what that gains, with the penalty for least shares."""
    old, g, gained = choice[user], group[user], 0.0
    short = max(0.0, -over[g])
    if old >= 0:
        gained -= gain[user, old]
        left[0] += cost[user, old]
        capacity[old] += 1
        most[g] += 1
        over[g] -= 1
    if to >= 0:
        gained += gain[user, to]
        left[0] -= cost[user, to]
        capacity[to] -= 1
        most[g] -= 1
        over[g] += 1
    choice[user] = to
    return float(gained - penalty * (max(0.0, -over[g]) - short))
