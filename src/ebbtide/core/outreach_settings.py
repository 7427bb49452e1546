"""What customers are shown and told: `[recommend]`, `[[message]]` and `[llm]` of `ebbtide.toml`."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from ebbtide.core.language import Language
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


class MessageConfig(Stage):
    """`[[message]]`: a template of the shop's own, which stands in for the shipped one of its kind and language."""

    kind: str = setting(
        ...,
        "what it is for: win_back, coupon, recommendation, apology, replenishment, or a name of your own",
        "用途：win_back、coupon、recommendation、apology、replenishment，或自定名称",
        pattern=r"^[a-z][a-z0-9_]*$",
    )
    language: Language = setting("en", "language of the text: en or zh", "文本语言：en 或 zh")
    subject: str = setting("", "subject, with {fields}; empty: none", "主题，可含 {字段}；空：无")
    body: str = setting(
        ...,
        "text, with {fields}, or {field|what stands there if it is unknown}",
        "正文，可含 {字段} 或 {字段|未知时的替代文字}",
    )


class LlmConfig(Stage):
    """`[llm]`: an endpoint that drafts messages; by default none, and templates are used."""

    base_url: str = setting(
        "",
        "OpenAI-compatible address, for example http://127.0.0.1:8000/v1; empty: no drafting",
        "OpenAI 兼容地址，例如 http://127.0.0.1:8000/v1；空：不起草",
    )
    model: str = setting("", "name of the model there", "该端点上的模型名称")
    key_env: str = setting(
        "",
        "NAME of the environment variable that holds the key; empty: no key",
        "保存密钥的环境变量名称；空：无密钥",
        pattern=r"^(?:[A-Za-z_][A-Za-z0-9_]*)?$",
    )
    timeout_seconds: float = setting(20.0, "longest wait for one answer", "等待一次回答的最长秒数", gt=0, le=600)
    retries: int = setting(
        1, "further tries after a time-out or a busy server", "超时或服务器繁忙后的重试次数", ge=0, le=100
    )
