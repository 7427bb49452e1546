"""The words of feature descriptions that are not event types: columns, keys, windows, quantiles."""

from __future__ import annotations

from dataclasses import dataclass

from ebbtide.core.language import Text


@dataclass(frozen=True)
class ColumnWords:
    """How a column is named; the unit of its numbers ("" for keys), its family and capability."""

    noun: Text
    unit: str
    family: str
    capability: str


COLUMN_WORDS: dict[str, ColumnWords] = {
    "value": ColumnWords(Text("value", "金额"), "money", "value", "money"),
    "quantity": ColumnWords(Text("quantity", "件数"), "count", "value", "quantities"),
    "unit_price": ColumnWords(Text("unit price", "单价"), "money", "price", "prices"),
    "discount": ColumnWords(Text("discount", "折扣额"), "money", "price", "discounts"),
    "rating": ColumnWords(Text("rating", "评分"), "number", "service", "ratings"),
    "days_late": ColumnWords(Text("days of delay", "延迟天数"), "days", "delivery", "delays"),
}
KEY_WORDS: dict[str, ColumnWords] = {
    "order_id": ColumnWords(Text("orders", "订单"), "", "activity", ""),
    "session_id": ColumnWords(Text("sessions", "访问"), "", "browsing", "session_ids"),
    "item_id": ColumnWords(Text("items", "商品"), "", "variety", "items"),
    "category": ColumnWords(Text("categories", "品类"), "", "variety", "categories"),
    "brand": ColumnWords(Text("brands", "品牌"), "", "variety", "brands"),
    "channel": ColumnWords(Text("channels", "渠道"), "", "channels", "channels"),
    "device": ColumnWords(Text("devices", "设备"), "", "channels", "devices"),
    "country": ColumnWords(Text("countries", "国家"), "", "channels", "countries"),
    "campaign_id": ColumnWords(Text("campaigns", "营销活动"), "", "campaigns", "campaigns"),
    "weekday": ColumnWords(Text("weekdays", "星期几"), "", "rhythm", ""),
    "hour": ColumnWords(Text("hours of the day", "时段（小时）"), "", "rhythm", "clock"),
}


def window_slug(days: float | None) -> str:
    """A window in a name: `30d`, `3_5d`, `all`."""
    return "all" if days is None else f"{days:g}d".replace(".", "_")


def window_words(noun: Text, count: Text, days: float | None) -> Text:
    """A noun over a window in words.

    >>> window_words(Text("orders", "订单"), Text("orders", "订单数"), None).en
    'orders so far'
    """
    if days is None:
        return Text(f"{noun.en} so far", f"至今的{count.zh}")
    if days == 1:
        return Text(f"{noun.en} in the last day", f"最近 1 天的{count.zh}")
    return Text(f"{noun.en} in the last {days:g} days", f"最近 {days:g} 天的{count.zh}")


def quantile_words(q: float, noun: Text) -> Text:
    """A quantile of gaps in words."""
    if q == 0.5:
        return Text("usual gap in days between {noun}", "{noun}之间通常的间隔天数").format(noun=noun)
    return Text(
        "gap in days between {noun} that {percent:g} % of gaps stay below", "{percent:g}% 的{noun}间隔不超过的天数"
    ).format(noun=noun, percent=q * 100)
