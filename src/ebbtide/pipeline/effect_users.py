"""The users of a campaign as numbers: the arm that was drawn, what they did afterwards, what was known before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.campaign import Campaign, Campaigns
from ebbtide.actions.experiment import TREATMENT
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.action_settings import NOTHING
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError
from ebbtide.core.progress import Progress
from ebbtide.evaluation.tally import Vector
from ebbtide.events.lake import Lake
from ebbtide.pipeline.campaign_promise import outcomes_before
from ebbtide.pipeline.campaign_results import treated_anyway
from ebbtide.pipeline.effect_forecast import FORECASTS, forecasts
from ebbtide.pipeline.outcomes import outcomes_of
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.train import newest_moment

_ROWS_A_COVARIATE = 20
_RISK = ("churn_probability", "expected_orders", "value_at_risk")
_TOLD = (*_RISK, *FORECASTS)
_BEFORE = ("retained_before", "orders_before", "value_before")
_SUMS = ("orders", "value", "refund", "discount", "cost")


@dataclass(frozen=True)
class Measured:
    """`users`: one row a user whose outcome is complete, by intention to treat: `treated`, `retained`, `orders`,
    `value`, `net` (margin on the value less the cost of the action that was drawn), `refund`, `discount`, `gross`,
    `unsubscribed`, what was known before, `band`, `action`.

    `assigned` counts everybody (treated, control); `unreported` whose outcome a results file leaves out;
    `control_treated` control users who got an action, `untreated` treated ones who got none.
    """

    campaign: Campaign
    users: pl.DataFrame
    assigned: tuple[int, int]
    waiting: int
    unreported: int
    control_treated: int
    untreated: int
    known_until: datetime

    @property
    def treated(self) -> NDArray[np.bool_]:
        """Who was drawn into treatment, (N,)."""
        return self.users["treated"].to_numpy()

    @property
    def has_risk(self) -> bool:
        """Whether a prediction made at the assignment is known: then the adjustment is CUPAC, else CUPED."""
        return any(self.users[c].is_not_null().any() for c in ("churn_probability", *FORECASTS))

    def covariates(self) -> Vector:
        """What was known before, (N, K): the risk where there is one, forecasts of orders and money, and the same outcomes
        of the window before.

        At most one column for every 20 users, the telling ones first; columns that say nothing are left out.
        """
        told = [c for c in (*_TOLD, *_BEFORE) if self.users[c].drop_nulls().n_unique() > 1]
        kept = told[: max(1, self.users.height // _ROWS_A_COVARIATE)]
        return (
            self.users.select(pl.col(kept).cast(pl.Float64).fill_null(np.nan)).to_numpy()
            if kept
            else np.zeros((self.users.height, 1))
        )


def measured_users(config: Config, root: Path, name: str, progress: Progress) -> Measured:
    """Put together what is known of a campaign. Outcomes come from the lake; a column of results that was read from
    files takes the place of the lake's. Raises InputError for an unknown campaign, DataError for one without users."""
    places = Places(root)
    campaigns, lake = Campaigns(places.home / "campaigns"), places.lake()
    campaign = campaigns.load(name)
    assigned = campaigns.read(name, "assigned").unique("user_id", keep="first", maintain_order=True)
    if assigned.is_empty():
        raise DataError("the campaign `{name}` has nobody in it", "活动 `{name}` 中没有用户", name=name)
    known = max(newest_moment(lake), campaign.known_until or campaign.started_at)
    results = campaigns.read(name, "results")
    foreseen = forecasts(
        config, root, lake, ChurnDefinition.from_json(campaign.definition),
        assigned.select("user_id", at="assigned_at"), progress,
    )  # fmt: skip
    outcomes = _with_outcomes(lake, campaign, assigned, known, progress)
    users = _with_results(outcomes.join(foreseen, on="user_id", how="left", maintain_order="left"), results)
    users = _with_net(users, config.actions.margin)
    complete = users.filter(pl.col("matured"))
    told = complete.filter(pl.col("retained").is_not_null())
    treated = int(users["treated"].sum())
    got = pl.concat([results.select("user_id", "action"), _exposed(lake, name, known)])
    skipped = results.filter(pl.col("action") == NOTHING)["user_id"].implode()
    return Measured(
        campaign=campaign,
        users=told,
        assigned=(treated, users.height - treated),
        waiting=users.height - complete.height,
        unreported=complete.height - told.height,
        control_treated=len(treated_anyway(got, assigned)),
        untreated=int((users["treated"] & users["user_id"].is_in(skipped)).sum()),
        known_until=known,
    )


def _with_outcomes(
    lake: Lake, campaign: Campaign, assigned: pl.DataFrame, known: datetime, progress: Progress
) -> pl.DataFrame:
    definition = ChurnDefinition.from_json(campaign.definition)
    moments = assigned.select("user_id", at="assigned_at")
    after = outcomes_of(lake, moments.with_columns(known_until=pl.lit(known)), definition, progress)
    before = outcomes_before(lake, moments, definition, progress)
    past = before.select("user_id", **{name: pl.col(name.removesuffix("_before")) for name in _BEFORE})
    joined = assigned.join(after, on="user_id", how="left", maintain_order="left")
    return joined.join(past, on="user_id", how="left", maintain_order="left").with_columns(
        pl.col("retained").cast(pl.Float64),
        pl.col("unsubscribed").cast(pl.Float64),
        pl.col("orders").cast(pl.Float64),
        treated=pl.col("arm") == TREATMENT,
    )


def _with_results(users: pl.DataFrame, results: pl.DataFrame) -> pl.DataFrame:
    """Columns that the files tell take the place of the lake's. Who is in no row did nothing, except that `retained`
    is then unknown, and the cost as planned."""
    told = [c for c in (*_SUMS, "retained", "unsubscribed") if results[c].is_not_null().any()]
    if not told:
        return users
    each = results.group_by("user_id").agg(
        *(pl.col(c).sum() if c in _SUMS else pl.col(c).max() for c in told),
        **{f"{c}_told": pl.col(c).is_not_null().any() for c in told},
    )
    joined = users.join(each, on="user_id", how="left", maintain_order="left", suffix="_new")
    instead = {"cost": pl.col("cost"), "retained": pl.lit(None, pl.Float64)}
    chosen = [
        pl.when(pl.col(f"{c}_told")).then(pl.col(f"{c}_new")).otherwise(instead.get(c, pl.lit(0.0))).alias(c)
        for c in told
    ]
    return joined.with_columns(chosen).with_columns(gross=pl.col("value") + pl.col("discount")).select(users.columns)


def _with_net(users: pl.DataFrame, margin: float) -> pl.DataFrame:
    cost = pl.when("treated").then("cost").otherwise(0.0)
    return users.with_columns(net=margin * pl.col("value") - cost, margin=margin * pl.col("value"))


def _exposed(lake: Lake, name: str, known: datetime) -> pl.DataFrame:
    shown = lake.read_table("exposures")
    return shown.filter((pl.col("campaign_id") == name) & (pl.col("occurred_at") <= known)).select("user_id", "action")
