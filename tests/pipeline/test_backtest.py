"""`backtest`: the policy at past moments, each judged with what was known then."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from ebbtide.core.errors import DataError, InputError
from ebbtide.pipeline.backtest import backtest, replace_train


@pytest.fixture(scope="module")
def report(small_shop):
    return backtest(small_shop.config, small_shop.root, moments=3, model="recency")


def test_moments_are_one_horizon_apart_oldest_first(report):
    assert [b.as_of - a.as_of for a, b in zip(report.moments, report.moments[1:], strict=False)] == [
        timedelta(days=30)
    ] * 2


def test_the_newest_moment_is_the_newest_closed_one(report, small_shop):
    last = max(small_shop.lake.read_bucket(b)["ingested_at"].max() for b in small_shop.lake.buckets())
    assert report.moments[-1].as_of == last - timedelta(days=30)


def test_more_moments_agree_with_fewer_on_those_they_share(report, small_shop):
    """A moment's figures depend on what was known at it, not on how far back the backtest goes."""
    more = backtest(small_shop.config, small_shop.root, moments=5, model="recency").moments
    assert len(more) > len(report.moments)
    for one, other in zip(report.moments[::-1], more[::-1], strict=False):
        assert (one.as_of, one.users, one.churn_rate) == (other.as_of, other.users, other.churn_rate)


def test_the_first_moment_has_nothing_to_calibrate_on(report):
    assert [m.calibrated for m in report.moments] == [False, True, True]


def test_figures_lie_in_their_ranges_with_intervals_around_them(report):
    for m in report.moments:
        value, low, high = m.auroc
        assert 0.5 < value < 1
        assert low <= value <= high
        assert 0 <= m.ece < 0.5
        assert 0 < m.churn_rate < 1
        assert 0 < m.predicted_rate < 1
        assert m.weights == {"recency": 1.0}
        assert m.members == {"recency": pytest.approx(value)}


def test_the_report_is_json_and_words(report):
    assert len(json.loads(json.dumps(report.to_json(), allow_nan=False))["moments"]) == 3
    for line, m in zip(report.lines(), report.moments, strict=True):
        assert f"{m.as_of:%Y-%m-%d}" in line.en
        assert f"{m.users:,} 位用户" in line.zh


def test_nothing_is_trained_or_promoted(report, small_shop):
    assert small_shop.shelf.ids() == []


def test_it_reaches_as_far_back_as_asked_whatever_the_training_cap(small_shop):
    few = small_shop.with_train(max_cutoffs=2)
    assert len(backtest(few.config, few.root, moments=4, model="recency").moments) == 4


def test_a_history_that_allows_no_moment_says_so(sim_log, open_shop):
    """Two closed cutoffs a horizon apart are the least; the gate lets 90 days pass, but says so if less are there."""
    start = sim_log["occurred_at"].min()
    shop = open_shop(sim_log.filter(sim_log["ingested_at"] <= start + timedelta(days=80)))
    with pytest.raises(DataError, match="too short"):
        backtest(shop.config, shop.root, model="recency")


def test_an_unknown_model_is_refused(small_shop):
    with pytest.raises(InputError, match="no model `recenty`"):
        backtest(small_shop.config, small_shop.root, model="recenty")


def test_other_settings_leave_the_rest_as_it_was(small_shop):
    config = replace_train(small_shop.config, max_cutoffs=77)
    assert config.train.max_cutoffs == 77
    assert config.model_copy(update={"train": small_shop.config.train}) == small_shop.config
