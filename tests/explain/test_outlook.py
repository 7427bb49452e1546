"""What to expect: closed forms against scipy and against the very process that they describe."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import lomax

from ebbtide.core.language import Text
from ebbtide.explain.outlook import next_order_days, outlook_of
from ebbtide.models.bgnbd import BgNbd

MODEL = BgNbd(0.8, 25.0, 0.7, 2.5, 0.0, (0.0,) * 4, 100, True, Text("", ""))
X, AGE = np.array([0.0, 3.0, 12.0]), np.array([40.0, 200.0, 300.0])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_next_order_is_a_cut_lomax(share):
    for x, age, days in zip(X, AGE, next_order_days(MODEL, X, AGE, share), strict=True):
        waiting = lomax(c=MODEL.r + x, scale=MODEL.alpha + age)
        assert waiting.cdf(days) == pytest.approx(share * waiting.cdf(365.0))


def test_simulated_customers_order_inside_the_interval_eight_times_in_ten():
    """Rates gamma(r + x, alpha + T), waiting exponential, as BG/NBD says of those who stay."""
    rng = np.random.default_rng(0)
    rate = rng.gamma(MODEL.r + 3, 1 / (MODEL.alpha + 200.0), 50_000)
    wait = rng.exponential(1 / rate)
    wait = wait[wait <= 365.0]
    low, high = (next_order_days(MODEL, np.array([3.0]), np.array([200.0]), q)[0] for q in (0.1, 0.9))
    assert ((wait > low) & (wait <= high)).mean() == pytest.approx(0.8, abs=0.01)


def test_a_year_holds_more_than_a_month_and_unknown_users_stay_unknown():
    lifetimes = np.array([[3.0, 150.0, 200.0], [np.nan] * 3])
    ahead = outlook_of(lifetimes, np.array([[4.0, 20.0], [0.0, np.nan]]), MODEL, None, 30.0)
    assert 0 < ahead.orders[0] < ahead.orders_year[0]
    assert ahead.next_low_days[0] < ahead.next_days[0] < ahead.next_high_days[0] < 365
    assert np.isnan([ahead.orders[1], ahead.next_days[1], *ahead.value_year]).all()


def test_without_a_fitted_model_nothing_is_expected():
    ahead = outlook_of(np.array([[3.0, 150.0, 200.0]]), np.array([[4.0, 20.0]]), None, None, 30.0)
    assert np.isnan(ahead.orders).all()
