"""Time, as Ebbtide counts it: UTC microseconds, half-open windows, durations in days.

A window `(start, end]` excludes its start and includes its end, everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ebbtide.core.errors import InputError

DAY_US = 86_400_000_000
_UNITS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": DAY_US, "w": 7 * DAY_US}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Window:
    """The half-open span `(start, end]`, both in UTC microseconds.

    >>> w = Window(0, 10)
    >>> 0 in w, 10 in w
    (False, True)
    """

    start: int
    end: int

    def __contains__(self, moment: int) -> bool:
        return self.start < moment <= self.end


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `30d`, `2w`, `12h`, `90m`, `0s`. Days are 24 hours, also across clock changes.

    >>> parse_duration("2w")
    datetime.timedelta(days=14)

    Raises InputError if the text is no duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise InputError(
            "`{text}` is not a duration: write a number and ms, s, m, h, d or w, for example `30d`",
            "`{text}` 不是时长：请写数字加 ms、s、m、h、d 或 w，例如 `30d`",
            text=text,
        )
    return timedelta(microseconds=float(match[1]) * _UNITS[match[2]])


def parse_moment(text: str) -> datetime:
    """Read an ISO date or time as UTC. A bare date is its midnight, `2024-05-01` = `2024-05-01T00:00:00Z`.

    >>> parse_moment("2024-05-01").isoformat()
    '2024-05-01T00:00:00+00:00'

    Raises InputError if the text is no moment.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(
            "`{text}` is not a moment: write a date or an ISO time, for example `2024-05-01` or `2024-05-01T12:00:00Z`",
            "`{text}` 不是时刻：请写日期或 ISO 时间，例如 `2024-05-01` 或 `2024-05-01T12:00:00Z`",
            text=text,
        ) from None
    return as_utc(moment)


def as_utc(moment: datetime | date) -> datetime:
    """The same moment in UTC; what carries no zone is UTC already."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def to_us(moment: datetime) -> int:
    """UTC microseconds since 1970 of a moment with a zone.

    >>> to_us(datetime(1970, 1, 2, tzinfo=UTC)) == DAY_US
    True
    """
    return (moment - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The inverse of `to_us`."""
    return _EPOCH + timedelta(microseconds=us)


def days(span: timedelta) -> float:
    """Length of a span in days."""
    return span / timedelta(days=1)


def describe_days(count: float) -> str:
    """`30d` for 30.0, `0.5d` for 0.5."""
    return f"{count:g}d"
