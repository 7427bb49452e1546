"""What a campaign can find, worked out before anybody is treated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from ebbtide.actions.experiment import TREATMENT
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.action_settings import CampaignConfig
from ebbtide.core.progress import Progress
from ebbtide.evaluation.power import minimum_detectable_effect, sample_size
from ebbtide.events.lake import Lake
from ebbtide.pipeline.outcomes import outcomes_of


@dataclass(frozen=True)
class Promise:
    """What the campaign can find, told before it starts. `rate`: expected retained share without any action;
    `explained`: share of its variance that the risk explains; `detectable`: smallest change found with the configured
    power; `needed`: users that would find the configured one; `money`: the same for money per user, None without."""

    rate: float
    explained: float
    detectable: float
    wanted: float
    needed: int
    money: float | None


def promise_of(
    settings: CampaignConfig,
    lake: Lake,
    definition: ChurnDefinition,
    everybody: pl.DataFrame,
    as_of: datetime,
    progress: Progress,
) -> Promise:
    """What the arms can find: from the risk where it is known, else from what the same users did in the window before."""
    treated = int((everybody["arm"] == TREATMENT).sum())
    control = everybody.height - treated
    past = outcomes_before(lake, everybody.select("user_id", at=pl.lit(as_of)), definition, progress)
    risk = everybody["churn_probability"].drop_nulls().to_numpy()
    rate = 1 - float(risk.mean()) if len(risk) else float(past["retained"].mean() or 0.0)  # type: ignore[arg-type]
    spread = rate * (1 - rate)
    explained = min(float(risk.var()) / spread, 0.95) if len(risk) and spread else 0.0
    limits = {"alpha": settings.alpha, "power": settings.power}
    money = past["value"].drop_nulls().to_numpy()
    return Promise(
        rate=rate,
        explained=explained,
        detectable=minimum_detectable_effect(spread, treated, control, explained=explained, **limits),
        wanted=settings.effect,
        needed=sample_size(
            spread, settings.effect, control_share=control / everybody.height, explained=explained, **limits
        ),
        money=minimum_detectable_effect(float(money.var()), treated, control, **limits) if len(money) else None,
    )


def outcomes_before(lake: Lake, users: pl.DataFrame, definition: ChurnDefinition, progress: Progress) -> pl.DataFrame:
    """What users did in the window that ended at `at`, as known then: what they are like without the action."""
    asked = users.select("user_id", at=pl.col("at") - closing_of(definition), known_until="at")
    return outcomes_of(lake, asked, definition, progress)


def closing_of(definition: ChurnDefinition) -> timedelta:
    """How long after a moment its outcome window closes."""
    return timedelta(microseconds=definition.closing_us)
