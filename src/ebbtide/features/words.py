"""The words of feature descriptions that are not event types: columns, keys, windows."""

from __future__ import annotations

from dataclasses import dataclass

from ebbtide.core.language import Text


@dataclass(frozen=True)
class ColumnWords:
    """How a column is named; the unit of its numbers ("" for keys), its family and the capabilities it needs."""

    noun: Text
    unit: str
    family: str
    requires: frozenset[str]


def _words(en: str, zh: str, unit: str, family: str, *requires: str) -> ColumnWords:
    return ColumnWords(Text(en, zh), unit, family, frozenset(requires))


COLUMN_WORDS: dict[str, ColumnWords] = {
    "value": _words("value", "金额", "money", "value", "money"),
    "quantity": _words("quantity", "件数", "count", "value", "quantities"),
    "unit_price": _words("unit price", "单价", "money", "price", "prices"),
    "discount": _words("discount", "折扣额", "money", "price", "discounts"),
    "rating": _words("rating", "评分", "number", "service", "ratings"),
    "days_late": _words("days of delay", "延迟天数", "days", "delivery", "delays"),
    "sentiment": _words(
        "tone of the text (-1 blame to 1 praise)", "文字语气（-1 差评至 1 好评）", "number", "sentiment", "feedback"
    ),
    "price_change": _words(
        "price change since the previous purchase of the same item (log)",
        "与上次购买同一商品相比的价格变化（对数）",
        "number",
        "price",
        "items",
        "prices",
    ),
    "price_level": _words(
        "price against the item's usual price (log)", "相对该商品平常价格的高低（对数）", "number", "price", "items", "prices"
    ),
    "popularity": _words(
        "popularity of the items (log of their events in four weeks)",
        "商品热度（四周内事件数的对数）",
        "number",
        "variety",
        "items",
    ),
    "popularity_change": _words(
        "change in popularity of the items (log, four weeks against the four before)",
        "商品热度变化（最近四周比此前四周，对数）",
        "number",
        "variety",
        "items",
    ),
}  # fmt: skip
KEY_WORDS: dict[str, ColumnWords] = {
    "order_id": _words("orders", "订单", "", "activity"),
    "session_id": _words("sessions", "访问", "", "browsing", "session_ids"),
    "item_id": _words("items", "商品", "", "variety", "items"),
    "category": _words("categories", "品类", "", "variety", "categories"),
    "brand": _words("brands", "品牌", "", "variety", "brands"),
    "channel": _words("channels", "渠道", "", "channels", "channels"),
    "device": _words("devices", "设备", "", "channels", "devices"),
    "country": _words("countries", "国家", "", "channels", "countries"),
    "campaign_id": _words("campaigns", "营销活动", "", "campaigns", "campaigns"),
    "weekday": _words("weekdays", "星期", "", "rhythm"),
    "hour": _words("hours of the day", "小时时段", "", "rhythm", "clock"),
}


def window_slug(days: float | None) -> str:
    """A window in a name.

    >>> window_slug(30), window_slug(3.5), window_slug(None)
    ('30d', '3_5d', 'all')
    """
    return "all" if days is None else f"{days:g}d".replace(".", "_")


def window_words(what: Text, days: float | None) -> Text:
    """A thing over a window in words.

    >>> window_words(Text("orders", "订单数"), 30).en, window_words(Text("orders", "订单数"), None).zh
    ('orders in the last 30 days', '迄今的订单数')
    """
    if days is None:
        return Text(f"{what.en} so far", f"迄今的{what.zh}")
    span = "day" if days == 1 else f"{days:g} days"
    return Text(f"{what.en} in the last {span}", f"最近 {days:g} 天的{what.zh}")
