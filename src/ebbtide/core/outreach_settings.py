"""What customers are shown and told: `[recommend]` of `ebbtide.toml`."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from ebbtide.core.settings import Stage, checked_duration, setting


class RecommendConfig(Stage):
    """`[recommend]`: which items may be shown, and what the order of a list is learnt from."""

    count: int = setting(10, "items on a list", "每份推荐的商品数", ge=1, le=1000)
    window: str = setting(
        "30d", "what is bought within this time counts as wanted", "在此时长内购买的商品视为想要的商品"
    )
    lessons: int = setting(
        3,
        "earlier moments, one window apart, to learn the order from",
        "学习排序所用的历史时点数，相隔一个窗口",
        ge=0,
        le=100,
    )
    bought_before: Literal["auto", "show", "hide"] = setting(
        "auto",
        "items that a customer bought before: show, hide, or auto (shown if customers of this shop buy again)",
        "顾客买过的商品：show（展示）、hide（不展示）或 auto（若本店顾客会复购则展示）",
    )
    rest_days: float = setting(
        0.0, "days after a purchase in which the same item is not shown", "购买后多少天内不再展示同一商品", ge=0
    )
    in_stock: str = setting(
        "",
        "SQL condition over the columns of the items table that holds of what may be shown; empty: everything",
        "对商品表各列的 SQL 条件，满足者才可展示；空：全部",
    )

    @field_validator("window")
    @classmethod
    def _window(cls, value: str) -> str:
        return checked_duration(value)
