"""Survey of the lake for what profiles compare with, bucket by bucket."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import Config
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.events.schema import empty_events
from ebbtide.explain.by_user import ByUser
from ebbtide.explain.facts import facts_of
from ebbtide.explain.habits import habits_of
from ebbtide.explain.reference import Reference, count_abilities, fit_reference
from ebbtide.features.encode import EncodedShard, encode
from ebbtide.pipeline.dataset import Shards, known_events

_STAGE = Text("surveying customers", "概览顾客")


def survey_reference(
    lake: Shards, definition: ChurnDefinition, as_of: datetime, config: Config, progress: Progress = silent
) -> Reference:
    """The reference of everybody known at `as_of`."""
    buckets, counts = lake.buckets(), Counter[str]()
    parts = [facts_and_habits(encode(empty_events(), definition), as_of, definition, config)]
    for done, bucket in enumerate(buckets):
        progress(_STAGE, done, len(buckets))
        known = known_events(lake.read_bucket(bucket), as_of)
        parts.append(facts_and_habits(encode(known, definition), as_of, definition, config))
        counts += count_abilities(known, as_of)
    progress(_STAGE, len(buckets), len(buckets))
    return fit_reference(pl.concat(parts), counts, clusters=config.profiles.clusters)


def facts_and_habits(shard: EncodedShard, as_of: datetime, definition: ChurnDefinition, config: Config) -> pl.DataFrame:
    """What the events of some users, all known at `as_of`, say of them; sorted by user_id."""
    users = ByUser.of(shard)
    return users.frame(facts_of(users, as_of, definition) | habits_of(users, config.shop.zone))
