"""Primitives: the few quantities that the engine computes; every feature is an expression over them.

A primitive names one number of a (user, moment). `plan.py` gives each its place in the engine's scratch row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

COLUMNS: tuple[str, ...] = ("value", "quantity", "unit_price", "discount", "rating", "days_late")
"""Numeric columns of an event that features may use."""
KEYS: tuple[str, ...] = (
    "order_id",
    "session_id",
    "item_id",
    "category",
    "brand",
    "channel",
    "device",
    "country",
    "campaign_id",
    "weekday",
    "hour",
)
"""Columns whose distinct values features may count."""


@dataclass(frozen=True)
class Cell:
    """A total over the known events of a selector in `(as_of - days, as_of]`; `days=None`: in all history.

    `weight`: "" adds 1, a column name adds its value (unknown adds nothing), "known:" + column counts known values.
    `unique`: "" every event, "day" at most one a UTC day, "order" order lines once an order, a name of `KEYS` once a
    value; the one that counts is the latest, or with `first` the earliest of all history.
    """

    of: str
    days: float | None = None
    weight: str = ""
    unique: str = ""
    first: bool = False


@dataclass(frozen=True)
class Span:
    """Days since the `last` or the `first` known event of a selector; NaN if there is none."""

    of: str
    stat: str


@dataclass(frozen=True)
class Rhythm:
    """A statistic of the gaps between the distinct active days of a selector, see `kernels/rhythm.py`."""

    of: str
    stat: str


@dataclass(frozen=True)
class Decay:
    """Sum of 2^(-age / half life) over the known events of a selector, weighted by 1 or by a column."""

    of: str
    half_life_days: float
    weight: str = ""


@dataclass(frozen=True)
class Clock:
    """A fact of as_of itself, see `kernels/clock.py`."""

    stat: str


Primitive = Cell | Span | Rhythm | Decay | Clock


class Op(IntEnum):
    """How an expression joins its primitives a, b, c, d. A ratio whose bottom is not positive is NaN."""

    VALUE = 0  # a
    RATIO = 1  # a / b
    DIFFERENCE = 2  # a - b
    TREND = 3  # a: last window, b: window of twice the length. (a - p) / (|a| + |p|) with p = b - a
    CONTRAST = 4  # a / b - c / d
    RELATIVE = 5  # (a / b) / (c / d)


@dataclass(frozen=True)
class Expression:
    """One operation over at most four primitives."""

    op: Op
    parts: tuple[Primitive, ...]
