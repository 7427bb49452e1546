"""BG/NBD: the published fits, the textbook formulas as oracles, planted parameters, and data that tell nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, hyp2f1

from ebbtide.core.errors import DataError, DefectError, InputError
from ebbtide.core.language import Text
from ebbtide.models import bgnbd_kernels
from ebbtide.models.bgnbd import BgNbd, BgNbdModel, ExpectedOrders, _Sample, fit_bgnbd

SAMPLE_CUSTOMERS = Path(__file__).with_name("cdnow_sample_customers.txt")


def published(r: float = 0.243, alpha: float = 4.414, a: float = 0.793, b: float = 2.426) -> BgNbd:
    """The paper's CDNOW parameters, alpha in weeks."""
    return BgNbd(r, alpha, a, b, 0.0, (0.0, 0.0, 0.0, 0.0), 1, True, Text("", ""))


def cdnow(folder: Path, end: str) -> pl.DataFrame:
    """x, t_x, T in days at `end`: purchases of one day count once, T runs to `end` itself."""
    days = pl.read_parquet(folder / "cdnow" / "transactions.parquet").select(
        "customer_id", pl.col("date").cast(pl.Date)
    )
    end_day = pl.lit(end).str.to_date()
    known = days.filter(pl.col("date") <= end_day).group_by("customer_id")
    first, last = pl.col("date").min(), pl.col("date").max()
    return known.agg(
        x=pl.col("date").n_unique() - 1,
        t_x=(last - first).dt.total_days(),
        age=(end_day - first).dt.total_days(),
    ).sort("customer_id")


def numbers(frame: pl.DataFrame) -> tuple[np.ndarray, ...]:
    return tuple(frame[c].to_numpy().astype(float) for c in ("x", "t_x", "age"))


def textbook_likelihood(parameters, x, t_x, age):
    """Equation 6 as printed, with gamma functions."""
    r, alpha, a, b = parameters
    a1 = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    a2 = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(x > 0, np.log(a) - np.log(b + x - 1) - (r + x) * np.log(alpha + t_x), -np.inf)
    return a1 + a2 + np.logaddexp(-(r + x) * np.log(alpha + age), left)


def textbook_expectation(m: BgNbd, x, t_x, age, t):
    """Equation 10 as printed."""
    s, pool = m.r + x, m.alpha + age
    hyper = hyp2f1(s, m.b + x, m.a + m.b + x - 1, t / (pool + t))
    top = (m.a + m.b + x - 1) / (m.a - 1) * (1 - (pool / (pool + t)) ** s * hyper)
    return top / (1 + (x > 0) * m.a / (m.b + x - 1) * (pool / (m.alpha + t_x)) ** s)


def simulate(m: BgNbd, users: int, age: float, future: float, seed: int):
    """Users who follow the model: (x, t_x, T) at `age`, and their orders in the `future` after it."""
    rng = np.random.default_rng(seed)
    rate, leaving = rng.gamma(m.r, 1 / m.alpha, users), rng.beta(m.a, m.b, users)
    x, t_x, later = np.zeros(users), np.zeros(users), np.zeros(users)
    now, here = np.zeros(users), np.ones(users, bool)
    while here.any():
        now = np.where(here, now + rng.exponential(1 / rate), np.inf)
        here &= now <= age + future
        seen = here & (now <= age)
        x, t_x, later = x + seen, np.where(seen, now, t_x), later + (here & ~seen)
        here &= rng.random(users) >= leaving
    return x, t_x, np.full(users, age), later


# --- published figures ---------------------------------------------------------------------------------------------


def test_the_published_sample_is_reproduced_to_the_printed_digits(real_data):
    """2,357 customers, purchases to 1997-09-30, in weeks: r .243, alpha 4.414, a .793, b 2.426, LL -9582.4."""
    sample = [int(i) for i in SAMPLE_CUSTOMERS.read_text().split()]
    frame = cdnow(real_data, "1997-09-30").filter(pl.col("customer_id").is_in(sample))
    assert len(frame) == len(sample) == 2357
    x, t_x, age = numbers(frame)
    fit = fit_bgnbd(x, t_x / 7, age / 7)
    assert fit.converged
    assert (round(fit.r, 3), round(fit.alpha, 3)) == (0.243, 4.414)
    assert (round(fit.a, 3), round(fit.b, 3)) == (0.793, 2.426)
    assert round(fit.log_likelihood, 1) == -9582.4


def test_the_whole_cohort_is_reproduced_to_the_printed_digits(real_data):
    """All 23,570 customers at 1998-04-01, in days."""
    fit = fit_bgnbd(*numbers(cdnow(real_data, "1998-04-01")))
    assert fit.users == 23_570
    assert (round(fit.r, 4), round(fit.alpha, 3)) == (0.2723, 41.584)
    assert (round(fit.a, 3), round(fit.b, 4)) == (0.463, 1.9185)
    assert fit.log_likelihood == pytest.approx(-225_797.478, abs=6e-4)


def test_the_published_expectation_is_reproduced():
    """x = 2, t_x = 30.43, T = 38.86 weeks: 1.226 orders in the next 39 weeks (the paper's worked example)."""
    assert published().expected_orders([2], [30.43], [38.86], 39)[0] == pytest.approx(1.226, abs=5e-4)


# --- oracles -------------------------------------------------------------------------------------------------------

parameter = st.floats(0.05, 20.0)


@settings(max_examples=30, deadline=None)
@given(st.tuples(parameter, parameter, parameter, parameter), st.integers(0, 2**32))
def test_likelihood_equals_the_textbook_formula(parameters, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 12, 40).astype(float)
    age = rng.integers(1, 90, 40).astype(float)
    t_x = np.where(x > 0, rng.integers(0, 90, 40) % (age + 1), 0.0)
    weights = rng.integers(1, 4, 40).astype(float)
    value, _, _ = _Sample.of(x, t_x, age, weights).evaluate(np.log(parameters))
    assert value == pytest.approx(float(weights @ textbook_likelihood(parameters, x, t_x, age)), rel=1e-9)


def test_derivatives_equal_finite_differences():
    x, t_x, age = np.array([0, 1, 3, 9.0]), np.array([0, 5, 20, 60.0]), np.array([30, 9, 40, 60.0])
    sample, point = _Sample.of(x, t_x, age, None), np.log([0.4, 12.0, 0.7, 1.3])
    _, gradient, hessian = sample.evaluate(point)
    step = 1e-5
    for i in range(4):
        up, down = point.copy(), point.copy()
        up[i], down[i] = point[i] + step, point[i] - step
        (high, high_gradient, _), (low, low_gradient, _) = sample.evaluate(up), sample.evaluate(down)
        assert gradient[i] == pytest.approx((high - low) / (2 * step), rel=1e-6, abs=1e-7)
        np.testing.assert_allclose(hessian[i], (high_gradient - low_gradient) / (2 * step), rtol=1e-6, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    parameter,
    st.floats(1.0, 60.0),
    parameter.filter(lambda a: abs(a - 1) > 1e-3),
    parameter,
    st.integers(0, 40),
    st.floats(0.0, 1.0),
    st.floats(1.0, 400.0),
    st.floats(1.0, 90.0),
)
def test_expectation_equals_the_textbook_formula(r, alpha, a, b, x, share, age, horizon):
    model, t_x = published(r, alpha, a, b), share * age if x else 0.0
    ours = model.expected_orders([x], [t_x], [age], horizon)[0]
    theirs = textbook_expectation(model, np.array([x]), np.array([t_x]), np.array([age]), horizon)[0]
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_expectation_passes_smoothly_through_the_pole_of_the_textbook_formula():
    """At a = 1 the printed formula divides by zero; the series does not notice."""
    around = [published(a=a).expected_orders([3], [20.0], [30.0], 26)[0] for a in (1 - 1e-7, 1.0, 1 + 1e-7)]
    assert around[0] == pytest.approx(around[1], rel=1e-6)
    assert around[2] == pytest.approx(around[1], rel=1e-6)


# --- laws ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(parameter, parameter, parameter, parameter, st.integers(0, 30), st.floats(0.0, 1.0), st.floats(1.0, 400.0))
def test_a_longer_horizon_never_lowers_orders_nor_raises_churn(r, alpha, a, b, x, share, age):
    model, t_x = published(r, alpha, a, b), share * age if x else 0.0
    orders = [model.expected_orders([x], [t_x], [age], h)[0] for h in (1, 7, 30, 90)]
    none = [model.probability_none([x], [t_x], [age], h)[0] for h in (1, 7, 30, 90)]
    assert np.all(np.diff(orders) >= -1e-12)
    assert np.all(np.diff(none) <= 1e-12)
    assert all(0 <= p <= 1 for p in none)
    assert none[-1] >= 1 - orders[-1] - 1e-9  # Markov: P(some) <= E


def test_extreme_users_get_finite_answers():
    x, t_x, age = np.array([0, 5000, 5000, 1, 0.0]), np.array([0, 1e4, 10, 0, 0.0]), np.array([0, 1e4, 1e4, 1e4, 1e5])
    model = published(0.01, 0.05, 0.02, 300.0)
    for horizon in (1e-3, 30.0, 1e4):
        assert np.isfinite(model.expected_orders(x, t_x, age, horizon)).all()
        margin = model.log_odds_none(x, t_x, age, horizon)
        assert np.isfinite(margin).all()
        assert np.abs(margin).max() <= bgnbd_kernels.MARGIN_LIMIT


def test_a_one_time_buyer_counts_as_certainly_alive_yet_likely_silent():
    """Why the raw P(alive) must never rank anybody: the longest silence gets the highest value."""
    model = published()
    assert model.p_alive([0], [0.0], [500.0])[0] == 1.0
    assert model.probability_none([0], [0.0], [500.0], 10)[0] > 0.99


def test_unknown_numbers_stay_unknown():
    assert np.isnan(published().expected_orders([np.nan, 1], [0.0, np.nan], [5.0, 5.0], 4)).all()


# --- the fit -------------------------------------------------------------------------------------------------------


def test_planted_parameters_are_recovered_within_four_standard_errors():
    truth = published(0.5, 20.0, 0.8, 2.5)
    x, t_x, age, _ = simulate(truth, 6000, 180.0, 0.0, seed=3)
    fit = fit_bgnbd(x, t_x, age)
    found, planted = np.array([fit.r, fit.alpha, fit.a, fit.b]), np.array([0.5, 20.0, 0.8, 2.5])
    assert fit.converged
    assert np.all(np.abs(found - planted) < 4 * np.array(fit.standard_errors))


def test_planted_future_is_predicted():
    """Mean orders and the share without any, over the next 60 days, within 4 standard errors of what happened."""
    truth = published(0.5, 20.0, 0.8, 2.5)
    x, t_x, age, later = simulate(truth, 20_000, 180.0, 60.0, seed=4)
    orders, none = truth.expected_orders(x, t_x, age, 60.0), truth.probability_none(x, t_x, age, 60.0)
    assert abs(orders.mean() - later.mean()) < 4 * later.std() / np.sqrt(len(later))
    assert abs(none.mean() - (later == 0).mean()) < 4 * 0.5 / np.sqrt(len(later))
    top = np.argsort(orders)[-2000:]
    assert orders[top].mean() == pytest.approx(later[top].mean(), rel=0.1)


def test_standard_errors_match_the_spread_over_simulated_samples():
    truth = published(0.5, 20.0, 0.8, 2.5)
    fits = [fit_bgnbd(*simulate(truth, 1500, 180.0, 0.0, seed=s)[:3]) for s in range(40)]
    spread = np.std([np.log(f.r) for f in fits])
    claimed = np.mean([f.standard_errors[0] / f.r for f in fits])
    assert claimed == pytest.approx(spread, rel=0.4)  # 40 draws: the spread itself is known to about 11 %


def test_a_weight_counts_like_that_many_users_and_row_order_does_not_matter():
    x, t_x, age, _ = simulate(published(0.5, 20.0, 0.8, 2.5), 500, 100.0, 0.0, seed=5)
    twice = fit_bgnbd(np.r_[x, x], np.r_[t_x, t_x], np.r_[age, age])
    weighted = fit_bgnbd(x[::-1], t_x[::-1], age[::-1], np.full(500, 2.0))
    assert weighted.log_likelihood == pytest.approx(twice.log_likelihood, rel=1e-12)
    assert weighted.alpha == pytest.approx(twice.alpha, rel=1e-5)


def test_the_unit_of_time_only_scales_alpha():
    x, t_x, age, _ = simulate(published(0.5, 20.0, 0.8, 2.5), 2000, 140.0, 0.0, seed=6)
    days, weeks = fit_bgnbd(x, t_x, age), fit_bgnbd(x, t_x / 7, age / 7)
    assert weeks.alpha * 7 == pytest.approx(days.alpha, rel=1e-5)
    assert weeks.r == pytest.approx(days.r, rel=1e-5)
    # density of a time in weeks is 7 times that in days, once for each repeat order
    assert weeks.log_likelihood - days.log_likelihood == pytest.approx(x.sum() * np.log(7), rel=1e-9)


@pytest.mark.parametrize(
    ("x", "t_x", "age"),
    [
        ([0.0] * 50, [0.0] * 50, list(range(1, 51))),  # nobody ever came back
        ([3.0] * 50, [30.0] * 50, [30.0] * 50),  # everybody alike and still there
        ([2.0], [5.0], [9.0]),  # one user
        ([0.0] * 20, [0.0] * 20, [0.0] * 20),  # everybody new today
        ([1.0] * 30, [1.0] * 30, [400.0] * 30),  # everybody left at once
        ([400.0, 0.0, 1.0], [400.0, 0.0, 3.0], [400.0, 400.0, 400.0]),
    ],
)
def test_data_that_tell_nothing_still_end_with_finite_parameters_and_a_reason(x, t_x, age):
    fit = fit_bgnbd(x, t_x, age)
    assert all(0 < v < np.inf for v in (fit.r, fit.alpha, fit.a, fit.b))
    assert fit.converged
    assert fit.message.en
    assert np.isfinite(fit.expected_orders(x, t_x, age, 30.0)).all()


def test_parameters_at_their_limit_are_named_and_have_no_standard_error():
    fit = fit_bgnbd([3.0] * 50, [30.0] * 50, [30.0] * 50)
    assert "runs to its limit" in fit.message.en
    assert np.isnan(fit.standard_errors).any()


def test_a_ridge_keeps_parameters_near_ordinary_values_where_data_tell_nothing():
    fit = fit_bgnbd([3.0] * 50, [30.0] * 50, [30.0] * 50, ridge=1.0)
    assert max(fit.r, fit.b) < 100
    assert "inside" in fit.message.en


def test_impossible_counts_are_refused_with_their_number():
    with pytest.raises(InputError, match="3 of 4 users have impossible counts"):
        fit_bgnbd([1.0, 1.5, 0.0, np.nan], [2.0, 1.0, 9.0, 1.0], [5.0, 5.0, 5.0, 5.0])
    with pytest.raises(DataError, match="at least one user"):
        fit_bgnbd([], [], [])


def test_json_round_trip_keeps_every_bit():
    fit = fit_bgnbd([3.0] * 50 + [0.0], [30.0] * 50 + [0.0], [30.0] * 51)
    again = BgNbd.from_json(fit.to_json())
    assert again.to_json() == fit.to_json()
    np.testing.assert_array_equal(again.standard_errors, fit.standard_errors)


# --- as a model ----------------------------------------------------------------------------------------------------


def test_the_margin_is_the_exact_log_odds_and_only_the_three_columns_contribute(make_rows):
    rows = make_rows()
    parameters = published(0.5, 20.0, 0.8, 2.5)
    model = BgNbdModel(parameters, 30.0).fit(rows, seed=0)
    x, t_x, age = rows.X[:, :3].T
    np.testing.assert_allclose(model.margin(rows.X), parameters.log_odds_none(x, t_x, age, 30.0))
    assert not model.contributions(rows.X)[:, 3:-1].any()


def test_the_median_user_has_no_contributions(make_rows):
    rows = make_rows()
    model = BgNbdModel(None, 30.0).fit(rows, seed=0)
    median = np.zeros((1, rows.X.shape[1]), np.float32)
    median[0, :3] = model.reference
    np.testing.assert_allclose(model.contributions(median)[0, :-1], 0.0, atol=1e-12)


def test_without_parameters_the_newest_moment_is_fitted(make_rows):
    rows = make_rows()
    newest = rows.at(int(rows.moments()[-1])).X[:, :3].T
    assert BgNbdModel(None, 30.0).fit(rows, seed=0).parameters == fit_bgnbd(*newest, ridge=0.01)


def test_an_unfitted_model_and_missing_columns_are_named(make_rows):
    rows = make_rows()
    with pytest.raises(DefectError, match="before it is fitted"):
        BgNbdModel().margin(rows.X)
    with pytest.raises(InputError, match="outcome_repeat_days"):
        ExpectedOrders(published(), 30.0).column(rows.X, ("a", "b"))


def test_expected_orders_is_one_more_column(make_rows):
    rows = make_rows()
    column = ExpectedOrders(published(), 30.0).column(rows.X, rows.names)
    assert column.shape == (len(rows),)
    assert column.dtype == np.float32
    assert (column >= 0).all()
