"""Gamma-gamma: the published fit, derivatives, planted values, and users about whom nothing is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.core.errors import DataError
from ebbtide.models.gamma_gamma import GammaGamma, ValueBasis, _evaluate, fit_gamma_gamma

SAMPLE_CUSTOMERS = Path(__file__).with_name("cdnow_sample_customers.txt")


def simulate(p, q, gamma, users, seed):
    """(orders, mean value, the user's true mean value) of users who follow the model."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(q, 1 / gamma, users)
    orders = 1 + rng.poisson(2, users)
    return orders, rng.gamma(p * orders, 1 / rate) / orders, p / rate


def test_the_published_sample_is_reproduced_to_the_printed_digits(real_data):
    """946 customers with a repeat order by 1997-09-30: p 6.25, q 3.74, gamma 15.44 (Fader, Hardie 2013)."""
    sample = [int(i) for i in SAMPLE_CUSTOMERS.read_text().split()]
    orders = pl.read_parquet(real_data / "cdnow" / "transactions.parquet").with_columns(pl.col("date").cast(pl.Date))
    days = (
        orders.filter(pl.col("customer_id").is_in(sample), pl.col("date") <= pl.date(1997, 9, 30))
        .group_by("customer_id", "date")
        .agg(pl.col("dollar_value").sum())
    )
    repeats = days.filter(pl.col("date") > pl.col("date").min().over("customer_id"))
    users = repeats.group_by("customer_id").agg(n=pl.len(), mean=pl.col("dollar_value").mean()).sort("customer_id")
    fit = fit_gamma_gamma(users["n"], users["mean"])
    assert fit.users == 946
    assert (round(fit.p, 2), round(fit.q, 2), round(fit.gamma, 2)) == (6.25, 3.74, 15.44)


def test_derivatives_equal_finite_differences():
    x, z, point, step = np.array([1.0, 3, 8]), np.array([12.0, 40, 7]), np.log([2.0, 3.0, 20.0]), 1e-5
    _, gradient, hessian = _evaluate(point, x, z)
    for i in range(3):
        move = np.eye(3)[i] * step
        (high, up, _), (low, down, _) = _evaluate(point + move, x, z), _evaluate(point - move, x, z)
        assert gradient[i] == pytest.approx((high - low) / (2 * step), rel=1e-6, abs=1e-8)
        np.testing.assert_allclose(hessian[i], (up - down) / (2 * step), rtol=1e-6, atol=1e-7)


def test_planted_parameters_and_values_are_recovered():
    orders, mean, truth = simulate(5.0, 4.0, 60.0, 8000, seed=1)
    fit = fit_gamma_gamma(orders, mean)
    assert np.all(np.abs(np.array([fit.p, fit.q, fit.gamma]) - [5.0, 4.0, 60.0]) < 4 * np.array(fit.standard_errors))
    assert fit.mean_value == pytest.approx(5.0 * 60.0 / 3.0, rel=0.05)
    shrunk = fit.expected_value(orders, mean)
    assert np.mean((shrunk - truth) ** 2) < 0.95 * np.mean((mean - truth) ** 2)


def test_few_orders_stay_near_the_shop_many_near_the_user():
    fit = fit_gamma_gamma(*simulate(5.0, 4.0, 60.0, 2000, seed=2)[:2])
    values = fit.expected_value([1, 3, 30, 3000], [500.0] * 4)
    assert fit.mean_value < values[0] < values[1] < values[2] < values[3]
    assert values[3] == pytest.approx(500.0, rel=1e-2)


def test_without_a_usable_order_the_shops_mean_and_the_reason():
    fit = fit_gamma_gamma(*simulate(5.0, 4.0, 60.0, 2000, seed=2)[:2])
    orders, mean = [0, 2, 2, np.nan, 3, 2], [np.nan, np.nan, 0.0, 5.0, -9.0, 40.0]
    values = fit.expected_value(orders, mean)
    np.testing.assert_allclose(values[:5], fit.mean_value)
    none, zero, own = ValueBasis.NO_ORDER, ValueBasis.NOT_POSITIVE, ValueBasis.OWN
    assert fit.basis(orders, mean) == [none, none, zero, none, zero, own]


def test_users_who_cannot_be_used_are_left_out_and_counted():
    orders, mean, _ = simulate(5.0, 4.0, 60.0, 500, seed=3)
    clean = fit_gamma_gamma(orders, mean)
    dirty = fit_gamma_gamma(np.r_[orders, 0, 2, 2], np.r_[mean, np.nan, -5.0, 0.0])
    assert (dirty.users, dirty.left_out) == (500, 3)
    assert dirty.p == pytest.approx(clean.p, rel=1e-9)


def test_too_few_usable_users_are_refused_with_both_counts():
    with pytest.raises(DataError, match="found 2 of 40"):
        fit_gamma_gamma([1] * 40, [5.0, 6.0] + [0.0] * 38)


def test_one_price_for_everything_ends_with_that_price_and_a_reason():
    fit = fit_gamma_gamma([1, 2] * 30, [7.0] * 60)
    assert fit.converged
    assert "runs to its limit" in fit.message.en
    np.testing.assert_allclose(fit.expected_value([1, 5], [7.0, 7.0]), 7.0, rtol=1e-3)


def test_the_currency_only_scales_gamma():
    orders, mean, _ = simulate(5.0, 4.0, 60.0, 3000, seed=4)
    pounds, yen = fit_gamma_gamma(orders, mean), fit_gamma_gamma(orders, mean * 190)
    assert yen.gamma / 190 == pytest.approx(pounds.gamma, rel=1e-4)
    assert yen.p == pytest.approx(pounds.p, rel=1e-4)


def test_json_round_trip_keeps_every_bit():
    fit = fit_gamma_gamma([1, 2] * 30, [7.0] * 60)
    assert GammaGamma.from_json(fit.to_json()).to_json() == fit.to_json()
