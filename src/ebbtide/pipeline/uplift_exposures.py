"""The trial that a shop's own campaigns make: who was exposed to what, what was known just before, what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.trial import Trial
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.action_settings import NOTHING
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError
from ebbtide.core.ids import hash_texts
from ebbtide.core.progress import Progress, silent
from ebbtide.events.lake import Lake
from ebbtide.events.schema import TIME
from ebbtide.features.catalogue import Catalogue
from ebbtide.models.base import Vector
from ebbtide.pipeline.dataset import Survey, collect, survey
from ebbtide.pipeline.outcomes import outcomes_of
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.train import newest_moment, shop_catalogue
from ebbtide.pipeline.uplift_table import check_enough, full_chances

BEFORE = timedelta(seconds=1)
"""Features are those of just before the exposure, so that the action itself is not among them."""


@dataclass(frozen=True)
class ShopTrial:
    """The trial of a shop's closed campaigns; ids (N,), money (N,) what was spent in the outcome window, None in a log
    without money; campaigns: how many; waiting: exposures whose outcome window is still open."""

    trial: Trial
    ids: pl.Series
    money: Vector | None
    campaigns: int
    waiting: int
    known_chances: bool
    catalogue: Catalogue
    seen: Survey
    definition: ChurnDefinition
    until: datetime


def trial_of_exposures(
    config: Config, root: Path, *, until: datetime | None = None, progress: Progress = silent
) -> ShopTrial:
    """Make the exposures ready that were known and whose outcome window had closed at `until` (default: now in the log).

    Outcome: an event of the kind whose absence is churn, within the horizon. Arms are actions, `nothing` is control.
    Raises DataError where there are no exposures, no control, or too few of an arm.
    """
    lake = Places(root).lake()
    definition = ChurnDefinition.from_config(config.churn)
    until = until or newest_moment(lake)
    given = _known_exposures(lake, until)
    closed = given.filter(pl.col("at") + timedelta(microseconds=definition.closing_us) <= until)
    _check(closed, len(given))
    told = _outcomes(lake, closed, definition, until, progress)
    seen = survey(lake, definition, until, progress)
    catalogue = shop_catalogue(config, root, definition, seen)
    order = np.lexsort((hash_texts(told["user_id"]), told["at"].dt.epoch("us").to_numpy()))
    told = told[order]
    cohorts = told.select("user_id", as_of="at", churned=~pl.col("retained"), stayed_at=pl.lit(None, TIME))
    rows = collect(lake, definition, catalogue, cohorts, seen.items, progress)
    arms = (NOTHING, *sorted(set(told["action"]) - {NOTHING}))
    arm = told["action"].replace_strict({name: n for n, name in enumerate(arms)}, return_dtype=pl.Int64).to_numpy()
    y = told["retained"].cast(pl.Float64).to_numpy()
    check_enough(arm, y, arms)
    own = told["propensity"].to_numpy()
    known = bool(np.all((own > 0) & (own < 1)))
    shares = _shares_by_campaign(told["campaign_id"], arm, len(arms), own if known else np.ones(len(own)))
    trial = Trial(
        X=rows.X,
        arm=arm,
        y=y,
        propensity=full_chances(own, arm, shares) if known else shares,
        names=catalogue.names,
        arms=arms,
        user=rows.user,
    )
    money = told["value"].to_numpy() if told["value"].null_count() == 0 else None
    campaigns = told["campaign_id"].n_unique()
    return ShopTrial(
        trial, told["user_id"], money, campaigns, len(given) - len(closed), known, catalogue, seen, definition, until
    )


def _known_exposures(lake: Lake, until: datetime) -> pl.DataFrame:
    """The first exposure of each user in each campaign, as known at `until`."""
    table = lake.read_table("exposures")
    known = table.filter((pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until))
    first = known.sort("occurred_at", "action").unique(["campaign_id", "user_id"], keep="first", maintain_order=True)
    return first.with_columns(
        at=pl.col("occurred_at") - BEFORE, action=pl.col("action").fill_null(NOTHING),
        campaign_id=pl.col("campaign_id").fill_null(""), propensity=pl.col("propensity").fill_null(float("nan")),
    )  # fmt: skip


def _check(closed: pl.DataFrame, known: int) -> None:
    if not known:
        raise DataError(
            "no exposures are in the lake: ingest who got which action in which campaign (a source with table = "
            '"exposures"), run one with `ebbtide campaign`, or learn from a table with --data',
            '数据湖中没有触达记录：请导入每次活动中谁得到了什么行动（来源 table = "exposures"），用 `ebbtide campaign` '
            "开展活动，或用 --data 从表中学习",
        )
    if not len(closed):
        raise DataError(
            "the outcome window of all {count:,} exposures is still open: wait until the horizon has passed",
            "全部 {count:,} 次触达的结果窗口尚未结束：请等待窗口期过去",
            count=known,
        )
    actions = set(closed["action"])
    if NOTHING not in actions or len(actions) < 2:
        raise DataError(
            "uplift needs users who got `{control}` beside those who got an action; the closed exposures hold {actions}",
            "评估增益需要得到行动的用户和得到 `{control}` 的用户；已结束的触达只有 {actions}",
            control=NOTHING,
            actions=", ".join(sorted(actions)),
        )


def _outcomes(
    lake: Lake, closed: pl.DataFrame, definition: ChurnDefinition, until: datetime, progress: Progress
) -> pl.DataFrame:
    """Outcomes campaign by campaign, in which each user stands once."""
    parts = []
    for campaign in closed["campaign_id"].unique().sort():
        users = closed.filter(pl.col("campaign_id") == campaign)
        asked = users.select("user_id", "at", known_until=pl.lit(until, TIME))
        found = outcomes_of(lake, asked, definition, progress)
        parts.append(users.select("campaign_id", "action", "propensity").hstack(found))
    return pl.concat(parts)


def _shares_by_campaign(campaign: pl.Series, arm: NDArray[np.int64], arms: int, own: Vector) -> Vector:
    """The chance of each arm in the row's own campaign, (N, K): the mean chance written beside its exposures, or, where
    none is (`own` is 1), its share of them."""
    place = campaign.rank("dense").to_numpy().astype(np.int64) - 1
    total, counts = (np.zeros((int(place.max()) + 1, arms)) for _ in range(2))
    np.add.at(total, (place, arm), own)
    np.add.at(counts, (place, arm), 1.0)
    mean = total if np.all(own == 1) else total / np.maximum(counts, 1.0)
    return np.asarray((mean / mean.sum(axis=1, keepdims=True))[place])
