"""Facts of each user: first and last orders, money, rhythm, what went wrong. One row a known user.

Order lines of one order count once; a line without an order id belongs to the order of its moment. "Outcome" is what
the churn definition asks about; orders are orders, whatever it asks about.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.nullable import nullable
from ebbtide.core.windows import DAY_US, to_us
from ebbtide.explain.by_user import ByUser, Flags, Floats, Ints
from ebbtide.features.encode import EncodedShard

_LEAST_GAPS = 2
_OPINIONS = ("review", "support")


def user_facts(shard: EncodedShard, as_of: datetime, definition: ChurnDefinition) -> pl.DataFrame:
    """The facts of the users of some events, all of them known at `as_of`; sorted by user_id.

    Out: user_id, then the columns of `profile_columns.PROFILE_COLUMNS` that speak of orders, outcome and service.
    Shares are null without an order; `usual_gap_days` is null with fewer than two gaps between outcome days.
    """
    users = ByUser.of(shard)
    return users.frame(facts_of(users, as_of, definition))


def facts_of(users: ByUser, as_of: datetime, definition: ChurnDefinition) -> dict[str, Any]:
    """The columns of `user_facts` but the id."""
    return _orders(users, as_of) | _service(users) | rhythm_of(users, as_of, definition)


def _orders(users: ByUser, as_of: datetime) -> dict[str, Any]:
    order, refund, code = users.type_is("order"), users.type_is("refund"), users.order_codes()
    everything = np.ones(len(order), np.bool_)
    orders, spent = users.distinct(order, code), users.total(users.numbers("value"), order)
    refunds = users.distinct(refund, code) + users.count(refund & (code < 0))
    last = users.last(order)
    each = np.where(orders > 0, orders, np.nan)
    return {
        "first_seen_at": users.times(users.first(everything)),
        "last_seen_at": users.times(users.last(everything)),
        "first_order_at": users.times(users.first(order)),
        "last_order_at": users.times(last),
        "days_since_order": _days_since(users, last, as_of),
        "orders": orders,
        "spent": spent,
        "average_order_value": spent / each,
        "coupon_share": users.distinct(order & users.meets("coupon"), code) / each,
        "refunds": refunds,
        "refund_share": refunds / each,
    }


def _service(users: ByUser) -> dict[str, Any]:
    support, opinion, rating = users.type_is("support"), users.type_is(*_OPINIONS), users.numbers("rating")
    last = users.last(opinion & ~np.isnan(rating))
    return {
        "cancelled_orders": users.count(users.type_is("order_cancel")),
        "late_deliveries": users.count(users.type_is("delivery") & users.meets("late")),
        "support_contacts": users.count(support),
        "unsolved_contacts": users.count(_unsolved(users.shard.events, support)),
        "low_ratings": users.count(opinion & users.meets("low")),
        "last_rating": np.where(last >= 0, rating[last], np.nan) if len(rating) else np.full(len(last), np.nan),
    }


def _unsolved(events: pl.DataFrame, support: Flags) -> Flags:
    """Which support contacts say that they were not resolved."""
    found, rows = np.zeros(len(support), np.bool_), np.flatnonzero(support)
    if len(rows):
        told = events["properties"].gather(rows).str.json_path_match("$.resolved")
        found[rows] = (told == "false").fill_null(False).to_numpy()
    return found


def rhythm_of(users: ByUser, as_of: datetime, definition: ChurnDefinition) -> dict[str, Any]:
    """Outcome events: first, last, distinct UTC days, the usual gap between those days, and the latest return after a
    silence as long as the eligibility window."""
    outcome = users.type_is(*definition.outcome)
    rows = np.flatnonzero(outcome)
    user, time = users.user[rows], users.shard.time[rows]
    same = np.diff(user, prepend=-1) == 0
    fresh = ~same | (np.diff(time // DAY_US, prepend=0) > 0)
    back = np.zeros(len(outcome), np.bool_)
    back[rows] = same & (np.diff(time, prepend=0) >= definition.eligible_us)
    first, last = users.first(outcome), users.last(outcome)
    days = np.bincount(user[fresh], minlength=len(users.shard))
    return {
        "first_outcome_at": users.times(first),
        "last_outcome_at": users.times(last),
        "days_since_outcome": _days_since(users, last, as_of),
        "days_since_first": _days_since(users, first, as_of),
        "outcome_days": nullable(days, days > 0),
        "usual_gap_days": _usual_gap(user[fresh], time[fresh] // DAY_US, len(users.shard)),
        "returned_at": users.times(users.last(back)),
    }


def _days_since(users: ByUser, rows: Ints, as_of: datetime) -> Floats:
    """Days from the events in these rows to `as_of`; NaN for -1."""
    if not len(users.user):
        return np.full(len(rows), np.nan)
    return np.where(rows >= 0, (to_us(as_of) - users.shard.time[rows]) / DAY_US, np.nan)


def _usual_gap(user: Ints, day: Ints, count: int) -> Floats:
    """The median gap between consecutive days of each user, (count,); NaN with fewer than two gaps."""
    inside = user[1:] == user[:-1]
    owner, gap = user[1:][inside], np.diff(day)[inside]
    gap = gap[np.lexsort((gap, owner))]
    number = np.bincount(owner, minlength=count)
    known = np.flatnonzero(number >= _LEAST_GAPS)
    start, found = (np.cumsum(number) - number)[known], np.full(count, np.nan)
    found[known] = (gap[start + (number[known] - 1) // 2] + gap[start + number[known] // 2]) / 2
    return found


def note_of(name: str, dtype: type[pl.DataType] = pl.Float64) -> pl.Expr:
    """A field of `properties`, read only where deliveries and support contacts carry it."""
    text = pl.when(pl.col("type").is_in(["delivery", "support"])).then(pl.col("properties"))
    return text.str.json_path_match(f"$.{name}").cast(dtype, strict=False)
