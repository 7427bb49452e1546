"""Primitives: the few quantities that the engine computes; every feature is an expression over them.

A primitive names one number of a (user, moment). `plan.py` gives each its place in the engine's scratch row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

COLUMNS: tuple[str, ...] = ("value", "quantity", "unit_price", "discount", "rating", "days_late", "sentiment")
"""Numeric columns of an event that features may use; `sentiment` is worked out of its text."""
ITEM_COLUMNS: tuple[str, ...] = ("price_level", "popularity", "popularity_change")
"""Numbers of an event that an item table tells, as of the moment, see `kernels/items.py`."""
PRICE_CHANGE = "price_change"
"""Log of the unit price over that of the user's previous event with the same item (`Trace`)."""
MOST_LATEST = 5
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
"""Columns whose distinct values features may count; weekday and hour are those of occurred_at in UTC."""
RHYTHM_STATS: tuple[str, ...] = (
    "repeat_days",
    "last_age_days",
    "age_days",
    "mean",
    "sd",
    "variation",
    "last",
    "longest",
    "last_over_mean",
    "recent_over_mean",
    "silence_over_median",
    "silence_over_longest",
    "silence_score",
    "silence_rank",
    "regularity",
)
TALLY_STATS: tuple[str, ...] = ("entropy", "favourite")
BASKET_STATS: tuple[str, ...] = (
    "first_value",
    "first_lines",
    "first_discount_share",
    "first_coupon",
    "second_after_days",
    "last_value",
    "largest_value",
    "variation",
    "last_over_mean",
    "recent_over_mean",
)
VISIT_STATS: tuple[str, ...] = ("depth", "minutes", "bounces")
CLOCK_STATS: tuple[str, ...] = ("month_sin", "month_cos", "weekday", "days_to_year_end")


@dataclass(frozen=True)
class Cell:
    """A sum over the known events of a selector in `(as_of - days, as_of]`; `days=None`: in all history.

    `weight`: "" adds 1, a name of `COLUMNS` or `ITEM_COLUMNS` adds its value (unknown adds nothing), "known:" + name
    counts the known values. Without a weight, `unique` thins the events out: "day" at most one a UTC day, "order" order
    lines once an order, "block:N" at most one in each N days before as_of, a name of `KEYS` once a value; the latest
    one counts. `by` keeps the events that are followed by an event of that selector, later by more than nothing and at
    most `within_days`.
    """

    of: str
    days: float | None = None
    weight: str = ""
    unique: str = ""
    by: str = ""
    within_days: float = 0.0


@dataclass(frozen=True)
class Trace:
    """What happens for the first time or changes: `what` is a name of `KEYS`, for the number of values that the user
    met in the window and never before, or `PRICE_CHANGE`, for the sum of the changes in it (`known`: their number)."""

    of: str
    what: str
    days: float | None = None
    known: bool = False


@dataclass(frozen=True)
class Span:
    """Days since the `last` or the `first` known event of a selector; NaN if there is none."""

    of: str
    stat: str


@dataclass(frozen=True)
class Rhythm:
    """One of `RHYTHM_STATS`, or `q` and a percentage, of the gaps between a selector's distinct active UTC days."""

    of: str
    stat: str


@dataclass(frozen=True)
class Decay:
    """Sum of 2^(-age / half life) over the known events of a selector, weighted by 1 or by a column."""

    of: str
    half_life_days: float
    weight: str = ""


@dataclass(frozen=True)
class Tally:
    """One of `TALLY_STATS` of the distribution of a selector's events over the values of a key, in a window."""

    key: str
    of: str
    days: float | None
    stat: str


@dataclass(frozen=True)
class Latest:
    """The mean of the latest `last` known values of a numeric column (fewer where there are fewer), or the `lowest` of
    them; NaN if there is none. `last` is at most MOST_LATEST."""

    column: str
    of: str
    last: int = 1
    lowest: bool = False


@dataclass(frozen=True)
class Basket:
    """One of `BASKET_STATS` of the user's orders, see `kernels/baskets.py`."""

    stat: str


@dataclass(frozen=True)
class Visit:
    """One of `VISIT_STATS` over the visits that ended in a window, see `kernels/visits.py`."""

    stat: str
    days: float | None


@dataclass(frozen=True)
class Clock:
    """One of `CLOCK_STATS`, facts of as_of itself."""

    stat: str


Primitive = Cell | Trace | Span | Rhythm | Decay | Tally | Latest | Basket | Visit | Clock


class Op(IntEnum):
    """How an expression joins its primitives a, b, c, d. A quotient whose bottom is not positive is NaN."""

    VALUE = 0  # a * scale
    RATIO = 1  # a / b * scale
    DIFFERENCE = 2  # a - b
    TREND = 3  # a: last window, b: window of twice the length. (a - p) / (|a| + |p|) with p = b - a
    CONTRAST = 4  # a / b - c / d
    RELATIVE = 5  # (a / b) / (c / d)
    PORTION = 6  # a / (a + b)
    PORTION_CONTRAST = 7  # a / (a + b) - c / (c + d)
    BLOCKS = 8  # a / (floor(b / scale) + 1)


@dataclass(frozen=True)
class Expression:
    """One operation over at most four primitives."""

    op: Op
    parts: tuple[Primitive, ...]
    scale: float = 1.0
