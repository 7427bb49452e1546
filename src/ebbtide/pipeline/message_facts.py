"""What a message may say of each user: from the profile's own facts and habits, never in the user's own words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import Config
from ebbtide.core.windows import days
from ebbtide.events.lake import Lake
from ebbtide.features.encode import encode
from ebbtide.pipeline.dataset import known_events, unknown_user
from ebbtide.pipeline.profile_reference import facts_and_habits

ONE_BY_ONE = 20
"""Up to so many users are read one by one, more of them bucket by bucket."""
_LATE_DAYS = 14


def facts_of_users(
    config: Config, lake: Lake, user_ids: Sequence[str], at: datetime, name: Callable[[str], str]
) -> dict[str, dict[str, str]]:
    """The merge fields that the log tells, by user. `name`: what an item is called.

    Raises InputError if of one of the users no event was known at `at`.
    """
    wanted = pl.Series("user_id", list(user_ids), pl.String).implode()
    few = len(user_ids) <= ONE_BY_ONE
    parts = map(lake.read_user, user_ids) if few else map(lake.read_bucket, lake.buckets())
    found: dict[str, dict[str, str]] = {}
    for part in parts:
        known = known_events(part, at).filter(pl.col("user_id").is_in(wanted))
        found |= _facts(config, known, at, name)
    if not found.keys() >= set(user_ids):
        raise unknown_user(at)
    return found


def days_late(deliveries: pl.DataFrame, at: datetime) -> int:
    """Days by which the latest delivery of the last 14 days was late; 0 if it was not, or nobody knows."""
    if not len(deliveries) or days(at - deliveries["occurred_at"][-1]) > _LATE_DAYS:
        return 0
    told = json.loads(deliveries["properties"][-1] or "{}")
    late = told.get("days_late") if isinstance(told, dict) else None
    return max(int(late), 0) if isinstance(late, int | float) else 0


def _facts(config: Config, known: pl.DataFrame, at: datetime, name: Callable[[str], str]) -> dict[str, dict[str, str]]:
    ordered = known.sort("user_id", "occurred_at", "event_id")
    bought = (
        ordered.filter(pl.col("type") == "order").group_by("user_id").agg(item=pl.col("item_id").drop_nulls().last())
    )
    last = dict(bought.drop_nulls().iter_rows())
    recent = pl.col("occurred_at") >= at - timedelta(days=_LATE_DAYS)
    arrived = ordered.filter((pl.col("type") == "delivery") & recent).partition_by("user_id", as_dict=True)
    late = {str(user): days_late(own, at) for (user,), own in arrived.items()}
    definition = ChurnDefinition.from_config(config.churn)
    profile = facts_and_habits(encode(known, definition), at, definition, config)
    told = {}
    for row in profile.iter_rows(named=True):
        user, facts = row["user_id"], {}
        if row["orders"]:
            facts = {"days_silent": str(int(row["days_since_order"])), "orders": str(row["orders"])}
            facts |= {"last_item": name(last[user])} if user in last else {}
            facts |= {"category": row["favourite_category"]} if row["favourite_category"] else {}
        told[user] = facts | ({"days_late": str(late[user])} if late.get(user) else {})
    return told
