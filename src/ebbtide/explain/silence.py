"""Which columns say no more than that nothing of a kind happened lately, so that a list of reasons says it once."""

from __future__ import annotations

from functools import singledispatch

from ebbtide.features.declarations import (
    ActiveDays,
    Count,
    Decayed,
    Distinct,
    Entropy,
    FavouriteShare,
    Gap,
    Mean,
    Novelty,
    PerOrder,
    Recency,
    Share,
    Shift,
    Sum,
    Trend,
)
from ebbtide.features.selectors import parse_selector

UNKNOWN, ZERO, GONE, ALWAYS = 1, 2, 4, 8
"""When a column tells of silence: where it is unknown, where it is 0, where it is -1 (a trend that is down to nothing),
whatever it is (the time since the last event)."""
NOTHING = ("", 0)


@singledispatch
def silence_of(column: object) -> tuple[str, int]:
    """What a column tells the silence of, and when: the kind of event, and the sum of the flags above; NOTHING for most.

    Only windows that end now are meant, of whole kinds of events: `order`, but not `order.coupon`.

    >>> from ebbtide.features.declarations import Count, Recency
    >>> silence_of(Recency("order")), silence_of(Count("outcome", days=30, outcome=("order",)))
    (('order', 8), ('order', 2))
    >>> silence_of(Count("order.coupon", days=30)), silence_of(Count("order"))
    (('', 0), ('', 0))
    """
    return NOTHING


@silence_of.register
def _(column: Recency) -> tuple[str, int]:
    return _of(column.of, column.outcome, ALWAYS)


@silence_of.register
def _(column: Gap) -> tuple[str, int]:
    return _of(column.of, column.outcome, ALWAYS) if column.stat.startswith("silence_") else NOTHING


@silence_of.register
def _(column: Decayed) -> tuple[str, int]:
    return _of(column.of, column.outcome, ZERO)


@silence_of.register(Count)
@silence_of.register(ActiveDays)
@silence_of.register(Distinct)
@silence_of.register(Sum)
def _(column: Count | ActiveDays | Distinct | Sum) -> tuple[str, int]:
    return _of(column.of, column.outcome, ZERO) if column.days is not None else NOTHING


@silence_of.register(Mean)
@silence_of.register(PerOrder)
@silence_of.register(Entropy)
@silence_of.register(FavouriteShare)
@silence_of.register(Novelty)
def _(column: Mean | PerOrder | Entropy | FavouriteShare | Novelty) -> tuple[str, int]:
    return _of(column.of, column.outcome, UNKNOWN) if column.days is not None else NOTHING


@silence_of.register
def _(column: Share) -> tuple[str, int]:
    return _of(column.among, column.outcome, UNKNOWN) if column.days is not None else NOTHING


@silence_of.register
def _(column: Trend) -> tuple[str, int]:
    kind, _ = silence_of(column.inner.within(column.days))
    return (kind, UNKNOWN | GONE) if kind else NOTHING


@silence_of.register
def _(column: Shift) -> tuple[str, int]:
    return silence_of(column.inner.within(column.days))


def _of(selector: str, outcome: tuple[str, ...], when: int) -> tuple[str, int]:
    parsed = parse_selector(selector)
    if parsed.condition:
        return NOTHING
    types = outcome if parsed.types == ("outcome",) and outcome else parsed.types
    return "+".join(sorted(types)), when
