"""`profile USER`: one user's stage, segment, outlook, habits, changes and reasons."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from ebbtide.core.config import Config
from ebbtide.core.language import Language
from ebbtide.explain.changes import changes_of
from ebbtide.explain.profile import Profile
from ebbtide.explain.reference import Reference
from ebbtide.features.encode import EncodedShard, encode
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline.dataset import known_events, unknown_user
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.profile_reference import survey_reference
from ebbtide.pipeline.profiles import finish_profiles, profile_scored, reference_of
from ebbtide.pipeline.score import reasons_of, score_members
from ebbtide.pipeline.train import newest_moment


def profile(
    config: Config,
    root: Path,
    user_id: str,
    *,
    as_of: datetime | None = None,
    bundle: str | None = None,
    language: Language | None = None,
) -> Profile:
    """The profile of one user at `as_of` (default: the newest event).

    Raises InputError if no event of the user was known then, MissingBundleError without a trained bundle.
    """
    places = Places(root)
    loaded, lake = places.shelf().load(bundle), places.lake()
    as_of = as_of or newest_moment(lake)
    reference = reference_of(loaded) or survey_reference(lake, loaded.definition, as_of, config)
    return profile_user(lake.read_user(user_id), as_of, loaded, reference, config, language or config.shop.language)


def profile_user(
    events: pl.DataFrame, as_of: datetime, bundle: Bundle, reference: Reference, config: Config, language: Language
) -> Profile:
    """The profile of the one user whose events these are, with everything open already. Raises InputError if none of
    them was known at `as_of`."""
    known = encode(known_events(events, as_of), bundle.definition, bundle.sentiment)
    return profile_known(known, as_of, bundle, reference, config, language)


def profile_known(
    shard: EncodedShard, as_of: datetime, bundle: Bundle, reference: Reference, config: Config, language: Language
) -> Profile:
    """As `profile_user`, for the encoded events of one user, all of them known at `as_of`. Raises InputError without any."""
    if not len(shard):
        raise unknown_user(as_of)
    scored = score_members(shard.events, as_of, bundle, shard=shard)
    row = finish_profiles(profile_scored(shard, scored, as_of, bundle, config), reference).row(0, named=True)
    names = reference.clusters.names() if reference.clusters else ()
    return Profile(
        user_id=row["user_id"],
        as_of=as_of,
        row=row,
        group=names[row["cluster"] - 1] if row["cluster"] else None,
        changes=changes_of(shard.events, as_of, bundle.definition.horizon_days),
        reasons=tuple(reasons_of(scored, bundle, language).to_dicts()[0]) if len(scored.user_id) else (),
    )
