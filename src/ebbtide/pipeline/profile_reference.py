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
from ebbtide.explain.facts import days_between, user_facts
from ebbtide.explain.habits import user_habits
from ebbtide.explain.reference import Reference, count_abilities, fit_reference
from ebbtide.pipeline.dataset import Shards, known_events

_STAGE = Text("surveying customers", "概览顾客")


def survey_reference(
    lake: Shards, definition: ChurnDefinition, as_of: datetime, config: Config, progress: Progress = silent
) -> Reference:
    """The reference of everybody known at `as_of`."""
    buckets, counts = lake.buckets(), Counter[str]()
    parts = [facts_and_habits(empty_events(), as_of, definition, config)]
    for done, bucket in enumerate(buckets):
        progress(_STAGE, done, len(buckets))
        known = known_events(lake.read_bucket(bucket), as_of)
        parts.append(facts_and_habits(known, as_of, definition, config))
        counts += count_abilities(known, as_of)
    progress(_STAGE, len(buckets), len(buckets))
    return fit_reference(pl.concat(parts), counts, clusters=config.profiles.clusters)


def facts_and_habits(known: pl.DataFrame, as_of: datetime, definition: ChurnDefinition, config: Config) -> pl.DataFrame:
    """What the events of some users, all known at `as_of`, say of them; sorted by user_id."""
    facts = user_facts(known, as_of, definition).with_columns(days_since_first=days_between("first_outcome_at", as_of))
    return facts.join(habits_of(known, config), on="user_id", how="left", maintain_order="left")


def habits_of(known: pl.DataFrame, config: Config) -> pl.DataFrame:
    """`user_habits` in the shop's time zone."""
    return user_habits(known, config.shop.zone)
