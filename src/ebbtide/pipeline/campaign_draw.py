"""The draw of a campaign: who may be drawn, into which arm, as far as the budget reaches; and its exposures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import polars as pl

from ebbtide.actions.campaign import Campaigns
from ebbtide.actions.catalogue import declared_actions
from ebbtide.actions.eligibility import consents_given
from ebbtide.actions.experiment import CONTROL, TREATMENT, draw_arms, is_held_out
from ebbtide.core.action_settings import NOTHING
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError
from ebbtide.events.lake import Lake
from ebbtide.events.tables import append_rows


def eligible_users(
    config: Config, lake: Lake, candidates: pl.DataFrame, busy: pl.Series, as_of: datetime, secret: bytes
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Who may be drawn, and how many were left out because the lake does not know them, because they belong to the
    global holdout, have not consented, or are busy elsewhere: in this order, each counted once."""
    user = candidates["user_id"]
    reasons = {
        "unknown": ~user.is_in(_known_users(lake).implode()),
        "holdout": pl.Series(is_held_out(user, config.campaign.holdout, secret), dtype=pl.Boolean),
        "consent": ~_consented(config, lake, candidates, as_of),
        "elsewhere": user.is_in(busy.implode()),
    }
    left_out, gone = dict[str, int](), user != user
    for why, out in reasons.items():
        left_out[why] = int((out & ~gone).sum())
        gone = gone | out
    return candidates.filter(~gone), left_out


def busy_users(campaigns: Campaigns, name: str, layer: str) -> pl.Series:
    """Users of the other running campaigns of a layer."""
    others = [campaigns.load(n) for n in campaigns.names() if n != name]
    running = [c.name for c in others if c.layer == layer and c.status == "running"]
    found = [campaigns.read(n, "assigned")["user_id"] for n in running]
    return pl.concat(found) if found else pl.Series("user_id", [], pl.String)


def draw_users(fresh: pl.DataFrame, control: float, layer: str, secret: bytes, as_of: datetime) -> pl.DataFrame:
    """The new users with arm, bucket and the chance of what they were drawn for."""
    arms = draw_arms(fresh["user_id"], control, layer, secret)
    treated = arms["arm"] == TREATMENT
    planned = pl.when(treated).then(pl.col("propensity")).otherwise(1.0)
    return fresh.with_columns(arms["arm"], arms["bucket"], assigned_at=pl.lit(as_of)).with_columns(
        propensity=planned * arms["chance"]
    )


def within_budget(drawn: pl.DataFrame, budget: float | None) -> pl.DataFrame:
    """The users, in the order of the plan, until the treated ones have used up the budget."""
    if budget is None:
        return drawn
    spent = np.cumsum(np.where(drawn["arm"] == TREATMENT, drawn["cost"].to_numpy(), 0.0))
    return drawn.head(int(np.searchsorted(spent, budget * (1 + 1e-12), side="right")))


def check_arms(everybody: pl.DataFrame, candidates: int, left_out: Mapping[str, int]) -> None:
    """Raise DataError unless both arms have somebody."""
    counts = {arm: int((everybody["arm"] == arm).sum()) for arm in (TREATMENT, CONTROL)}
    if all(counts.values()):
        return
    listed = ", ".join(f"{why} {n:,}" for why, n in left_out.items() if n) or "-"
    raise DataError(
        "of {candidates:,} planned customers {treated:,} would be treated and {control:,} be control (left out: "
        "{listed}): both arms need somebody; plan more customers, or change --control",
        "{candidates:,} 位计划顾客中，{treated:,} 位将被触达，{control:,} 位为对照（排除：{listed}）：两组都需要有人；"
        "请计划更多顾客，或调整 --control",
        candidates=candidates,
        treated=counts[TREATMENT],
        control=counts[CONTROL],
        listed=listed,
    )


def write_exposures(lake: Lake, name: str, assigned: pl.DataFrame) -> None:
    """The draw as exposures; those that are there already are not written again."""
    shown = pl.when(pl.col("arm") == CONTROL).then(pl.lit(NOTHING)).otherwise("action")
    rows = assigned.select(
        "user_id",
        occurred_at="assigned_at",
        ingested_at="assigned_at",
        campaign_id=pl.lit(name),
        action=shown,
        propensity="propensity",
    )
    append_rows(lake, "exposures", rows, [])


def _known_users(lake: Lake) -> pl.Series:
    found = [lake.read_bucket(b, ["user_id"])["user_id"].unique() for b in lake.buckets()]
    return pl.concat(found) if found else pl.Series("user_id", [], pl.String)


def _consented(config: Config, lake: Lake, candidates: pl.DataFrame, as_of: datetime) -> pl.Series:
    """Whether each candidate has consented to what the own action asks for; an undeclared action asks for nothing."""
    actions = declared_actions(config)
    given = consents_given(candidates["user_id"], lake.read_table("consents"), actions, as_of)
    spared = np.ones(candidates.height, np.bool_)
    for place, action in enumerate(actions):
        spared &= given[:, place] | (candidates["action"] != action.name).to_numpy()
    return pl.Series(spared)
