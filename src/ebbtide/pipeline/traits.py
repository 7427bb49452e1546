"""What users are like at a moment, for judging a model by groups: the latest known country, channel and device."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.ids import hash_texts
from ebbtide.pipeline.dataset import known_events

TRAITS = {"countries": "country", "channels": "channel", "devices": "device"}
"""Capability -> column."""
TRAIT_COLUMNS = ("user_id", "occurred_at", "ingested_at", "event_id", *TRAITS.values())


def latest_traits(shards: Iterable[pl.DataFrame], as_of: datetime) -> pl.DataFrame:
    """The latest non-null value of each trait known at `as_of`: user (stable hash), country, channel, device.

    Null where a user never had one; of several events at one time, the one with the greatest event_id counts.
    """
    parts = [
        known_events(shard, as_of)
        .sort("user_id", "occurred_at", "event_id")
        .group_by("user_id", maintain_order=True)
        .agg(pl.col(c).drop_nulls().last() for c in TRAITS.values())
        for shard in shards
    ]
    found = pl.concat(parts)
    return found.select(pl.Series("user", hash_texts(found["user_id"])), *TRAITS.values())


def trait_groups(traits: pl.DataFrame, user: NDArray[np.uint64]) -> dict[str, NDArray[np.object_]]:
    """The traits of the users in their order, trait -> (N,); traits that nobody has are left out."""
    asked = pl.DataFrame({"user": user}).join(traits, on="user", how="left", maintain_order="left")
    return {c: asked[c].to_numpy().astype(object) for c in TRAITS.values() if asked[c].count()}
