"""From columns of numbers to the canonical tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.windows import to_us
from ebbtide.events.schema import (
    CONSENT_COLUMNS,
    EVENT_COLUMNS,
    EVENT_TYPES,
    EXPOSURE_COLUMNS,
    ITEM_COLUMNS,
    TIME,
    USER_COLUMNS,
)
from ebbtide.events.simulator.chance import Purpose, uniform
from ebbtide.events.simulator.crowd import NEWSLETTER_EVERY_DAYS
from ebbtide.events.simulator.life import Story
from ebbtide.events.simulator.rows import COLUMNS, DAY_SECONDS, NEWSLETTER, SECOND_US, Columns
from ebbtide.events.simulator.settings import (
    ACTIONS,
    BRANDS,
    CATEGORIES,
    CHANNELS,
    COUNTRIES,
    DEVICES,
    NOTES,
    QUERIES,
    TEXTS,
    SimulationConfig,
)  # fmt: skip
from ebbtide.events.simulator.world import World


def user_names(buyers: NDArray[np.void]) -> pl.Series:
    """`u` and nine digits, so that names sort like numbers."""
    return pl.Series("user", buyers["user"]).cast(pl.String).str.zfill(9).str.pad_start(10, "u")


def event_frame(
    parts: Sequence[Columns], buyers: NDArray[np.void], config: SimulationConfig, world: World
) -> pl.DataFrame:
    """The canonical events of a chunk, sorted by (user_id, occurred_at, event_id), without what came after the end."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
    end = to_us(config.end)
    kept = (columns["us"] < end) & (columns["us"] + columns["lag_us"] < end)
    order = np.flatnonzero(kept)
    keys = (columns["goods"], columns["order"], columns["kind"], columns["us"], columns["who"])
    order = order[np.lexsort([key[order] for key in keys])]
    columns = {name: values[order] for name, values in columns.items()}
    return _canonical(columns, buyers, config, world)


def _canonical(columns: Columns, buyers: NDArray[np.void], config: SimulationConfig, world: World) -> pl.DataFrame:
    who = columns["who"]
    number = np.arange(len(who)) - np.searchsorted(who, who)
    user = user_names(buyers).gather(who)
    frame = pl.DataFrame(
        {
            "user_id": user,
            "number": number,
            "occurred_at": pl.Series(columns["us"]).cast(TIME),
            "ingested_at": pl.Series(columns["us"] + columns["lag_us"]).cast(TIME),
            "type": _texts(EVENT_TYPES, columns["kind"]),
            "session_id": columns["visit"],
            "order_id": columns["order"],
            "item_id": _texts(item_names(world), columns["goods"]),
            "category": _texts(CATEGORIES, columns["category"]),
            "brand": _texts(BRANDS, _brand(world, columns["goods"])),
            **{name: columns[name] for name in ("quantity", "unit_price", "value", "discount")},
            "currency": pl.Series([config.currency]).gather(np.zeros(len(who), np.int64)),
            "coupon": _texts(coupon_names(world), columns["coupon"]),
            "campaign_id": _texts(*_campaigns(world, columns["campaign"])),
            "channel": _texts(CHANNELS, columns["channel"]),
            "device": _texts(DEVICES, columns["device"]),
            "country": _texts(COUNTRIES, buyers["country"][who]),
            "query": _texts(QUERIES, columns["query"]),
            "text": _texts(TEXTS, columns["text"]),
            "rating": columns["rating"],
            "properties": _texts(NOTES, columns["note"]),
        }
    )
    money = pl.any_horizontal(pl.col("unit_price", "value").is_not_nan())
    return frame.with_columns(
        pl.format("{}-{}", "user_id", pl.col("number").cast(pl.String).str.zfill(5)).alias("event_id"),
        _numbered("session_id", "s"),
        _numbered("order_id", "o"),
        pl.when(money).then(pl.col("currency")).alias("currency"),
        pl.col(pl.Float64).fill_nan(None),
    ).select(pl.col(name).cast(kind) for name, kind in EVENT_COLUMNS.items())


def _numbered(column: str, letter: str) -> pl.Expr:
    number = pl.when(pl.col(column) >= 0).then(pl.col(column))
    return pl.format("{}-{}{}", "user_id", pl.lit(letter), number).alias(column)


def _texts(names: Sequence[str], codes: NDArray[Any]) -> pl.Series:
    """The names at the codes; null for a negative code."""
    return pl.Series(list(names), dtype=pl.String).gather(
        pl.Series(np.where(codes < 0, len(names), codes)).replace(len(names), None)
    )


def _brand(world: World, goods: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.where(goods < 0, -1, world.item_brand.ravel()[np.maximum(goods, 0)])


def _campaigns(world: World, codes: NDArray[np.int16]) -> tuple[list[str], NDArray[np.int64]]:
    randomised = campaign_names(world)
    letters = [f"news-{n:03d}" for n in range(world.days // NEWSLETTER_EVERY_DAYS + 1)]
    moved = np.where(codes >= NEWSLETTER, codes.astype(np.int64) - NEWSLETTER + len(randomised), codes)
    return randomised + letters, moved


def item_names(world: World) -> list[str]:
    """One name a product, in the order of its code."""
    prefix = world.character.prefix
    return [f"{prefix}{category}-{n:04d}" for category in CATEGORIES for n in range(world.goods_per_category)]


def campaign_names(world: World) -> list[str]:
    """The randomised campaigns."""
    return [f"campaign-{n:02d}" for n in range(len(world.campaign_days))]


def coupon_names(world: World) -> list[str]:
    """The coupon of each campaign, and the code under which members order."""
    return [*(f"BACK{n:02d}" for n in range(len(world.campaign_days))), "MEMBER"]


def exposure_frame(story: Story, buyers: NDArray[np.void], world: World) -> pl.DataFrame:
    """Who was assigned which arm of a randomised campaign, control included, at 06:00 of its day."""
    rows = story.contacts[story.contacts["campaign"] >= 0]
    rows = rows[np.lexsort((rows["day"], rows["who"]))]
    moment = world.start_us + (rows["day"].astype(np.int64) * DAY_SECONDS + 6 * 3600) * SECOND_US
    return pl.DataFrame(
        {
            "user_id": user_names(buyers).gather(rows["who"]),
            "occurred_at": moment,
            "ingested_at": moment,
            "campaign_id": _texts(campaign_names(world), rows["campaign"]),
            "action": _texts(ACTIONS, rows["action"]),
            "propensity": world.propensity[rows["action"]],
        }
    ).cast(EXPOSURE_COLUMNS)  # type: ignore[arg-type]


def user_frame(buyers: NDArray[np.void], config: SimulationConfig) -> pl.DataFrame:
    """The users table: sign-up a few hours before the first possible order; null for customers from before the log."""
    hours = 6 * uniform(np.ascontiguousarray(buyers["key"]), Purpose.CONSENT_TIME)
    start = to_us(config.start_at)
    signed = start + (buyers["join_day"].astype(np.int64) * DAY_SECONDS + (hours * 3600).astype(np.int64)) * SECOND_US
    known = pl.Series(buyers["old"])
    frame = pl.DataFrame(
        {
            "user_id": user_names(buyers),
            "valid_from": np.where(buyers["old"], start, signed),
            "signed_up_at": signed,
            "country": _texts(COUNTRIES, buyers["country"]),
            "channel": _texts(CHANNELS, np.where(buyers["app"] > 0.5, 1, 0)),
            "properties": pl.repeat(None, len(buyers), dtype=pl.String, eager=True),
        }
    )
    signed_up = pl.when(~known).then(pl.col("signed_up_at"))
    return frame.with_columns(signed_up.alias("signed_up_at")).cast(USER_COLUMNS)  # type: ignore[arg-type]


def consent_frame(buyers: NDArray[np.void], config: SimulationConfig) -> pl.DataFrame:
    """Consent to marketing, given or refused at sign-up."""
    users = user_frame(buyers, config)
    return users.select(
        "user_id", "valid_from", pl.lit("marketing").alias("purpose"), pl.Series("granted", buyers["consent"])
    ).cast(CONSENT_COLUMNS)  # type: ignore[arg-type]


def item_frame(config: SimulationConfig, world: World) -> pl.DataFrame:
    """The items table: one row a product at the start, one more whenever its price has moved by 5 %."""
    frames = []
    for code, category in enumerate(CATEGORIES):
        index = world.price_index[code]
        days, last = [0], index[0]
        for day in range(1, world.days):
            if abs(index[day] / last - 1) >= 0.05:
                days.append(day)
                last = index[day]
        goods = np.arange(world.goods_per_category)
        for day in days:
            frames.append(
                pl.DataFrame(
                    {
                        "item_id": [f"{world.character.prefix}{category}-{n:04d}" for n in goods],
                        "valid_from": world.start_us + day * DAY_SECONDS * SECOND_US,
                        "category": category,
                        "brand": [BRANDS[b] for b in world.item_brand[code]],
                        "unit_price": np.round(world.item_price[code] * index[day], 2),
                        "text": [f"{BRANDS[b]} {category} no. {n}" for n, b in enumerate(world.item_brand[code])],
                        "picture": None,
                        "vector": None,
                        "properties": None,
                    }
                ).cast(ITEM_COLUMNS)  # type: ignore[arg-type]
            )
    return pl.concat(frames).sort("item_id", "valid_from")
