"""Facts and habits of users, with the arithmetic in the comments."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import polars as pl
import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.events.schema import empty_events
from ebbtide.explain.facts import user_facts
from ebbtide.explain.habits import user_habits
from ebbtide.features.cohort import eligible_users
from ebbtide.features.encode import encode

UTC = ZoneInfo("UTC")


@pytest.fixture(scope="module")
def events(make_events):
    return make_events(
        # one order of two lines, one without an order id, one of the same moment twice
        ("a", 100, "order", {"order_id": "1", "value": 10.0, "unit_price": 5.0, "quantity": 2.0, "category": "x"}),
        ("a", 100, "order", {"order_id": "1", "value": 20.0, "unit_price": 20.0, "category": "y"}),
        ("a", 60, "order", {"value": 30.0, "coupon": "C", "category": "y", "channel": "web"}),
        ("a", 60, "order", {"value": 6.0, "coupon": "C", "channel": "app"}),
        ("a", 59, "refund", {"order_id": "1", "value": -20.0}),
        ("a", 40, "delivery", {"properties": '{"days_late": 3}'}),
        ("a", 39, "delivery", {"properties": '{"days_late": 0}'}),
        ("a", 38, "support", {"rating": 2.0, "properties": '{"topic": "refund", "resolved": false}'}),
        ("a", 37, "support", {"properties": '{"topic": "refund", "resolved": true}'}),
        ("a", 10, "order", {"order_id": "3", "value": 12.0, "category": "z", "channel": "app"}),
        ("a", 5, "review", {"rating": 4.0}),
        ("b", 3, "product_view", {"category": "x", "country": "DE"}),
        ("b", 2, "product_view", {"category": "z", "country": "FR"}),
    )  # fmt: skip


@pytest.fixture(scope="module")
def facts(events, as_of):
    return user_facts(encode(events, definition := ChurnDefinition(eligible_days=50.0)), as_of, definition)


def row(frame, user):
    return frame.row(by_predicate=pl.col("user_id") == user, named=True)


def test_orders_are_counted_not_lines(facts):
    a = row(facts, "a")
    assert (a["orders"], a["spent"], a["average_order_value"]) == (3, 78.0, 26.0)
    assert a["coupon_share"] == pytest.approx(1 / 3)
    assert (a["refunds"], a["refund_share"]) == (1, pytest.approx(1 / 3))


def test_service_is_counted(facts):
    a = row(facts, "a")
    assert (a["late_deliveries"], a["support_contacts"], a["unsolved_contacts"]) == (1, 2, 1)
    assert (a["low_ratings"], a["last_rating"], a["cancelled_orders"]) == (1, 4.0, 0)


def test_the_rhythm_is_that_of_outcome_days(facts):
    """Outcome days 100, 60 and 10 days ago: gaps of 40 and 50; the second is as long as the eligibility window."""
    a = row(facts, "a")
    assert (a["outcome_days"], a["usual_gap_days"]) == (3, 45.0)
    assert a["returned_at"] == a["last_outcome_at"] == a["last_order_at"]
    assert a["days_since_outcome"] == a["days_since_order"] == 10.0


def test_who_never_ordered_has_no_shares_and_no_rhythm(facts):
    b = row(facts, "b")
    assert (b["orders"], b["spent"], b["coupon_share"], b["refund_share"], b["outcome_days"]) == (0,) + (None,) * 4
    assert (b["first_order_at"], b["usual_gap_days"], b["days_since_order"]) == (None, None, None)


def test_one_gap_is_no_usual_gap(make_events, as_of):
    shard = encode(make_events(("a", 9, "order"), ("a", 2, "order")), ChurnDefinition())
    facts = user_facts(shard, as_of, ChurnDefinition())
    assert facts["usual_gap_days"].to_list() == [None]


def test_favourites_are_of_orders_then_of_anything(events):
    habits = user_habits(encode(events, ChurnDefinition()), UTC)
    assert row(habits, "a")["favourite_category"] == "y"
    assert row(habits, "a")["channel"] == "app"
    assert row(habits, "b")["favourite_category"] == "z"  # both viewed once: the later one
    assert row(habits, "b")["country"] == "FR"
    assert row(habits, "a")["mean_price"] == pytest.approx((5 + 20) / 2)


def test_hours_are_told_in_the_time_zone_of_the_shop(make_events):
    events = encode(make_events(("a", 1.0, "order")), ChurnDefinition())  # 30 April, midnight UTC: a Tuesday
    assert user_habits(events, UTC).select("favourite_hour", "favourite_weekday").row(0) == (0, 2)
    assert user_habits(events, ZoneInfo("America/New_York")).select("favourite_hour", "favourite_weekday").row(0) == (20, 1)  # fmt: skip


def test_row_order_changes_nothing(events, as_of):
    definition = ChurnDefinition()
    shuffled, events = (encode(e, definition) for e in (events.sample(fraction=1.0, shuffle=True, seed=3), events))
    assert user_facts(shuffled, as_of, definition).equals(user_facts(events, as_of, definition))
    assert user_habits(shuffled, UTC).equals(user_habits(events, UTC))


def test_the_cohort_window_excludes_its_start(make_events, as_of):
    """20 days before as_of is outside, a moment later inside, as_of itself inside."""
    definition = ChurnDefinition(eligible_days=20.0)
    shard = encode(make_events(("a", 20, "order"), ("b", 19.999, "order"), ("c", 0, "order")), definition)
    assert eligible_users(shard, as_of, definition).tolist() == [1, 2]


def test_the_cohort_of_no_events_is_empty(as_of):
    assert len(eligible_users(encode(empty_events(), ChurnDefinition()), as_of, ChurnDefinition())) == 0
