"""Planted truth: causes that the simulator switches on stand out among the service drivers; switched off, they do not."""

from __future__ import annotations

import json

import polars as pl
import pytest

from ebbtide.core.errors import DataError
from ebbtide.core.sections import html_of
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.events.simulate import SimulationConfig, simulate
from ebbtide.pipeline.drivers import drivers

OFF = {"late_delivery": 0.0, "bad_service": 0.0, "price": 0.0}


@pytest.fixture(scope="module")
def report_of(open_shop):
    def make(**strengths):
        chunks = simulate(SimulationConfig(users=700, days=240, seed=5, **(OFF | strengths)))
        log = pl.concat([chunk.events for chunk in chunks]).select(EVENT_COLUMNS.keys())
        shop = open_shop(log, churn={"eligible": "order in 90d"})
        return drivers(shop.config, shop.root)

    return make


@pytest.fixture(scope="module")
def nothing_planted(report_of):
    return report_of()


@pytest.fixture(scope="module")
def late_planted(report_of):
    return report_of(late_delivery=3.0)


def service(report):
    return {d.code: d.found for d in report.service}


def what_if(report):
    return {w.code: w.answer for w in report.what_if}


def test_late_deliveries_stand_out_where_they_drive_people_away(late_planted):
    late = service(late_planted)["late_delivery"]
    assert late.ratio.low > 1.3
    assert what_if(late_planted)["late_delivery"].difference.high < 0


def test_bad_service_stands_out_where_it_drives_people_away(report_of):
    report = report_of(bad_service=3.0)
    assert report.service[0].code in ("unsolved_contact", "low_rating")
    assert service(report)["unsolved_contact"].ratio.low > 1.3


def test_what_is_switched_off_does_not_stand_out(nothing_planted):
    """Its interval holds 1, and the standardised difference holds 0."""
    for code in ("late_delivery", "unsolved_contact"):
        ratio = service(nothing_planted)[code].ratio
        assert ratio.low < 1.0 < ratio.high, code
    difference = what_if(nothing_planted)["late_delivery"].difference
    assert difference.low < 0 < difference.high


def test_the_largest_excess_stands_first_and_rates_add_up(late_planted):
    for part in (late_planted.behaviour, late_planted.service):
        excess = [d.found.excess.value for d in part]
        assert excess == sorted(excess, reverse=True)
    for driver in late_planted.behaviour:
        f = driver.found
        assert f.share * f.rate + (1 - f.share) * f.rest_rate == pytest.approx(late_planted.rate)


def test_it_is_named_association_in_both_languages_and_json_safe(late_planted):
    assert "need not cause it" in html_of(late_planted.sections(), "en")
    assert "仅为关联" in html_of(late_planted.sections(), "zh")
    assert json.loads(json.dumps(late_planted.to_json(), allow_nan=False))["moments"]


def test_a_log_of_orders_alone_has_no_service_table(sim_log, open_shop):
    shop = open_shop(sim_log.filter(pl.col("type") == "order"))
    report = drivers(shop.config, shop.root)
    assert report.service == report.what_if == ()
    assert report.behaviour


def test_without_a_closed_moment_there_is_no_answer(sim_log, open_shop):
    young = sim_log.filter(pl.col("occurred_at") < sim_log["occurred_at"].min() + pl.duration(days=20))
    shop = open_shop(young)
    with pytest.raises(DataError, match="no outcome is known yet"):
        drivers(shop.config, shop.root)
