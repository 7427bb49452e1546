"""Profiles of all users known at a moment: one frame, one row a user, for segments, actions and messages.

`profile_shard` works out what depends on a user's own events and the bundle; `profile_frame` hands it the lake's
buckets. Nothing that occurred or arrived after `as_of` changes a row.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.config import Config
from ebbtide.core.language import Text
from ebbtide.core.nullable import nullable, table_of
from ebbtide.core.progress import Progress, silent
from ebbtide.core.windows import to_us
from ebbtide.events.schema import empty_events
from ebbtide.explain.by_user import ByUser
from ebbtide.explain.facts import rhythm_of
from ebbtide.explain.outlook import Outlook, outlook_of
from ebbtide.explain.profile_columns import in_order
from ebbtide.explain.reference import Reference
from ebbtide.explain.stages import stage_of
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.cohort import eligible_users
from ebbtide.features.encode import EncodedShard, encode
from ebbtide.features.engine import compute
from ebbtide.models.bundle import Bundle
from ebbtide.models.columns import with_model_columns
from ebbtide.pipeline.dataset import POPULATION_FEATURES, Shards, known_events
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.profile_reference import facts_and_habits, survey_reference
from ebbtide.pipeline.score import Scored, bands_of, needs_of, score_members
from ebbtide.pipeline.train import newest_moment

_STAGE = Text("profiling users", "生成用户画像")


def profile_frame(
    config: Config,
    root: Path,
    *,
    as_of: datetime | None = None,
    bundle: str | None = None,
    progress: Progress = silent,
) -> pl.DataFrame:
    """One row for each user known at `as_of` (default: the newest event), the lapsed among them; sorted by user_id.

    The columns are those of `explain.profile_columns.PROFILE_COLUMNS`. Raises MissingBundleError without a trained
    bundle, MissingError without a lake.
    """
    places = Places(root)
    loaded, lake = places.shelf().load(bundle), places.lake()
    return profile_everybody(lake, as_of or newest_moment(lake), loaded, config, progress)


def profile_everybody(
    lake: Shards, as_of: datetime, bundle: Bundle, config: Config, progress: Progress = silent
) -> pl.DataFrame:
    """As `profile_frame`, for a bundle and a lake that are open already."""
    buckets = lake.buckets()
    parts = [profile_shard(empty_events(), as_of, bundle, config)]
    for done, bucket in enumerate(buckets):
        progress(_STAGE, done, len(buckets))
        parts.append(profile_shard(lake.read_bucket(bucket), as_of, bundle, config))
    progress(_STAGE, len(buckets), len(buckets))
    reference = reference_of(bundle) or survey_reference(lake, bundle.definition, as_of, config, progress)
    found = finish_profiles(pl.concat(parts).sort("user_id"), reference)
    return found.with_columns(percentile=_percentile())


def reference_of(bundle: Bundle) -> Reference | None:
    """What the bundle compares users with; None for one that was trained before there were profiles."""
    return Reference.from_json(bundle.profiles) if bundle.profiles else None


def profile_shard(events: pl.DataFrame, as_of: datetime, bundle: Bundle, config: Config) -> pl.DataFrame:
    """What a user's own events and the bundle say of each user of a shard, before any comparison with others."""
    known = known_events(events, as_of)
    shard = encode(known, bundle.definition, bundle.sentiment)
    return profile_scored(shard, score_members(known, as_of, bundle, shard=shard), as_of, bundle, config)


def profile_scored(
    shard: EncodedShard, scored: Scored, as_of: datetime, bundle: Bundle, config: Config
) -> pl.DataFrame:
    """As `profile_shard`, for events that were all known at `as_of`, and their users' scores."""
    definition = bundle.definition
    shard.columns(needs_of(bundle))  # the most that anything below reads: encoded once, whoever asks first
    facts = facts_and_habits(shard, as_of, definition, config)
    found = facts.hstack(_scores(shard, scored, as_of, bundle)).with_columns_seq(
        eligible=pl.col("churn_probability").is_not_null(),
        stage=stage_of(as_of, definition, factor=config.profiles.silence_factor),
    )
    lapsed = (found["stage"] == "lapsed").to_numpy()
    ahead = _ahead(_outlook(shard, as_of, bundle), lapsed, as_of)
    return found.hstack([_comeback(shard, lapsed, as_of, bundle).alias("comeback_probability"), *ahead])


def stage_now(shard: EncodedShard, as_of: datetime, band: str | None, bundle: Bundle, config: Config) -> str:
    """The stage that the profile of one user has, without the rest of the profile. `shard`: all that was known of that user at
    `as_of`, one event or more; `band`: None for who is not eligible."""
    users = ByUser.of(shard)
    facts = users.frame(rhythm_of(users, as_of, bundle.definition)).with_columns(band=pl.lit(band, pl.String))
    stage = stage_of(as_of, bundle.definition, factor=config.profiles.silence_factor)
    return str(facts.select(stage=stage).item())


def _scores(shard: EncodedShard, scored: Scored, as_of: datetime, bundle: Bundle) -> list[pl.Series]:
    """The scores of a shard's users, null for who is not eligible."""
    eligible = eligible_users(shard, as_of, bundle.definition)
    probability, at_risk = np.full((2, len(shard)), np.nan)
    probability[eligible], at_risk[eligible] = scored.probability, scored.value_at_risk
    band = np.full(len(shard), None, np.object_)
    band[eligible] = bands_of(scored.probability, bundle.config.bands)
    return [
        nullable(probability).alias("churn_probability"),
        pl.Series("band", band.tolist(), dtype=pl.String),
        nullable(at_risk).alias("value_at_risk"),
    ]


def finish_profiles(found: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """The rows of `profile_shard` beside what they are compared with, in the declared columns."""
    compared = reference.compare(found)
    return in_order(compared, reference.abilities)


def _outlook(shard: EncodedShard, as_of: datetime, bundle: Bundle) -> Outlook:
    users = np.arange(len(shard), dtype=np.int32)
    catalogue = _population(bundle.definition.outcome)
    X = compute(shard, users, np.full(len(users), to_us(as_of), np.int64), catalogue).astype(np.float64)
    worth = bundle.gamma_gamma if "order" in bundle.definition.outcome else None
    return outlook_of(X[:, :3], X[:, 3:], bundle.bgnbd, worth, bundle.definition.horizon_days)


@lru_cache(maxsize=16)
def _population(outcome: tuple[str, ...]) -> Catalogue:
    return Catalogue(POPULATION_FEATURES, outcome)


def _comeback(shard: EncodedShard, lapsed: NDArray[np.bool_], as_of: datetime, bundle: Bundle) -> pl.Series:
    """The chance of coming back of the lapsed users of a shard, in the order of its users; null for the others."""
    chance = np.full(len(shard), np.nan)
    if bundle.comeback is not None and lapsed.any():
        users = np.flatnonzero(lapsed).astype(np.int32)
        at_us = np.full(len(users), to_us(as_of), np.int64)
        base = compute(shard, users, at_us, bundle.catalogue, tables=bundle.items)
        X = with_model_columns(base, bundle.catalogue.names, bundle.setting)
        chance[users] = bundle.comeback.probability(X)
    return nullable(chance)


def _ahead(ahead: Outlook, lapsed: NDArray[np.bool_], as_of: datetime) -> pl.DataFrame:
    """The outlook in columns. Times to the second, null for the lapsed."""
    return table_of(
        {
            "expected_orders": ahead.orders,
            "expected_orders_year": ahead.orders_year,
            "expected_value_year": ahead.value_year,
            "next_order_expected_at": _moments(ahead.next_days, lapsed, as_of),
            "next_order_from": _moments(ahead.next_low_days, lapsed, as_of),
            "next_order_until": _moments(ahead.next_high_days, lapsed, as_of),
        }
    )


def _moments(days: NDArray[np.float64], lapsed: NDArray[np.bool_], as_of: datetime) -> NDArray[np.datetime64]:
    known = np.isfinite(days) & ~lapsed
    seconds = np.round(np.where(known, days, 0.0) * 86_400.0).astype(np.int64)
    return np.where(known, (to_us(as_of) + seconds * 1_000_000).view("datetime64[us]"), np.datetime64("NaT"))


def _percentile() -> pl.Expr:
    """The share of the eligible at the same or a lower probability, in %, as in the ranked list."""
    p = pl.col("churn_probability")
    return 100.0 * p.rank("max") / p.count()
