"""What changed lately is told against the user's own past, and only where chance would hardly do it."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from ebbtide.explain.changes import changes_of


def test_a_stop_is_told_with_the_usual_count(make_events, as_of):
    """20 searches in 90 days, none in the last 30: usually 20 / 3 a window."""
    events = make_events(*(("a", 31 + i * 89 / 20, "search") for i in range(20)), ("a", 120, "page_view"))
    (change,) = changes_of(events, as_of, 30.0)
    assert (change.type, change.recent, change.usual) == ("search", 0, pytest.approx(20 / 3))
    assert change.text.en == "searches: 0 in the last 30 days, usually 6.7"
    assert "搜索" in change.text.zh
    assert change.to_json()["direction"] == "less"


def test_the_chance_is_that_of_the_conditional_test(make_events, as_of):
    events = make_events(*(("a", i, "search") for i in range(10)), ("a", 60, "search"), ("a", 120, "page_view"))
    (change,) = changes_of(events, as_of, 30.0)
    assert change.p == pytest.approx(2 * binomtest(10, 11, 0.25, alternative="greater").pvalue)


def test_ordinary_fluctuation_is_not_told(make_events, as_of):
    events = make_events(*(("a", d, "order") for d in (5, 20, 40, 55, 70, 100, 115)))
    assert changes_of(events, as_of, 30.0) == ()


def test_lines_of_one_order_count_once(make_events, as_of):
    lines = [("a", 3, "order", {"order_id": "1"})] * 12
    events = make_events(*lines, ("a", 100, "order", {"order_id": "0"}))
    assert changes_of(events, as_of, 30.0) == ()


def test_who_is_known_for_less_than_two_windows_has_no_past(make_events, as_of):
    assert (
        changes_of(make_events(*(("a", d / 10, "search") for d in range(300)), ("a", 59, "search")), as_of, 30.0) == ()
    )
    assert changes_of(make_events(), as_of, 30.0) == ()
