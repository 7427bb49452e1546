"""What a plan must know of the eligible users: profile, past contacts, behaviour, consents, zones; one look at the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.catalogue import Action
from ebbtide.actions.contacts import CONTACT_COLUMNS, MESSAGE_COLUMNS, contacts_of
from ebbtide.actions.effects import Measured
from ebbtide.actions.experiment import is_held_out, workspace_secret
from ebbtide.actions.guard import BEHAVIOUR_COLUMNS, UNLIKE, behaviour_of
from ebbtide.actions.zones import zones_of
from ebbtide.core.config import Config
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress
from ebbtide.events.lake import Lake
from ebbtide.events.schema import empty_events
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline.dataset import known_events
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.plan_history import HISTORY_COLUMNS, outcomes_of_exposures
from ebbtide.pipeline.profiles import profile_frame
from ebbtide.pipeline.score import score_members
from ebbtide.pipeline.train import newest_moment

_STAGE = Text("looking at contacts and coupons", "查看接触与用券记录")


@dataclass(frozen=True)
class PlanFacts:
    """N users who are eligible at `as_of`, by user_id. `held_out` (N,): global holdout; `unlike` (N,): the error of the
    bundle's autoencoder, None where it has none. `history`: past exposures with known outcomes. `measured`: by name of
    the action, what an experiment told of its worth for each user."""

    as_of: datetime
    bundle: str
    profile: pl.DataFrame
    contacts: pl.DataFrame
    consents: pl.DataFrame
    behaviour: pl.DataFrame
    zones: pl.Series
    held_out: NDArray[np.bool_]
    unlike: NDArray[np.float64] | None
    history: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=HISTORY_COLUMNS))
    measured: Mapping[str, Measured] = field(default_factory=dict)

    @property
    def user_id(self) -> pl.Series:
        """(N,)."""
        return self.profile["user_id"]

    def number(self, column: str) -> NDArray[np.float64]:
        """A column of the profile, NaN where it is unknown, (N,)."""
        return self.profile[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def gather_facts(
    config: Config,
    root: Path,
    actions: Sequence[Action],
    as_of: datetime | None,
    bundle: str | None,
    progress: Progress,
) -> PlanFacts:
    """Look at the lake. Raises MissingBundleError without a trained bundle, MissingError without a lake."""
    places = Places(root)
    lake, loaded = places.lake(), places.shelf().load(bundle)
    moment = as_of or newest_moment(lake)
    found = profile_frame(config, root, as_of=moment, bundle=bundle, progress=progress)
    profile = found.filter(pl.col("eligible"))
    exposures = lake.read_table("exposures")
    never = [a.name for a in actions if a.transactional]
    contacts, behaviour, history, unlike = _look(lake, loaded, moment, exposures, never, progress)
    users = profile.select("user_id")
    return PlanFacts(
        as_of=moment,
        bundle=loaded.id,
        profile=profile,
        contacts=contacts,
        consents=lake.read_table("consents"),
        behaviour=users.join(behaviour, on="user_id", how="left", maintain_order="left"),
        zones=zones_of(_known_users(lake, moment), profile, config.shop.timezone),
        held_out=is_held_out(users["user_id"], config.campaign.holdout, workspace_secret(places.home)),
        unlike=None if unlike is None else _aligned(users, unlike),
        history=history,
    )


def _known_users(lake: Lake, moment: datetime) -> pl.DataFrame:
    return lake.read_table("users").filter(pl.col("valid_from").is_null() | (pl.col("valid_from") <= moment))


def _look(
    lake: Lake, bundle: Bundle, moment: datetime, exposures: pl.DataFrame, never: Sequence[str], progress: Progress
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame | None]:
    columns = list(dict.fromkeys([*MESSAGE_COLUMNS, *BEHAVIOUR_COLUMNS]))
    names = [c.name for c in bundle.columns]
    odd = names.index(UNLIKE) if UNLIKE in names else None
    buckets = lake.buckets()
    contacts, behaviours = [pl.DataFrame(schema=CONTACT_COLUMNS)], [behaviour_of(empty_events())]
    histories, errors = [pl.DataFrame(schema=HISTORY_COLUMNS)], []
    for done, bucket in enumerate(buckets):
        progress(_STAGE, done, len(buckets))
        events = lake.read_bucket(bucket, None if odd is not None else columns)
        known = known_events(events, moment)
        own = exposures.filter(pl.col("user_id").is_in(known["user_id"].unique().implode()))
        contacts.append(contacts_of(known, own, moment, never))
        behaviours.append(behaviour_of(known))
        histories.append(outcomes_of_exposures(known, own, bundle.definition, moment))
        if odd is not None:
            scored = score_members(known, moment, bundle)
            errors.append(pl.DataFrame({"user_id": scored.user_id, UNLIKE: scored.X[:, odd].astype(np.float64)}))
    progress(_STAGE, len(buckets), len(buckets))
    return pl.concat(contacts), pl.concat(behaviours), pl.concat(histories), pl.concat(errors) if errors else None


def _aligned(users: pl.DataFrame, errors: pl.DataFrame) -> NDArray[np.float64]:
    joined = users.join(errors, on="user_id", how="left", maintain_order="left")
    return joined[UNLIKE].fill_null(float("nan")).to_numpy()
