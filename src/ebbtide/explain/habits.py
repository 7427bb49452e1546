"""Habits of each user: what they buy, at which price, when, through which channel and device.

A favourite is what most of the user's orders had; without an order, what most of the other events had. Of two equally
frequent ones the later used is the favourite, then the first in the alphabet.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

import polars as pl

_LABELS = {"category": "favourite_category", "channel": "channel", "device": "device"}
_CLOCK = {"hour": "favourite_hour", "weekday": "favourite_weekday"}


def user_habits(known: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """The habits of the users of some events; sorted by user_id.

    Out: user_id, favourite_category, channel, device, country (the latest known), favourite_hour (0-23) and
    favourite_weekday (1 Monday to 7 Sunday) in the shop's time zone, mean_price (of order lines with a price).
    """
    local = pl.col("occurred_at").dt.convert_time_zone(str(zone))
    marked = known.select(
        "user_id",
        "occurred_at",
        "event_id",
        "country",
        *_LABELS,
        order=pl.col("type") == "order",
        hour=local.dt.hour().cast(pl.Int64),
        weekday=local.dt.weekday().cast(pl.Int64),
        price=pl.coalesce("unit_price", pl.col("value") / pl.col("quantity")),
    )
    found = (
        marked.sort("user_id", "occurred_at", "event_id")
        .group_by("user_id", maintain_order=True)
        .agg(
            country=pl.col("country").drop_nulls().last(),
            mean_price=pl.col("price").filter(pl.col("order") & (pl.col("price") > 0)).mean(),
        )
    )
    for column, name in (_LABELS | _CLOCK).items():
        found = found.join(_favourite(marked, column, name), on="user_id", how="left", maintain_order="left")
    return found


def _favourite(marked: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """The most frequent value of a column for each user who has any."""
    return (
        marked.filter(pl.col(column).is_not_null())
        .group_by("user_id", column)
        .agg(orders=pl.col("order").sum(), events=pl.len(), last=pl.col("occurred_at").max())
        .sort("user_id", "orders", "events", "last", column, descending=[False, True, True, True, False])
        .unique("user_id", keep="first", maintain_order=True)
        .select("user_id", pl.col(column).alias(name))
    )
