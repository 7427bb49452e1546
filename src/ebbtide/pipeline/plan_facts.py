"""What a plan must know of the eligible users: profile, past contacts, behaviour, consents, zones; one look at the lake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.catalogue import Action
from ebbtide.actions.contacts import MESSAGE_COLUMNS, contacts_of
from ebbtide.actions.effects import Measured, known_value_at_risk
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
from ebbtide.pipeline.plan_measured import EFFECT_COLUMNS, Known, known_effects, measured_worth
from ebbtide.pipeline.profiles import profile_frame
from ebbtide.pipeline.score import score_members
from ebbtide.pipeline.train import newest_moment
from ebbtide.pipeline.uplift_store import UpliftModel, effects_of

_STAGE = Text("looking at contacts and coupons", "查看接触与用券记录")


@dataclass(frozen=True)
class PlanFacts:
    """N users who are eligible at `as_of`, by user_id. `held_out` (N,): global holdout; `unlike` (N,): the error of the
    bundle's autoencoder, None where it has none. `history`: past exposures with known outcomes. `measured`: by name of
    the action, what experiments told of its worth for each user, known until `measured_until`; `notes`: what to know of
    that."""

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
    measured_until: datetime | None = None
    notes: tuple[Text, ...] = ()

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
    taught = known_effects(places, actions, loaded.definition, moment) if actions else Known(None)
    seen = _look(lake, loaded, moment, exposures, never, taught.model, progress)
    users = profile["user_id"]
    facts = PlanFacts(
        as_of=moment,
        bundle=loaded.id,
        profile=profile,
        contacts=seen.contacts,
        consents=lake.read_table("consents"),
        behaviour=users.to_frame().join(seen.behaviour, on="user_id", how="left", maintain_order="left"),
        zones=zones_of(known_users(lake, moment), profile, config.shop.timezone),
        held_out=is_held_out(users, config.campaign.holdout, workspace_secret(places.home)),
        unlike=None if seen.unlike is None else _aligned(users.to_frame(), seen.unlike),
        history=seen.history,
        notes=taught.notes,
    )
    if taught.model is None:
        return facts
    measured = measured_worth(seen.effects, users, actions, _worth_of_staying(config, facts))
    return replace(facts, measured=measured, measured_until=taught.model.until)


def _worth_of_staying(config: Config, facts: PlanFacts) -> NDArray[np.float64]:
    """What the shop earns by each user within the horizon if the user stays, (N,)."""
    probability = facts.number("churn_probability")
    at_risk, _ = known_value_at_risk(facts.number("value_at_risk"), probability, config.profit.clv)
    return np.asarray(config.actions.margin * at_risk / np.maximum(probability, 1e-6))


def known_users(lake: Lake, moment: datetime) -> pl.DataFrame:
    """The rows of the users table that held at a moment."""
    return lake.read_table("users").filter(pl.col("valid_from").is_null() | (pl.col("valid_from") <= moment))


@dataclass(frozen=True)
class _Seen:
    """One bucket's part of the facts, or all parts together."""

    contacts: pl.DataFrame
    behaviour: pl.DataFrame
    history: pl.DataFrame
    effects: pl.DataFrame
    unlike: pl.DataFrame | None


def _look(
    lake: Lake, bundle: Bundle, moment: datetime, exposures: pl.DataFrame, never: Sequence[str],
    model: UpliftModel | None, progress: Progress,
) -> _Seen:  # fmt: skip
    odd = UNLIKE in {c.name for c in bundle.columns}
    columns = None if odd or model is not None else list(dict.fromkeys([*MESSAGE_COLUMNS, *BEHAVIOUR_COLUMNS]))

    def parts() -> Iterator[_Seen]:
        yield _bucket_seen(empty_events(), bundle, moment, exposures.head(0), never, None, odd=False)
        for done, bucket in enumerate(buckets):
            progress(_STAGE, done, len(buckets))
            yield _bucket_seen(lake.read_bucket(bucket, columns), bundle, moment, exposures, never, model, odd=odd)
        progress(_STAGE, len(buckets), len(buckets))

    buckets = lake.buckets()
    seen = list(parts())
    errors = [s.unlike for s in seen if s.unlike is not None]
    return _Seen(
        contacts=pl.concat(s.contacts for s in seen),
        behaviour=pl.concat(s.behaviour for s in seen),
        history=pl.concat(s.history for s in seen),
        effects=pl.concat(s.effects for s in seen),
        unlike=pl.concat(errors) if errors else None,
    )


def _bucket_seen(
    events: pl.DataFrame, bundle: Bundle, moment: datetime, exposures: pl.DataFrame, never: Sequence[str],
    model: UpliftModel | None, *, odd: bool,
) -> _Seen:  # fmt: skip
    known = known_events(events, moment)
    own = exposures.filter(pl.col("user_id").is_in(known["user_id"].unique().implode()))
    effects, unlike = pl.DataFrame(schema=EFFECT_COLUMNS), None
    if model is not None:
        effects = effects_of(model, known, moment).select(list(EFFECT_COLUMNS))
    if odd:
        scored = score_members(known, moment, bundle)
        place = [c.name for c in bundle.columns].index(UNLIKE)
        unlike = pl.DataFrame({"user_id": scored.user_id, UNLIKE: scored.X[:, place].astype(np.float64)})
    return _Seen(
        contacts=contacts_of(known, own, moment, never),
        behaviour=behaviour_of(known),
        history=outcomes_of_exposures(known, own, bundle.definition, moment),
        effects=effects,
        unlike=unlike,
    )


def _aligned(users: pl.DataFrame, errors: pl.DataFrame) -> NDArray[np.float64]:
    joined = users.join(errors, on="user_id", how="left", maintain_order="left")
    return joined[UNLIKE].fill_null(float("nan")).to_numpy()
