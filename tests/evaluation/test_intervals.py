"""Intervals: published values, and coverage near 95 % where the truth is known, also with several rows a user."""

from __future__ import annotations

from math import erf

import numpy as np
import pytest

from ebbtide.evaluation.calibration import ece_of
from ebbtide.evaluation.intervals import Estimate, affordable_draws, draw_weights, row_users, wilson
from ebbtide.evaluation.ranking import auroc_of
from ebbtide.evaluation.tally import Ranking


@pytest.mark.parametrize(
    ("hits", "size", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(hits: int, size: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    assert wilson(hits, size) == pytest.approx((low, high), abs=5e-5)


def test_wilson_at_the_ends() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(5, 5)[1] == 1.0


def test_draws_take_whole_users_and_as_many_as_there_are() -> None:
    user = np.array([7, 7, 9, 9, 9, 4])
    weights = np.concatenate(list(draw_weights(user, draws=200, seed=1)))
    assert weights.shape == (200, 6)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 3]).all()
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(6), abs=0.25)


def test_draws_are_the_same_for_every_row_order_and_seed_decides() -> None:
    user = np.array([7, 7, 9, 4])
    mixed = np.array([2, 0, 3, 1])
    one = np.concatenate(list(draw_weights(user, draws=20, seed=1)))
    np.testing.assert_array_equal(np.concatenate(list(draw_weights(user[mixed], draws=20, seed=1))), one[:, mixed])
    assert not np.array_equal(np.concatenate(list(draw_weights(user, draws=20, seed=2))), one)


def test_many_rows_come_in_chunks_of_the_same_draws() -> None:
    chunks = [w.shape[0] for w in draw_weights(np.arange(700_000), draws=5, seed=0)]
    assert chunks == [2, 2, 1]


def test_row_users_follow_values_not_places() -> None:
    p, y = np.array([0.5, 0.1, 0.5]), np.array([0, 1, 1])
    mixed = np.array([2, 0, 1])
    np.testing.assert_array_equal(row_users(y, p)[mixed], row_users(y[mixed], p[mixed]))


def test_huge_data_get_fewer_draws_but_never_under_fifty() -> None:
    assert [affordable_draws(300, n) for n in (1, 200_000, 1_000_000, 10**9)] == [300, 300, 60, 50]
    assert affordable_draws(20, 10**9) == 20


def test_undefined_draws_are_left_out_and_nothing_is_null() -> None:
    assert Estimate.of(0.5, np.array([np.nan, 0.4, 0.6])).low == pytest.approx(0.405)
    assert Estimate.of(np.nan, np.array([np.nan])).to_json() == {"value": None, "low": None, "high": None}
    assert Estimate.of_biased(0.1, np.array([np.nan])).to_json() == {"value": 0.1, "low": None, "high": None}


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low is not None and estimate.high is not None and estimate.low <= truth <= estimate.high


def auroc_interval(y: np.ndarray, p: np.ndarray, user: np.ndarray, seed: int) -> Estimate:
    ranking = Ranking(y, p)
    draws = np.concatenate([auroc_of(ranking.count(w)) for w in draw_weights(user, draws=200, seed=seed)])
    return Estimate.of(float(auroc_of(ranking.count())[0]), draws)


def test_auroc_intervals_cover_a_known_truth() -> None:
    """Two normals one deviation apart have AUROC Phi(1 / sqrt 2). 95 % of 200 is 190; 180 is three errors below."""
    rng = np.random.default_rng(0)
    truth = (1 + erf(0.5)) / 2
    hits = 0
    for trial in range(200):
        y = (rng.random(300) < 0.4).astype(int)
        hits += covers(auroc_interval(y, rng.normal(y), np.arange(300), trial), truth)
    assert hits >= 180


def test_users_with_several_rows_need_draws_by_user() -> None:
    """Each user stands there four times: rows drawn one by one pretend to four times the evidence."""
    rng = np.random.default_rng(1)
    truth = (1 + erf(0.5)) / 2
    by_user = by_row = 0
    for trial in range(100):
        y = (rng.random(120) < 0.4).astype(int)
        p = rng.normal(y)
        four = np.repeat(np.arange(120), 4)
        by_user += covers(auroc_interval(y[four], p[four], four, trial), truth)
        by_row += covers(auroc_interval(y[four], p[four], np.arange(480), trial), truth)
    assert by_user >= 88
    assert by_row < 80


@pytest.mark.parametrize("error", [0.0, 0.02, 0.1])
def test_ece_intervals_cover_a_known_error(error: float) -> None:
    """Probabilities that are too high by the same everywhere: plain percentiles lie above a small error every time."""
    rng = np.random.default_rng(2)
    hits = plain = 0
    for trial in range(100):
        p = rng.uniform(0.2, 0.9, 1000)
        y = (rng.random(1000) < p - error).astype(int)
        ranking = Ranking(y, p)
        whole = ranking.count()
        value = float(ece_of(whole)[0])
        chunks = [
            ece_of(ranking.count(w), reference=whole) for w in draw_weights(np.arange(1000), draws=100, seed=trial)
        ]
        draws = np.concatenate(chunks)
        hits += covers(Estimate.of_biased(value, draws), error)
        plain += covers(Estimate.of(value, draws), error)
    assert hits >= 88
    assert error == 0.1 or plain < 50
