"""What all customers share: seasons, the price of each category over time, the goods and their popularity, campaigns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.windows import to_us
from ebbtide.events.simulator.character import Character
from ebbtide.events.simulator.settings import ACTIONS, BRANDS, CATEGORIES, CATEGORY_PRICE, SimulationConfig

WEEK = 7


@dataclass(frozen=True)
class World:
    """C categories of M goods each, D days, K campaigns."""

    start_us: int
    days: int
    weekday: NDArray[np.int64]  # (D,) Monday 0
    season: NDArray[np.float64]  # (D,) factor on every order rate
    sale: NDArray[np.float64]  # (D,) share off every price
    price_index: NDArray[np.float64]  # (C, D) list prices relative to the first day
    item_price: NDArray[np.float64]  # (C, M) list price on the first day, ascending
    item_quality: NDArray[np.float64]  # (C, M) mean rating
    item_brand: NDArray[np.int64]  # (C, M)
    popularity: NDArray[np.float64]  # (D // 7 + 1, C, M)
    strengths: NDArray[np.float64]  # (H,) one a cause
    campaign_days: NDArray[np.int64]  # (K,)
    propensity: NDArray[np.float64]  # (4,) chance of each arm
    arms: NDArray[np.float64]  # (4,) upper edges of the arms in [0, 1)
    campaign_share: float
    silent_days: int
    character: Character

    @property
    def goods_per_category(self) -> int:
        """M."""
        return int(self.item_price.shape[1])


def make_world(config: SimulationConfig) -> World:
    """The world of a config: it depends on the seed, not on the users."""
    rng = np.random.default_rng([config.seed, 20])
    goods = (len(CATEGORIES), config.items_per_category)
    day = np.arange(config.days)
    first = np.datetime64(config.start, "D")
    spread = np.sort(np.exp(0.35 * rng.standard_normal(goods)), axis=1)
    campaigns = np.arange(config.campaign_every_days, config.days, config.campaign_every_days)
    each = round((1 - config.campaign_control) / (len(ACTIONS) - 1), 9)
    propensity = np.array([config.campaign_control, *([each] * (len(ACTIONS) - 1))])
    return World(
        start_us=to_us(config.start_at),
        days=config.days,
        weekday=(day + (first.astype(np.int64) + 3)) % WEEK,
        season=_season(first + day + config.character.season_shift_days, config.character.season),
        sale=_sales(first + day),
        price_index=np.stack([_price_path(config.days, rng) for _ in CATEGORIES]),
        item_price=np.round(config.character.prices * np.array(CATEGORY_PRICE)[:, None] * spread, 2),
        item_quality=np.clip(4.2 + 0.5 * rng.standard_normal(goods), 2.0, 4.9),
        item_brand=rng.integers(len(BRANDS), size=goods),
        popularity=_popularity(config.days // WEEK + 1, goods, rng),
        strengths=np.array(config.strengths),
        campaign_days=campaigns.astype(np.int64),
        propensity=propensity,
        arms=np.cumsum(propensity),
        campaign_share=config.campaign_share,
        silent_days=config.campaign_silent_days,
        character=config.character,
    )


def _day_of_year(days: NDArray[np.datetime64]) -> NDArray[np.int64]:
    return np.asarray((days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64))


def _season(days: NDArray[np.datetime64], strength: float) -> NDArray[np.float64]:
    """Lively before Christmas, quiet after it and in July."""
    day = _day_of_year(days)
    before_christmas = 0.4 * np.exp(-(((day - 340) / 16.0) ** 2))
    summer = -0.12 * np.exp(-(((day - 205) / 25.0) ** 2))
    return np.asarray(1.0 + strength * (before_christmas + summer - 0.1 * (day < 20)))


def _sales(days: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """One week off at the end of November, two in January."""
    day = _day_of_year(days)
    return np.where((day >= 325) & (day < 333), 0.2, np.where((day >= 4) & (day < 18), 0.15, 0.0))


def _price_path(days: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Steps up of 20 to 40 % at random times, each worn off slowly by competition."""
    log_price, level, due = np.empty(days), 0.0, rng.exponential(1500)
    for day in range(days):
        if day >= due:
            level += np.log(rng.uniform(1.2, 1.4))
            due = day + 90 + rng.exponential(1500)
        level *= 1 - 1 / 400
        log_price[day] = level
    return np.exp(log_price)


def _popularity(weeks: int, goods: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Half of the goods are evergreens, the others rise and fade within months."""
    week = np.arange(weeks)[:, None, None]
    appeal = np.exp(0.7 * rng.standard_normal(goods))
    launch, life = rng.uniform(-30, weeks, goods), rng.uniform(6, 30, goods)
    age = np.maximum(week - launch, 0.0) / life
    fashion = 3.0 * age * np.exp(1 - 2 * age) + 0.05
    return np.where(rng.uniform(size=goods) < 0.5, appeal, appeal * fashion)
