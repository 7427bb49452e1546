"""Sizes add up, outcomes are shown where they are known, and the flow is between the two frames."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ebbtide.core.errors import InputError
from ebbtide.core.sections import html_of
from ebbtide.pipeline.segments import segments


@pytest.fixture(scope="module")
def report(trained):
    """Five days before the moment of training, so that the outcome window has closed inside the log."""
    now = trained.shop.until - timedelta(days=5)
    return segments(trained.shop.config, trained.shop.root, as_of=now, against=now - timedelta(days=60))


def of(report, kind):
    return [r for r in report.rows if r.kind == kind]


def test_the_stages_hold_everybody_once(report):
    assert sum(r.users for r in of(report, "stage")) == report.users
    assert sum(r.share for r in of(report, "stage")) == pytest.approx(1)
    assert sum(r.users for r in of(report, "segment")) == sum(r.users for r in of(report, "cluster"))


def test_the_flow_ends_in_the_sizes_of_now(report):
    for row in of(report, "stage"):
        assert sum(then[row.code] for then in report.flow.users.values()) == row.users


def test_what_happened_afterwards_is_shown_where_the_window_has_closed(report, trained):
    stages = {r.code: r for r in of(report, "stage")}
    assert stages["lapsed"].churned is None
    assert 0 < stages["active"].churned < 1
    open_ = segments(trained.shop.config, trained.shop.root, as_of=trained.shop.until + timedelta(days=5))
    assert all(r.churned is None for r in open_.rows)


def test_at_risk_churns_more_than_active(report):
    stages = {r.code: r for r in of(report, "stage")}
    assert stages["at_risk"].churned > stages["active"].churned


def test_rules_and_tables_are_told_in_both_languages(report):
    english, chinese = (html_of(report.sections(), language) for language in ("en", "zh"))
    assert "lapsed: no order in the last 180 days" in english
    assert "not known yet" in english
    assert "冠军顾客" in chinese
    assert report.to_json()["flow"]["users"]["unknown"]


def test_the_earlier_moment_must_be_earlier(trained):
    with pytest.raises(InputError, match="--against must be earlier"):
        segments(trained.shop.config, trained.shop.root, as_of=trained.shop.until, against=trained.shop.until)
