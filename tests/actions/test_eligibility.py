"""Caps, cool-downs, consent, quiet hours: by hand, on the edges, and never with what came later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from ebbtide.actions.contacts import CONTACT_COLUMNS, contacts_of
from ebbtide.actions.eligibility import (
    RULES,
    Eligibility,
    caps_kept,
    consents_given,
    cooled_down,
    deadlines,
    first_failures,
    waits,
)
from ebbtide.actions.zones import zones_of
from ebbtide.core.action_settings import ActionsConfig
from ebbtide.core.windows import from_us
from ebbtide.events.schema import CONSENT_COLUMNS, EVENT_COLUMNS, EXPOSURE_COLUMNS, USER_COLUMNS

NOW = datetime(2024, 6, 30, 22, 0, tzinfo=UTC)
USERS = pl.Series("user_id", ["a", "b", "c"])
Make = Callable[..., Any]


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def frame(columns: dict[str, Any], *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{c: r.get(c) for c in columns} for r in rows], schema=columns)


def contacts(*rows: tuple[str, float, str | None]) -> pl.DataFrame:
    return frame(CONTACT_COLUMNS, *({"user_id": u, "at": days_ago(d), "action": a} for u, d, a in rows))


def message(user: str, days: float, **more: Any) -> dict[str, Any]:
    at = days_ago(days)
    return {"user_id": user, "occurred_at": at, "ingested_at": at, "type": "message", **more}


def test_contacts_are_exposures_and_messages_each_once() -> None:
    """A message of the campaign in which the user was exposed is that exposure; a receipt is no contact."""
    events = frame(
        EVENT_COLUMNS,
        message("a", 3, campaign_id="c1"),
        message("a", 2, campaign_id="news"),
        message("b", 1, properties='{"transactional": true}'),
        message("b", 1, properties='{"transactional": false}'),
        message("c", 1, ingested_at=NOW + timedelta(hours=1)),
        {**message("c", 1), "type": "order"},
    )
    at = {"occurred_at": days_ago(3), "ingested_at": days_ago(3)}
    exposures = frame(
        EXPOSURE_COLUMNS,
        {"user_id": "a", "campaign_id": "c1", "action": "coupon", **at},
        {"user_id": "b", "campaign_id": "c1", "action": "nothing", **at},
        {"user_id": "b", "campaign_id": "c1", "action": "Control", **at},
        {"user_id": "c", "campaign_id": "c1", "action": None, **at},
        {"user_id": "c", "campaign_id": "c2", "action": "receipt", **at},
        {"user_id": "c", "campaign_id": "c3", "action": "coupon", **at, "occurred_at": NOW + timedelta(days=1)},
    )
    found = contacts_of(events, exposures, NOW, ["receipt"])
    told = found.select("user_id", "campaign_id", "action").sort("user_id", "campaign_id").rows()
    assert told == [("a", "c1", "coupon"), ("a", "news", None), ("b", None, None)]


def test_caps_count_the_half_open_period(make_actions: Make) -> None:
    """(as_of - 7d, as_of]: what lies exactly 7 days back no longer counts."""
    actions = make_actions({"name": "coupon", "max_per_user": 1, "period": "30d"}, {"name": "call"})
    history = contacts(("a", 7, "call"), ("a", 0, None), ("b", 6.9, None), ("b", 0, None), ("c", 29, "coupon"))
    kept = caps_kept(USERS, history, actions, ActionsConfig(max_contacts=2, period="7d"), NOW)
    assert kept.tolist() == [[True, True], [False, False], [False, True]]


def test_transactional_messages_are_never_the_victims_of_caps(make_actions: Make) -> None:
    actions = make_actions(
        {"name": "receipt", "transactional": True, "max_per_user": 1}, {"name": "mail"}, cooldown="30d"
    )
    history = contacts(*[("a", d, "mail") for d in range(9)], ("a", 0, "receipt"))
    assert caps_kept(USERS, history, actions, ActionsConfig(), NOW)[0].tolist() == [True, False]
    assert cooled_down(USERS, history, actions, NOW)[0].tolist() == [True, False]


def test_no_cap_is_no_cap(make_actions: Make) -> None:
    history = contacts(*[("a", d / 10, "mail") for d in range(99)])
    assert caps_kept(USERS, history, make_actions({"name": "mail"}), ActionsConfig(max_contacts=0), NOW).all()


def test_a_cool_down_ends_when_its_time_is_full(make_actions: Make) -> None:
    actions = make_actions({"name": "mail", "cooldown": "7d"}, {"name": "call"})
    passed = cooled_down(USERS, contacts(("a", 7, None), ("b", 6.99, "call"), ("b", 20, "mail")), actions, NOW)
    assert passed.tolist() == [[True, True], [False, True], [True, True]]


def test_the_newest_answer_known_is_the_consent(make_actions: Make) -> None:
    given = [("a", 9, True), ("a", 3, False), ("b", None, False), ("b", 3, True), ("b", -1, False), ("c", 3, None)]
    consents = frame(
        CONSENT_COLUMNS,
        *(
            {"user_id": u, "valid_from": None if d is None else days_ago(d), "purpose": "marketing", "granted": g}
            for u, d, g in given
        ),
    )
    actions = make_actions({"name": "mail", "consent": "marketing"}, {"name": "sms", "consent": "sms"}, {"name": "fix"})
    assert consents_given(USERS, consents, actions, NOW).tolist() == [
        [False, False, True],
        [True, False, True],
        [False, False, True],
    ]


@pytest.mark.parametrize(
    ("zone", "quiet", "expected"),
    [
        ("UTC", "21:00-08:00", "2024-07-01T08:00"),  # 22:00 there: until tomorrow morning
        ("Asia/Shanghai", "21:00-08:00", "2024-07-01T00:00"),  # 06:00 there: until 08:00, midnight in UTC
        ("America/New_York", "21:00-08:00", "2024-06-30T22:00"),  # 18:00 there: now
        ("UTC", "08:00-22:00", "2024-06-30T22:00"),  # the very end is no longer quiet
        ("UTC", "22:00-23:30", "2024-06-30T23:30"),  # the very beginning is
        ("UTC", "", "2024-06-30T22:00"),
        ("UTC", "08:00-08:00", "2024-06-30T22:00"),
    ],
)
def test_quiet_hours_are_those_of_the_wall_clock_there(
    zone: str, quiet: str, expected: str, make_actions: Make
) -> None:
    moments = waits(pl.Series([zone]), make_actions({"name": "mail", "quiet": quiet}), NOW)
    assert from_us(int(moments[0, 0])) == datetime.fromisoformat(expected + "+00:00")


def test_quiet_hours_over_a_change_of_clocks(make_actions: Make) -> None:
    """On 2024-03-31 Berlin skips from 02:00 to 03:00: 08:00 there is 06:00 UTC, not 07:00."""
    night = datetime(2024, 3, 30, 23, 0, tzinfo=UTC)
    moments = waits(pl.Series(["Europe/Berlin"]), make_actions({"name": "mail", "quiet": "21:00-08:00"}), night)
    assert from_us(int(moments[0, 0])) == datetime(2024, 3, 31, 6, 0, tzinfo=UTC)


def test_deadlines_follow_the_band(make_actions: Make) -> None:
    actions = make_actions({"name": "call", "deadline": {"high": "1d"}}, {"name": "mail"})
    found = deadlines(pl.Series(["high", "low", None]), actions, NOW)
    assert [from_us(int(f)) for f in found[:1, 0]] == [NOW + timedelta(days=1)]
    assert found[1:, 0].tolist() == [0, 0]
    assert found[:, 1].tolist() == [0, 0, 0]


def test_the_first_rule_that_fails_is_told() -> None:
    passed = {name: np.ones((2, 2), np.bool_) for name in RULES}
    passed["cooldown"] = np.array([[False, True], [False, True]])
    passed["consent"] = np.array([[False, True], [True, True]])
    found = Eligibility(first_failures(passed, (2, 2)), np.zeros((2, 2), np.int64), np.zeros((2, 2), np.int64))
    assert found.counts() == [{"consent": 1, "cooldown": 1}, {}]
    assert found.allowed.tolist() == [[False, True], [False, True]]


def test_a_users_zone_is_told_else_that_of_a_country_with_one_else_the_shops() -> None:
    users = frame(
        USER_COLUMNS,
        {"user_id": "a", "valid_from": days_ago(9), "properties": '{"timezone": "Europe/Paris"}'},
        {"user_id": "a", "valid_from": days_ago(1), "properties": '{"timezone": "Asia/Tokyo"}'},
        {"user_id": "b", "valid_from": days_ago(1), "properties": '{"timezone": "Mars/Base"}'},
    )
    profile = pl.DataFrame({"user_id": ["a", "b", "c", "d"], "country": ["FR", "de", "US", None]})
    assert zones_of(users, profile, "Europe/London").to_list() == [
        "Asia/Tokyo",
        "Europe/Berlin",
        "Europe/London",
        "Europe/London",
    ]
