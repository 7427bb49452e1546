"""Exploration: chances are what they say, limits hold, and importance weights undo the policy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.actions.exploration import explore, without_explorers
from ebbtide.actions.limits import Limits, picked


def setting(users: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.tile([0.5, 2.0, 5.0], (users, 1)), rng.random((users, 3)) < 0.8, rng.random(users)


def test_chances_are_spread_evenly_over_what_is_possible() -> None:
    cost, allowed, luck = setting(10)
    allowed[0], allowed[1] = [True, True, False], False
    found = explore(cost, allowed, Limits.of(1e9, 3), 0.3, luck)
    assert found.rates[0].tolist() == pytest.approx([0.1, 0.1, 0.0])
    assert found.still[0] == pytest.approx(0.1)
    assert found.rates[1].sum() + found.still[1] == 0.0
    assert found.drawn[1] == -2


def test_about_the_share_epsilon_explores() -> None:
    cost, allowed, luck = setting(20_000)
    found = explore(cost, allowed, Limits.of(1e9, 3), 0.2, luck)
    some = allowed.any(axis=1)
    assert found.explores[some].mean() == pytest.approx(0.2, abs=0.01)
    assert (found.drawn[found.explores] == -1).mean() > 0.2


@given(st.integers(0, 10**6), st.floats(0.001, 1.0), st.floats(0, 200.0), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_exploring_keeps_budget_and_capacities(seed: int, epsilon: float, budget: float, capacity: int) -> None:
    cost, allowed, luck = setting(300, seed)
    limits = Limits(budget, np.array([np.inf, capacity, capacity]))
    found = explore(cost, allowed, limits, epsilon, luck)
    treated = np.maximum(found.drawn, -1)
    assert picked(cost, treated).sum() <= budget
    assert (limits.used(treated)[0] <= limits.capacity).all()
    chosen = treated >= 0
    assert allowed[np.flatnonzero(chosen), treated[chosen]].all()
    rest = without_explorers(limits, cost, found)
    assert rest.budget >= 0
    assert (rest.capacity >= 0).all()


def test_propensities_of_a_user_add_up_to_one() -> None:
    cost, allowed, luck = setting(500)
    found = explore(cost, allowed, Limits.of(300.0, 3), 0.3, luck)
    by_policy = np.where(allowed[:, 0], 0, -1)
    whole = sum(found.propensities(np.full(500, a), by_policy) for a in (-1, 0, 1, 2))
    assert whole == pytest.approx(np.ones(500))


def test_weights_by_propensity_recover_the_mean_of_an_action() -> None:
    """Horvitz-Thompson over many draws: the action's mean outcome over all, though the policy gives it to few."""
    rng = np.random.default_rng(1)
    users = 40_000
    cost, allowed = np.tile([1.0, 1.0], (users, 1)), np.ones((users, 2), np.bool_)
    outcome = rng.normal(2.0, 1.0, users)
    by_policy = (outcome > 2.5).astype(np.int64)  # action 1 goes to those who do best
    found = explore(cost, allowed, Limits.of(1e9, 2), 0.3, rng.random(users))
    choice = np.where(found.explores, np.maximum(found.drawn, -1), by_policy)
    weight = (choice == 1) / found.propensities(choice, by_policy)
    assert float((weight * outcome).mean()) == pytest.approx(2.0, abs=0.1)
    assert float(outcome[choice == 1].mean()) > 2.4
