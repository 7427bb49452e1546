"""Thompson sampling: the posterior is the textbook's, propensities are frequencies, and it finds the better action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from ebbtide.actions.effects import Measured, effects_of
from ebbtide.actions.limits import Limits
from ebbtide.actions.policy import assign
from ebbtide.actions.thompson import CONTEXT, History, Sampler, context_of, learn, prior_of

Make = Callable[..., Any]
NOBODY = np.zeros(0)


@pytest.fixture
def actions(make_actions: Make) -> Any:
    return make_actions({"name": "good", "contact_cost": 0.1}, {"name": "bad", "contact_cost": 0.1})


def history(count: int, effects: tuple[float, float], seed: int = 0) -> History:
    """Users who stay with log-odds 0, plus the effect of the action."""
    rng = np.random.default_rng(seed)
    x = context_of(rng.integers(1, 9, count).astype(float), rng.uniform(1, 90, count))
    action = rng.integers(0, 3, count)
    log_odds = np.array([0.0, *effects])[action]
    return History(x, action, (rng.random(count) < 1 / (1 + np.exp(-log_odds))).astype(float))


def test_without_history_the_prior_says_what_is_assumed(make_actions: Make) -> None:
    """It keeps 30 % of the 40 % that leave: 28 % leave."""
    (coupon,) = make_actions({"name": "coupon", "assumed_effect": 0.3})
    prior = prior_of([coupon], 0.4)
    assert prior.mean[0, 0] == pytest.approx(np.log(0.72 / 0.28) - np.log(0.6 / 0.4))
    assert learn(prior, History(np.zeros((0, CONTEXT)), np.zeros(0, np.int64), NOBODY)) is prior


def test_the_posterior_is_the_mode_and_the_curvature_there(actions: Any) -> None:
    """Against a general optimiser on the same log-posterior."""
    prior, told = prior_of(actions, 0.5), history(400, (0.8, -0.5))
    spread = np.concatenate([[5.0, 2.0, 2.0], np.tile([0.7, 0.3, 0.3], 2)])
    design = np.zeros((400, 3, CONTEXT))
    design[:, 0] = told.x
    design[np.flatnonzero(told.action), told.action[told.action > 0]] = told.x[told.action > 0]
    X = design.reshape(400, -1)

    def minus_log(theta: np.ndarray) -> float:
        z = X @ theta
        return float(np.logaddexp(0, z).sum() - told.kept @ z + 0.5 * ((theta / spread) ** 2).sum())

    found = minimize(minus_log, np.zeros(9), method="BFGS", options={"gtol": 1e-8})
    ours = learn(prior, told)
    assert ours.mean.ravel() == pytest.approx(found.x[CONTEXT:], abs=1e-4)
    p = 1 / (1 + np.exp(-X @ found.x))
    inverse = np.linalg.inv((X * (p * (1 - p))[:, None]).T @ X + np.diag(1 / spread**2))
    assert ours.covariance.reshape(6, 6) == pytest.approx(inverse[CONTEXT:, CONTEXT:], abs=1e-4)


def test_more_history_makes_it_surer(actions: Any) -> None:
    prior = prior_of(actions, 0.5)
    spreads = [learn(prior, history(n, (1.0, -1.0))).covariance[0, 0, 0, 0] for n in (10, 100, 1000)]
    assert prior.covariance[0, 0, 0, 0] > spreads[0] > spreads[1] > spreads[2]


def sampler(actions: Any, count: int, users: int = 300) -> Sampler:
    posterior = learn(prior_of(actions, 0.5), history(count, (1.0, -1.0)))
    rng = np.random.default_rng(1)
    x = context_of(rng.integers(1, 9, users).astype(float), rng.uniform(1, 90, users))
    return Sampler(posterior, x, np.full(users, 0.5), np.full(users, 50.0), seed=0)


def test_it_tries_everything_at_first_and_settles_on_what_works(actions: Any) -> None:
    cost, allowed = np.full((300, 2), 0.1), np.ones((300, 2), np.bool_)
    shares = []
    for count in (0, 3000):
        made = sampler(actions, count)
        chosen = assign(made.sampled() - cost, cost, allowed, Limits.of(1e9, 2)).choice
        shares.append([(chosen == a).mean() for a in (-1, 0, 1)])
    assert min(shares[0]) > 0.1
    assert shares[1][1] > 0.95


def test_propensities_are_how_often_an_action_is_drawn(actions: Any) -> None:
    """Among users who are alike, the mean propensity of who got an action is the share who got it."""
    made = sampler(actions, 40, users=2000)
    alike = Sampler(made.posterior, np.tile(made.x[:1], (2000, 1)), made.probability, made.value, seed=3)
    cost, allowed = np.full((2000, 2), 0.1), np.ones((2000, 2), np.bool_)
    done = assign(alike.sampled() - cost, cost, allowed, Limits.of(1e9, 2))
    chance = alike.propensities(done.choice, cost, allowed, np.zeros(2000, np.int64), done.prices)
    assert (chance > 0).all()
    assert (chance <= 1).all()
    for action in (-1, 0, 1):
        got = done.choice == action
        assert chance[got].mean() == pytest.approx(got.mean(), abs=0.05)


def test_expected_worth_is_value_times_the_change_in_staying(actions: Any) -> None:
    """With thousands of exposures the good action keeps 1/(1+e^-1) = 73 % of those of whom half would stay: 23 % of 50."""
    worth = sampler(actions, 20_000).expected()
    assert worth[:, 0].mean() == pytest.approx(0.231 * 50, abs=1.0)
    assert worth[:, 1].mean() == pytest.approx(-0.231 * 50, abs=1.0)


def test_what_is_measured_and_what_is_assumed_count_by_their_precision(make_actions: Make) -> None:
    """By hand for `b`: assumed 0.5 x (10, 20) x 0.1 = (0.5, 1), with itself as standard error, on average 0.75; measured
    (3, 4) with an error of 0.75: half and half."""
    first, second, third = make_actions(
        {"name": "a", "assumed_effect": 0.1}, {"name": "b", "assumed_effect": 0.1}, {"name": "c"}
    )
    z, at_risk, all_ = 1.6448536269514722, np.array([10.0, 20.0]), (first, second, third)
    told = {
        "b": Measured(np.array([3.0, 4.0]), np.array([3.0, 4.0]) - 0.75 * z),
        "c": Measured(np.array([3.0, 4.0]), np.array([1.0, -1.0])),
        "unheard of": Measured(NOBODY, NOBODY),
    }
    found = effects_of(at_risk, all_, told, margin=0.5)
    assert found.source == ("assumed", "combined", "measured")
    assert found.measured_share == pytest.approx({"b": 0.5, "c": 1.0})
    assert found.worth == pytest.approx(np.array([[0.5, 1.75, 3.0], [1.0, 2.5, 4.0]]))
    careful = effects_of(at_risk, all_, told, margin=0.5, cautious=True).worth
    assert careful[:, 2].tolist() == [1.0, -1.0]
    assert careful[:, 1] == pytest.approx([1.75 - z * np.hypot(0.375, 0.25), 2.5 - z * np.hypot(0.375, 0.5)])


def test_an_experiment_that_settles_nothing_leaves_the_assumption_and_a_sharp_one_replaces_it(
    make_actions: Make,
) -> None:
    (action,) = make_actions({"name": "a", "assumed_effect": 0.1})
    at_risk, measured = np.array([10.0, 20.0]), np.array([-5.0, -5.0])
    for error, expected, source in ((100.0, [1.0, 2.0], "combined"), (1e-3, [-5.0, -5.0], "measured")):
        found = effects_of(at_risk, (action,), {"a": Measured(measured, measured - error)}, margin=1.0)
        assert found.worth[:, 0] == pytest.approx(expected, abs=0.01)
        assert found.source == (source,)
