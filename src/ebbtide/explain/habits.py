"""Habits of each user: what they buy, at which price, when, through which channel and device.

A favourite is what most of the user's orders had; without an order, what most of the other events had. Of two equally
frequent ones the later used is the favourite, then the first in the alphabet.
"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from ebbtide.core.nullable import nullable
from ebbtide.explain.by_user import ByUser, Flags, Floats, Ints
from ebbtide.features.encode import EncodedShard

_LABELS = {"category": "favourite_category", "channel": "channel", "device": "device"}
_CLOCK = ("hour", "weekday")


def user_habits(shard: EncodedShard, zone: ZoneInfo) -> pl.DataFrame:
    """The habits of the users of some events; sorted by user_id.

    Out: user_id, favourite_category, channel, device, country (the latest known), favourite_hour (0-23) and
    favourite_weekday (1 Monday to 7 Sunday) in the shop's time zone, mean_price (of order lines with a price).
    """
    users = ByUser.of(shard)
    return users.frame(habits_of(users, zone))


def habits_of(users: ByUser, zone: ZoneInfo) -> dict[str, Any]:
    """The columns of `user_habits` but the id."""
    events, local = users.shard.events, pl.col("occurred_at").dt.convert_time_zone(str(zone))
    marked = events.select_seq(
        *(pl.col(label).rank("dense").fill_null(0).cast(pl.Int64) for label in _LABELS),
        hour=local.dt.hour().cast(pl.Int64) + 1,
        weekday=local.dt.weekday().cast(pl.Int64),
        country=pl.col("country").is_not_null(),
        price=pl.coalesce("unit_price", pl.col("value") / pl.col("quantity")).fill_null(np.nan),
    )
    code = {name: marked[name].to_numpy() for name in (*_LABELS, *_CLOCK)}
    order, price = users.type_is("order"), marked["price"].to_numpy()
    favourite = {name: _favourite(users, code[name], order) for name in code}
    rows = {label: favourite[label] for label in _LABELS} | {"country": users.last(marked["country"].to_numpy())}
    named = events.select_seq(pl.col(label).gather(nullable(row, row >= 0)) for label, row in rows.items())
    hour, weekday = (_at(code[name], favourite[name]) for name in _CLOCK)
    return {
        **{name: named[label] for label, name in (_LABELS | {"country": "country"}).items()},
        "favourite_hour": nullable(hour - 1, hour > 0),
        "favourite_weekday": nullable(weekday, weekday > 0),
        "mean_price": _mean_price(users, np.where(order & (price > 0), price, np.nan)),
    }


def _favourite(users: ByUser, code: Ints, order: Flags) -> Ints:
    """The row of the latest event with each user's most frequent value; codes ascend with the alphabet, 0 is none."""
    rows = np.flatnonzero(code > 0)
    width = int(code.max(initial=0)) + 1
    value, place, events = np.unique(users.user[rows] * width + code[rows], return_inverse=True, return_counts=True)
    orders, last = np.bincount(place, weights=order[rows], minlength=len(value)), np.zeros(len(value), np.int64)
    last[place] = rows  # the latest stays
    user, found = value // width, np.full(len(users.shard), -1, np.int64)
    best = np.lexsort((-value, users.shard.time[last], events, orders, user))
    found[user[best]] = last[best]  # the best stays
    return found


def _mean_price(users: ByUser, price: Floats) -> Floats:
    known = ~np.isnan(price)
    return users.total(price, known) / np.maximum(users.count(known), 1)


def _at(code: Ints, rows: Ints) -> Ints:
    """The codes in these rows, -1 for -1."""
    return np.where(rows >= 0, code[rows], -1) if len(code) else rows
