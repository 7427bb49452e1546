"""One event as it comes in live, a JSON object with canonical field names, checked and brought into canonical form.

The rules and reason codes are those of files (`validate`); only what is wrong with JSON itself is decided here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from ebbtide.core.windows import DAY_US, to_us
from ebbtide.events.schema import EVENT_COLUMNS, EVENT_TYPES, TIME
from ebbtide.events.validate import ID_LENGTH, TEXT_LENGTH, Reason

_TEXTS = frozenset(n for n, t in EVENT_COLUMNS.items() if t == pl.String() and n != "properties")
_NUMBERS = frozenset(n for n, t in EVENT_COLUMNS.items() if t == pl.Float64())
_LONG = frozenset(("text", "query"))
_KEY = ("user_id", "type", "item_id", "order_id")
_TYPES = frozenset(EVENT_TYPES)
_FIRST_REAL_US = 365 * DAY_US
_LARGEST = 1e15


@dataclass(frozen=True)
class LiveEvent:
    """An event that may enter: `fields` holds canonical values without nulls, times as UTC microseconds, and no
    `ingested_at`, which the shop's clock sets when the event is stored."""

    event_id: str
    user_id: str
    occurred_us: int
    fields: dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """An event that may not: the reason, and the field that it is about ("" for the event as a whole)."""

    reason: Reason
    field: str = ""


@dataclass(frozen=True)
class EventRules:
    """What is decided by the shop and the moment: time zone of naive times, the shop's currency ("" for any), the
    latest moment an event may carry, and the source that ids are made for where none is given."""

    latest_us: int
    timezone: str = "UTC"
    currency: str = ""
    source: str = "live"


def read_events(raw: Sequence[object], rules: EventRules) -> list[LiveEvent | Refusal]:
    """Check the events of one call, in order, one answer each.

    Events without an `event_id` get one made of user, time, type, item and order; the second, third ... of one call with
    the same key get the suffix `-1`, `-2` ..., so that the same call sent again adds nothing and two equal clicks stay two.

    >>> rules = EventRules(latest_us=1_704_153_600_000_000)
    >>> good, bad = read_events([{"user_id": "u", "type": "order", "occurred_at": "2024-01-01T10:00:00Z"}, {}], rules)
    >>> good.occurred_us, bad.reason.value
    (1704103200000000, 'missing_user')
    """
    found = [_read_event(event, rules) for event in raw]
    seen: dict[str, int] = {}
    for place, event in enumerate(found):
        if isinstance(event, Refusal) or event.event_id:
            continue
        made = _made_id(event, rules.source)
        count = seen[made] = seen.get(made, -1) + 1
        found[place] = LiveEvent(f"{made}-{count}" if count else made, event.user_id, event.occurred_us, event.fields)
    return found


def event_frame(events: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Stored events (fields with `event_id`, `occurred_at` and `ingested_at` in microseconds) as an event frame."""
    schema = {n: pl.Int64() if t == TIME else t for n, t in EVENT_COLUMNS.items()}
    columns = {name: [event.get(name) for event in events] for name in schema}
    return pl.DataFrame(columns, schema=schema).with_columns(
        pl.col(n).cast(TIME) for n, t in EVENT_COLUMNS.items() if t == TIME
    )


def _read_event(raw: object, rules: EventRules) -> LiveEvent | Refusal:
    if not isinstance(raw, Mapping):
        return Refusal(Reason.BAD_ROW)
    for name in ("user_id", "occurred_at"):
        if raw.get(name) in (None, ""):
            return Refusal(Reason.MISSING_USER if name == "user_id" else Reason.MISSING_TIME, name)
    fields: dict[str, Any] = {}
    for name, value in raw.items():
        if value is None or value == "":
            continue
        known: str | float | Refusal
        if name in _TEXTS:
            known = _text(name, value)
        elif name in _NUMBERS:
            known = _number(name, value)
        elif name == "occurred_at":
            known = _time(value, rules)
        elif name == "properties":
            known = _properties(value)
        else:
            return Refusal(Reason.UNKNOWN_FIELD, str(name)[:64])
        if isinstance(known, Refusal):
            return known
        fields[name] = known
    if fields.get("unit_price", 0.0) < 0:
        return Refusal(Reason.NEGATIVE_PRICE, "unit_price")
    if "currency" in fields:
        fields["currency"] = fields["currency"].upper()
        if rules.currency and fields["currency"] != rules.currency.upper():
            return Refusal(Reason.UNKNOWN_CURRENCY, "currency")
    if "user_id" not in fields:
        return Refusal(Reason.MISSING_USER, "user_id")
    typed = _typed(fields)
    return typed or LiveEvent(fields.pop("event_id", ""), fields["user_id"], fields["occurred_at"], fields)


def _typed(fields: dict[str, Any]) -> Refusal | None:
    """An unknown type becomes `custom` and its name goes to the properties; no type at all is `custom`."""
    named = fields.get("type", "custom")
    kind = named.lower()
    fields["type"] = kind if kind in _TYPES else "custom"
    if kind not in _TYPES:
        properties = json.loads(fields.get("properties", "{}"))
        if not isinstance(properties, dict):
            properties = {"value": properties}
        fields["properties"] = _dumps({**properties, "raw_type": named})
        if len(fields["properties"]) > TEXT_LENGTH:
            return Refusal(Reason.TOO_LONG, "properties")
    return None


def _text(name: str, value: object) -> str | Refusal:
    if type(value) is str and 0 < len(value) <= ID_LENGTH and value.isprintable() and (plain := value.strip()):
        return plain  # as nearly all are; what cannot be printed takes in NUL and half characters
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # ids that a shop keeps as numbers
    if not isinstance(value, str):
        return Refusal(Reason.BAD_VALUE, name)
    text = value.strip()
    if len(text) > (TEXT_LENGTH if name in _LONG else ID_LENGTH):
        return Refusal(Reason.TOO_LONG, name)
    if "\x00" in text or (name not in _LONG and not text.isprintable()) or _is_broken(text):
        return Refusal(Reason.BAD_VALUE, name)
    if not text:
        return Refusal(Reason.MISSING_USER if name == "user_id" else Reason.BAD_VALUE, name)
    return text


def _is_broken(text: str) -> bool:
    """Half of a surrogate pair is no character."""
    return not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)


def _number(name: str, value: object) -> float | Refusal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Refusal(Reason.BAD_NUMBER, name)
    if not -_LARGEST <= value <= _LARGEST:  # also false for NaN
        return Refusal(Reason.BAD_NUMBER, name)
    return float(value)


def _time(value: object, rules: EventRules) -> int | Refusal:
    if not isinstance(value, str) or len(value) > 64:
        return Refusal(Reason.BAD_TIME, "occurred_at")
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=_zone(rules.timezone))
        us = to_us(moment)
    except (ValueError, OverflowError):
        return Refusal(Reason.BAD_TIME, "occurred_at")
    if us < _FIRST_REAL_US:
        return Refusal(Reason.DEFAULT_TIME, "occurred_at")
    return us if us <= rules.latest_us else Refusal(Reason.FUTURE_TIME, "occurred_at")


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _properties(value: object) -> str | Refusal:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return Refusal(Reason.BAD_JSON, "properties")
    try:
        text = _dumps(value)
    except (ValueError, TypeError, RecursionError):
        return Refusal(Reason.BAD_JSON, "properties")
    if "\\u0000" in text or _is_broken(text):
        return Refusal(Reason.BAD_VALUE, "properties")
    return text if len(text) <= TEXT_LENGTH else Refusal(Reason.TOO_LONG, "properties")


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def _made_id(event: LiveEvent, source: str) -> str:
    """The same rule as for files: MD5 of source, user, time, type, item, order."""
    user, kind, item, order = (str(event.fields.get(name, "")) for name in _KEY)
    text = "\x1f".join((source, user, str(event.occurred_us), kind, item, order))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
