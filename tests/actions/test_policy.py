"""Assignment under limits: never beyond a limit, never far from the best possible, and the bound is one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from ebbtide.actions.hull import climb, hull_of, price_of_budget
from ebbtide.actions.limits import Limits, picked, total
from ebbtide.actions.policy import assign

Instance = tuple[np.ndarray, np.ndarray, np.ndarray, Limits]


def instance(users: int, seed: int, *, capacities: bool = False, shares: bool = False, actions: int = 4) -> Instance:
    rng = np.random.default_rng(seed)
    cost = rng.choice([0.0, 0.1, 0.5, 2.0, 5.0], actions) * rng.uniform(0.5, 1.5, (users, actions))
    gain = rng.normal(1.0, 2.0, (users, actions)) + cost * rng.uniform(0, 1.5, (users, actions))
    allowed = rng.random((users, actions)) < 0.8
    limits = Limits.of(float(cost.max(axis=1).sum() * rng.uniform(0.02, 0.7)), actions)
    if capacities:
        limits = Limits(limits.budget, np.where(rng.random(actions) < 0.7, rng.integers(0, users, actions), np.inf))
    if shares:
        limits = limits.with_shares(rng.integers(0, 3, users), 0.1, float(rng.uniform(0.3, 0.9)))
    return gain, cost, allowed, limits


def is_within(cost: np.ndarray, limits: Limits, choice: np.ndarray) -> bool:
    """Budget, capacities and largest shares; a least share may be out of reach."""
    by_action, by_group = limits.used(choice)
    spent = float(picked(cost, choice).sum())
    return bool(spent <= limits.budget and (by_action <= limits.capacity).all() and (by_group <= limits.most).all())


def best_by_trying_all(gain: np.ndarray, cost: np.ndarray, allowed: np.ndarray, limits: Limits) -> tuple[float, float]:
    """The fewest missing users of least shares, and the highest gain with so few."""
    options = [[-1, *np.flatnonzero(row)] for row in allowed]
    found = (math.inf, -math.inf)
    for tried in itertools.product(*options):
        choice = np.array(tried, np.int64)
        if is_within(cost, limits, choice):
            missing = float(limits.missing(choice).sum())
            value = float(picked(gain, choice).sum())
            found = min(found, (missing, value), key=lambda f: (f[0], -f[1]))
    return found


@given(st.integers(1, 5), st.integers(0, 10**6), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_on_few_users_the_plan_is_as_good_as_trying_all(users: int, seed: int, capacities: bool, shares: bool) -> None:
    """Of up to five users each may sit on the edge of a limit; pairs of them are exchanged until none gains."""
    gain, cost, allowed, limits = instance(users, seed, capacities=capacities, shares=shares, actions=3)
    done = assign(gain, cost, allowed, limits)
    missing, best = best_by_trying_all(gain, cost, allowed, limits)
    assert is_within(cost, limits, done.choice)
    chosen = done.choice >= 0
    assert allowed[np.flatnonzero(chosen), done.choice[chosen]].all()
    if done.missing.sum() == missing:
        assert done.gain <= best + 1e-9
    if missing == 0:
        assert best <= done.bound + 1e-9 * abs(best)
    if not shares:
        assert done.gain >= best - np.abs(gain).max()


def highs(gain: np.ndarray, cost: np.ndarray, allowed: np.ndarray, limits: Limits) -> float:
    users, actions = gain.shape
    one_each = np.kron(np.eye(users), np.ones(actions))
    by_action = np.tile(np.eye(actions), users)
    rows, upper = [one_each, cost.reshape(1, -1), by_action], [np.ones(users), [limits.budget], limits.capacity]
    if limits.groups:
        by_group = np.kron(np.eye(limits.groups)[limits.group].T, np.ones(actions))
        rows, upper = [*rows, by_group, -by_group], [*upper, limits.most, -limits.least]
    found = milp(
        -gain.ravel(),
        integrality=np.ones(gain.size),
        bounds=Bounds(0, allowed.ravel().astype(float)),
        constraints=LinearConstraint(np.vstack(rows), -np.inf, np.concatenate(upper)),
        options={"mip_rel_gap": 1e-6},
    )
    assert found.x is not None
    return -float(found.fun)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [{}, {"capacities": True}, {"capacities": True, "shares": True}], ids=str)
def test_the_plan_is_as_good_as_highs_within_a_fifth_percent(kind: dict[str, bool], seed: int) -> None:
    gain, cost, allowed, limits = instance(300, 100 + seed, **kind)
    done = assign(gain, cost, allowed, limits)
    assert is_within(cost, limits, done.choice)
    assert not done.missing.any()
    best = highs(gain, cost, allowed, limits)
    assert done.gain >= best * 0.998
    assert done.bound >= best - 1e-6 * abs(best)
    assert done.gap >= 0


def test_costs_never_exceed_the_budget_in_whatever_order_they_are_added() -> None:
    """5,000 times 0.1 is 500.0000000001 when added one by one."""
    cost = np.full((6000, 1), 0.1)
    done = assign(np.ones((6000, 1)), cost, np.ones((6000, 1), bool), Limits.of(500.0, 1))
    spent = picked(cost, done.choice)
    assert max(float(np.cumsum(spent)[-1]), float(spent.sum()), math.fsum(spent)) <= 500.0
    assert (done.choice >= 0).sum() >= 4999
    assert total(np.zeros(0)) == 0.0


def test_a_budget_of_nothing_buys_what_costs_nothing() -> None:
    gain, cost = np.array([[2.0, 1.0], [3.0, -1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    done = assign(gain, cost, np.ones((2, 2), bool), Limits.of(0.0, 2))
    assert done.choice.tolist() == [1, -1]
    assert done.cost == 0.0


def test_nobody_and_no_action_are_answered() -> None:
    assert len(assign(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2), bool), Limits.of(9.0, 2)).choice) == 0
    assert (
        assign(np.zeros((3, 0)), np.zeros((3, 0)), np.zeros((3, 0), bool), Limits.of(9.0, 0)).choice.tolist()
        == [-1] * 3
    )


def test_what_loses_money_is_not_done_unless_a_least_share_asks() -> None:
    gain, cost = np.full((10, 1), -1.0), np.ones((10, 1))
    allowed, alone = np.ones((10, 1), bool), Limits.of(100.0, 1)
    assert (assign(gain, cost, allowed, alone).choice == -1).all()
    shares = alone.with_shares(np.arange(10) % 2, 0.4, 1.0)
    assert shares.used(assign(gain, cost, allowed, shares).choice)[1].tolist() == [2, 2]


def test_a_least_share_out_of_reach_is_told_not_raised() -> None:
    gain, cost = np.ones((10, 1)), np.ones((10, 1))
    limits = Limits.of(3.0, 1).with_shares(np.zeros(10, np.int64), 0.5, 1.0)
    done = assign(gain, cost, np.ones((10, 1), bool), limits)
    assert (done.choice >= 0).sum() == 3
    assert done.missing.tolist() == [2.0]


def test_equal_users_share_a_capacity() -> None:
    """Ties everywhere: prices alone cannot tell the users apart."""
    gain, cost = np.tile([5.0, 4.0], (3000, 1)), np.tile([2.0, 1.0], (3000, 1))
    limits = Limits(2500.0, np.array([700.0, np.inf]))
    done = assign(gain, cost, np.ones((3000, 2), bool), limits)
    assert is_within(cost, limits, done.choice)
    assert done.gain >= 2500 * 4 * 0.999


def test_more_budget_never_gains_less() -> None:
    gain, cost, allowed, limits = instance(400, 7)
    earned = [assign(gain, cost, allowed, Limits.of(limits.budget * f, 4)).gain for f in (0, 0.1, 0.5, 1, 3, 100)]
    assert all(later >= earlier * 0.999 for earlier, later in itertools.pairwise(earned))
    assert earned[-1] == pytest.approx(np.maximum(np.where(allowed, gain, 0), 0).max(axis=1).sum())


def test_the_hull_skips_what_a_mix_of_others_beats() -> None:
    """(1, 3), (2, 3.5), (3, 6): from 1 to 3 each euro gains 1.5, so the middle is never worth it."""
    hull = hull_of(np.array([[3.0, 3.5, 6.0]]), np.array([[1.0, 2.0, 3.0]]), np.ones((1, 3), bool))
    assert hull.corner.tolist() == [[0, 2, -1]]
    assert hull.slope.tolist() == [[3.0, 1.5, 0.0]]
    assert price_of_budget(hull, 0.5) == 3.0
    assert price_of_budget(hull, 1.5) == 1.5
    assert price_of_budget(hull, 3.0) == 0.0
    assert [climb(hull, price_of_budget(hull, b), b).tolist() for b in (0.5, 1.5, 3.0)] == [[-1], [0], [2]]


def test_the_arrays_given_are_left_alone() -> None:
    gain, cost, allowed, limits = instance(50, 3, capacities=True, shares=True)
    copies = gain.copy(), cost.copy(), allowed.copy()
    assign(gain, cost, allowed, limits)
    assert all(np.array_equal(a, b) for a, b in zip((gain, cost, allowed), copies, strict=True))
