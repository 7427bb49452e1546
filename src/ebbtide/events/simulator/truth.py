"""What only the simulator knows: who left when and why, and the hidden state of everybody at any moment."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US, to_us
from ebbtide.events.schema import TIME
from ebbtide.events.simulator.crowd import NEVER
from ebbtide.events.simulator.frames import user_names
from ebbtide.events.simulator.life import Story
from ebbtide.events.simulator.mood import MOODS
from ebbtide.events.simulator.settings import ACTIONS, CATEGORIES, CAUSES, SimulationConfig

SENSITIVITIES = ("delivery_sensitivity", "service_sensitivity", "price_sensitivity")
EFFECTS = ("message_effect", "coupon_effect", "call_effect")


def lives_frame(story: Story, buyers: NDArray[np.void], config: SimulationConfig) -> pl.DataFrame:
    """One row a user: fixed traits, when the user left (null: never) and for which cause (null: never).

    From `left_at` on, a midnight, there is no order. At that very midnight the leaving still lies ahead.
    """
    left = pl.Series(story.left_day != NEVER)
    start = to_us(config.start_at)
    return pl.DataFrame(
        {
            "user_id": user_names(buyers),
            "joined_at": start + buyers["join_day"].astype(np.int64) * DAY_US,
            "left_at": start + np.where(left, story.left_day, 0).astype(np.int64) * DAY_US,
            "cause": pl.Series(CAUSES).gather(np.maximum(story.cause, 0)),
            "orders_per_day": buyers["rate"],
            "regularity": buyers["regularity"],
            "natural_hazard": buyers["natural"],
            "favourite": pl.Series(CATEGORIES).gather(buyers["favourites"][:, 0]),
            **{name: buyers[name] for name in (*SENSITIVITIES, *EFFECTS)},
        }
    ).with_columns(
        pl.col("joined_at").cast(TIME),
        pl.when(left).then(pl.col("left_at").cast(TIME)).alias("left_at"),
        pl.when(left).then(pl.col("cause")).alias("cause"),
    )


def moment_frame(
    story: Story, place: int, buyers: NDArray[np.void], config: SimulationConfig, moment: datetime
) -> pl.DataFrame:
    """Hidden state of each user who has joined by `moment`, from the record number `place` of the story.

    `order_rate_per_day` and the hazards are those of a customer who is still there: they do not tell who has left.
    `mood` is content for everybody in a shop without doubt.
    `main_cause`: for who has left, the cause of it; else the largest hazard. `rate_change_*`, `hazard_change_*`: what
    the action would add to order rate and hazard for EFFECT_DAYS; 0 for who has left.
    """
    hidden = story.moments[place]
    start, at = to_us(config.start_at), to_us(moment)
    left = (story.left_day != NEVER) & (start + story.left_day.astype(np.int64) * DAY_US < at)
    hazards = hidden["hazards"]
    cause = np.where(left, story.cause, hazards.argmax(axis=1))
    rate, hazard = hidden["order_rate"], hazards.sum(axis=1)
    here_rate, here_hazard = np.where(left, 0.0, rate), np.where(left, 0.0, hazard)
    frame = pl.DataFrame(
        {
            "user_id": user_names(buyers),
            "still_customer": ~left,
            "main_cause": pl.Series(CAUSES).gather(cause),
            "order_rate_per_day": rate,
            "regularity": buyers["regularity"],
            "engagement": hidden["engagement"],
            "mood": pl.Series(MOODS).gather(hidden["mood"].astype(np.int64)),
            "churn_hazard_per_day": hazard,
            **{f"hazard_{name}": hazards[:, number] for number, name in enumerate(CAUSES)},
            "rate_change_message": here_rate * buyers["message_effect"],
            "rate_change_coupon": here_rate * buyers["coupon_effect"],
            "hazard_change_coupon": here_hazard * (1 / (1 + buyers["coupon_effect"]) - 1),
            "hazard_change_call": -here_hazard * buyers["call_effect"],
        }
    )
    return frame.filter(_joined_before(moment, buyers, config))


def effects_frame(
    chances: NDArray[np.float64], buyers: NDArray[np.void], config: SimulationConfig, moment: datetime
) -> pl.DataFrame:
    """P(order within 30 days) of each user who has joined by `moment`, and what each action then would change in it."""
    frame = pl.DataFrame(
        {
            "user_id": user_names(buyers),
            "order_chance": chances[0],
            **{f"uplift_{action}": chances[n] - chances[0] for n, action in enumerate(ACTIONS) if n},
        }
    )
    return frame.filter(_joined_before(moment, buyers, config))


def _joined_before(moment: datetime, buyers: NDArray[np.void], config: SimulationConfig) -> pl.Series:
    return pl.Series(to_us(config.start_at) + buyers["join_day"].astype(np.int64) * DAY_US < to_us(moment))
