from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.core.windows import to_us
from ebbtide.events.live_event import EventRules, LiveEvent, Refusal, event_frame, read_events
from ebbtide.events.schema import EVENT_COLUMNS, EVENT_TYPES
from ebbtide.events.validate import Reason

RULES = EventRules(latest_us=to_us(datetime(2024, 6, 2, tzinfo=UTC)), timezone="Europe/Berlin", currency="EUR")
GOOD = {"event_id": "e", "user_id": "u", "type": "order", "occurred_at": "2024-05-01T10:00:00Z", "value": 9.5}


def one(**changes: Any) -> LiveEvent | Refusal:
    return read_events([{**GOOD, **changes}], RULES)[0]


def test_a_good_event_keeps_its_fields_and_nulls_are_left_out() -> None:
    found = one(item_id=" A1 ", category=None, brand="", properties={"b": [1, "ü"]}, currency="eur")
    assert isinstance(found, LiveEvent)
    assert found.event_id == "e"
    assert found.fields == {
        "user_id": "u", "type": "order", "occurred_at": to_us(datetime(2024, 5, 1, 10, tzinfo=UTC)), "value": 9.5,
        "item_id": "A1", "properties": '{"b": [1, "ü"]}', "currency": "EUR",
    }  # fmt: skip


def test_a_time_without_a_zone_is_in_the_zone_of_the_shop() -> None:
    found = one(occurred_at="2024-05-01 12:00")
    assert isinstance(found, LiveEvent)
    assert found.occurred_us == to_us(datetime(2024, 5, 1, 10, tzinfo=UTC))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": None}, Reason.MISSING_USER),
        ({"user_id": "  "}, Reason.MISSING_USER),
        ({"occurred_at": ""}, Reason.MISSING_TIME),
        ({"occurred_at": "yesterday"}, Reason.BAD_TIME),
        ({"occurred_at": 1714557600}, Reason.BAD_TIME),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, Reason.DEFAULT_TIME),
        ({"occurred_at": "1970-01-01"}, Reason.DEFAULT_TIME),
        ({"occurred_at": "2024-06-02T00:00:00.000001Z"}, Reason.FUTURE_TIME),
        ({"value": "9.5"}, Reason.BAD_NUMBER),
        ({"value": True}, Reason.BAD_NUMBER),
        ({"value": float("nan")}, Reason.BAD_NUMBER),
        ({"quantity": 1e300}, Reason.BAD_NUMBER),
        ({"quantity": 10**400}, Reason.BAD_NUMBER),
        ({"unit_price": -1}, Reason.NEGATIVE_PRICE),
        ({"currency": "USD"}, Reason.UNKNOWN_CURRENCY),
        ({"item_id": "x" * 257}, Reason.TOO_LONG),
        ({"text": "x" * 65_537}, Reason.TOO_LONG),
        ({"properties": {"x": "y" * 70_000}}, Reason.TOO_LONG),
        ({"properties": "{"}, Reason.BAD_JSON),
        ({"item_id": ["A"]}, Reason.BAD_VALUE),
        ({"item_id": "a\x00b"}, Reason.BAD_VALUE),
        ({"text": "\ud800"}, Reason.BAD_VALUE),
        ({"valeu": 3}, Reason.UNKNOWN_FIELD),
        ({"ingested_at": "2024-05-01"}, Reason.UNKNOWN_FIELD),
    ],
)  # fmt: skip
def test_a_bad_event_gets_the_reason_of_the_closed_list(changes: dict[str, Any], reason: Reason) -> None:
    found = one(**changes)
    assert isinstance(found, Refusal)
    assert found.reason is reason


@pytest.mark.parametrize("event", [None, 3, "x", [], [GOOD]])
def test_what_is_no_object_is_no_row(event: object) -> None:
    assert read_events([event], RULES) == [Refusal(Reason.BAD_ROW)]


def test_an_unknown_type_becomes_custom_with_its_name_kept() -> None:
    found = one(type="Loyalty.Joined", properties={"tier": 2})
    assert isinstance(found, LiveEvent)
    assert found.fields["type"] == "custom"
    assert json.loads(found.fields["properties"]) == {"tier": 2, "raw_type": "Loyalty.Joined"}


def test_two_equal_clicks_of_one_call_stay_two_and_the_call_again_adds_none() -> None:
    click = {k: v for k, v in GOOD.items() if k != "event_id"}
    first, second = (read_events([click, click, {**click, "item_id": "B"}], RULES) for _ in range(2))
    ids = [e.event_id for e in first if isinstance(e, LiveEvent)]
    assert len(set(ids)) == 3
    assert ids[1] == f"{ids[0]}-1"
    assert first == second


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_FIELDS = st.sampled_from([*EVENT_COLUMNS, "whatever"])


@given(st.lists(st.dictionaries(_FIELDS, _JSON, max_size=6) | _JSON, max_size=4))
def test_whatever_comes_every_event_gets_one_answer_and_what_is_accepted_is_canonical(raw: list[object]) -> None:
    found = read_events(raw, RULES)
    assert len(found) == len(raw)
    good = [e for e in found if isinstance(e, LiveEvent)]
    rows = [{**e.fields, "event_id": e.event_id, "ingested_at": 7} for e in good]
    frame = event_frame(json.loads(json.dumps(rows)))
    assert dict(frame.schema) == EVENT_COLUMNS
    assert frame["type"].is_in(EVENT_TYPES).all()
    assert frame.select(pl.col("event_id", "user_id", "occurred_at", "type").is_null().any()).row(0) == (False,) * 4


@given(st.dictionaries(_FIELDS, _JSON, max_size=6))
def test_canonical_fields_read_again_are_the_same(changes: dict[str, Any]) -> None:
    found = one(**changes)
    if isinstance(found, LiveEvent):
        when = datetime.fromtimestamp(found.occurred_us // 1_000_000, UTC).replace(
            microsecond=found.occurred_us % 1_000_000
        )
        again = one(**{**dict.fromkeys(changes), **found.fields, "occurred_at": when.isoformat()})
        assert again == found


def test_the_frame_of_no_events_has_all_columns() -> None:
    assert dict(event_frame([]).schema) == EVENT_COLUMNS


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("item_id", "  a  ", "a"),
        ("item_id", " " * 5, Reason.BAD_VALUE),
        ("user_id", " " * 5, Reason.MISSING_USER),
        ("item_id", "a\tb", Reason.BAD_VALUE),
        ("item_id", "a\x00", Reason.BAD_VALUE),
        ("text", "a\x00", Reason.BAD_VALUE),
        ("text", "two\nlines", "two\nlines"),
        ("item_id", "\ud83d", Reason.BAD_VALUE),
        ("text", "\ud83d", Reason.BAD_VALUE),
        ("item_id", "x" * 257, Reason.TOO_LONG),
        ("item_id", "x" * 256, "x" * 256),
        ("text", "x" * 257, "x" * 257),
        ("item_id", 7, "7"),
        ("item_id", True, Reason.BAD_VALUE),
        ("category", "张 三", "张 三"),
    ],
)
def test_a_text_is_trimmed_or_refused_for_its_reason(name: str, value: object, wanted: object) -> None:
    event = {"user_id": "u", "type": "order", "occurred_at": "2024-01-01T10:00:00Z", name: value}
    (found,) = read_events([event], EventRules(latest_us=1_704_153_600_000_000))
    assert (found.reason if isinstance(found, Refusal) else found.fields[name]) == wanted
