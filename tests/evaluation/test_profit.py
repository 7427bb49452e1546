"""EMPC: published value, brute force over the acceptance rate, closed forms; campaigns by own value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta

from ebbtide.core.errors import InputError
from ebbtide.core.settings import ProfitConfig
from ebbtide.evaluation.profit import empc, value_policy

Scored = Callable[..., Any]
DEFAULT = ProfitConfig()
DEAR = ProfitConfig(clv=100, incentive=30, contact=5)


def best_profit(gamma: float, y: np.ndarray, p: np.ndarray, profit: ProfitConfig) -> tuple[float, float]:
    """The definition: the best number of users from the top (whole ties), at a known acceptance rate."""
    gain = np.where(
        y == 1, gamma * (profit.clv - profit.incentive) - profit.contact, -profit.incentive - profit.contact
    )
    order = np.argsort(-p, kind="stable")
    earned = np.r_[0, np.cumsum(gain[order])] / len(y)
    ends = np.r_[0, np.flatnonzero(np.diff(p[order], append=-1)) + 1]
    best = ends[np.argmax(earned[ends])]
    return float(earned[best]), best / len(y)


def test_published_value() -> None:
    """The example in the documentation of empulse (`empc_score`), which follows the R package EMP."""
    y = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    assert empc(y, np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9]))[0] == pytest.approx(
        23.875593418348124, rel=1e-12
    )


@pytest.mark.parametrize("profit", [DEFAULT, DEAR, ProfitConfig(alpha=2, beta=3, contact=0)])
@pytest.mark.parametrize("places", [None, 1])
def test_equals_the_integral_over_the_acceptance_rate(scored: Scored, profit: ProfitConfig, places: int | None) -> None:
    y, p = scored(60, seed=3, places=places)
    density = beta(profit.alpha, profit.beta).pdf
    grid = np.linspace(0, 1, 4001)
    middle = (grid[1:] + grid[:-1]) / 2
    best = np.array([best_profit(g, y, p, profit) for g in middle])
    weight = density(middle) / len(middle)
    found, share = empc(y, p, profit)
    assert found == pytest.approx(float(weight @ best[:, 0]), rel=1e-4)
    assert share == pytest.approx(float(weight @ best[:, 1]), abs=2e-3)


def test_a_perfect_ranking_earns_the_closed_form() -> None:
    """All churners and nobody else, as soon as gamma (clv - d) > f."""
    y, p = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.8, 0.3, 0.2, 0.1])
    kept, contact = 190.0, 1.0
    expected, _ = quad(lambda g: 0.4 * (g * kept - contact) * beta(6, 14).pdf(g), contact / kept, 1)
    found, share = empc(y, p)
    assert found == pytest.approx(expected, rel=1e-8)
    assert share == pytest.approx(0.4 * beta(6, 14).sf(contact / kept), rel=1e-8)


def test_a_better_ranking_never_earns_less(scored: Scored) -> None:
    y, p = scored(400, seed=5)
    noise = np.random.default_rng(0).normal(size=400)
    assert empc(y, y + 0.001 * p)[0] >= empc(y, p)[0] >= empc(y, noise)[0] >= 0


def test_where_targeting_never_pays_nothing_is_earned(scored: Scored) -> None:
    y, p = scored(50)
    assert empc(y, p, ProfitConfig(clv=5, incentive=10)) == (0.0, 0.0)
    assert empc(np.zeros(5), np.linspace(0, 1, 5)) == (0.0, 0.0)


def test_everybody_churning_is_no_error() -> None:
    earned, share = empc(np.ones(5), np.linspace(0, 1, 5))
    assert earned == pytest.approx(0.3 * 190 - 1, rel=1e-3)
    assert share == pytest.approx(1, rel=1e-3)


def test_value_policy_by_hand() -> None:
    # acceptance 0.3, incentive 10, contact 1: a churner earns 0.3 (v - 10) - 1, a retained user costs 11.
    # expected: .5 of 200: .5 x 56 - .5 x 11 = 22.5 > 0; .5 of 20: .5 x 2 - 5.5 < 0; .1 of 500: 14.6 - 9.9 > 0; 0.9 of
    # 12: .9 x -.4 < 0. Targets: the first and the third; by probability alone: the fourth and, of the tie, the first.
    y = np.array([1, 1, 0, 1])
    p, value = np.array([0.5, 0.5, 0.1, 0.9]), np.array([200.0, 20.0, 500.0, 12.0])
    policy = value_policy(y, p, value, DEFAULT)
    assert policy.targeted.tolist() == [True, False, True, False]
    assert policy.by_probability.tolist() == [True, False, False, True]
    assert policy.earned == pytest.approx([56, 2, -11, -0.4])
    paid, blind, share = policy.profit_of(np.ones((1, 4)))
    assert (paid[0], blind[0], share[0]) == pytest.approx((45 / 4, 55.6 / 4, 0.5))


def test_unknown_values_count_as_the_mean_of_the_known() -> None:
    y, p = np.array([1, 0]), np.array([0.9, 0.9])
    one = value_policy(y, p, np.array([100.0, np.nan]), DEFAULT)
    other = value_policy(y, p, np.array([100.0, 100.0]), DEFAULT)
    np.testing.assert_array_equal(one.earned, other.earned)


@pytest.mark.parametrize("value", [[np.nan, np.nan], [np.inf, 1.0], [1.0]])
def test_values_that_say_nothing_are_refused(value: list[float]) -> None:
    with pytest.raises(InputError, match="one finite number a row"):
        value_policy(np.array([1, 0]), np.array([0.9, 0.1]), np.array(value), DEFAULT)


def test_knowing_values_pays_where_values_differ() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(2, 3, 4000)
    y = (rng.random(4000) < p).astype(int)
    paid, blind, _ = value_policy(y, p, rng.lognormal(3.5, 1.2, 4000), DEFAULT).profit_of(np.ones((1, 4000)))
    assert paid[0] > blind[0] + 1
