"""The columns of the profile frame: what each means, its unit, and what a log must tell for it to be filled.

One row is one user known at as_of, the lapsed among them. A column is null throughout where the log lacks what it
needs, and null for a user of whom it says nothing (shares without an order, a favourite without a use).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ebbtide.core.language import Text
from ebbtide.events.schema import TIME


@dataclass(frozen=True)
class ProfileColumn:
    """`unit` in plain English: count, share (0-1), days, money, time, text, ...; `needs` a capability, "" for none."""

    text: Text
    unit: str
    dtype: pl.DataType
    needs: str = ""


_INT, _FLOAT, _STRING = pl.Int64(), pl.Float64(), pl.String()


def _column(unit: str, dtype: pl.DataType, en: str, zh: str, needs: str = "") -> ProfileColumn:
    return ProfileColumn(Text(en, zh), unit, dtype, needs)


PROFILE_COLUMNS: dict[str, ProfileColumn] = {
    "user_id": _column("text", _STRING, "the customer", "顾客"),
    "stage": _column("code", _STRING, "lifecycle stage", "生命周期阶段"),
    "segment": _column("code", _STRING, "RFM segment; null without an order", "RFM 分群；无订单时为空", "orders"),
    "recency_score": _column("1-5", _INT, "RFM score of recency, 5 the latest fifth", "RFM 近度得分，5 为最近", "orders"),
    "frequency_score": _column("1-5", _INT, "RFM score of the number of orders", "RFM 频度得分", "orders"),
    "money_score": _column("1-5", _INT, "RFM score of money spent", "RFM 金额得分", "money"),
    "cluster": _column("number", _INT, "group of alike behaviour (K-means), from 1", "行为相似的群（K 均值），从 1 起"),
    "first_seen_at": _column("time", TIME, "first event", "首个事件"),
    "last_seen_at": _column("time", TIME, "latest event", "最近事件"),
    "first_order_at": _column("time", TIME, "first order", "首单时间", "orders"),
    "last_order_at": _column("time", TIME, "latest order", "最近一单时间", "orders"),
    "days_since_order": _column("days", _FLOAT, "days since the latest order", "距最近一单的天数", "orders"),
    "first_outcome_at": _column("time", TIME, "first event of the churn outcome", "首个流失结果类事件"),
    "last_outcome_at": _column("time", TIME, "latest event of the churn outcome", "最近的流失结果类事件"),
    "days_since_outcome": _column("days", _FLOAT, "days since the latest outcome event", "距最近结果事件的天数"),
    "days_since_first": _column("days", _FLOAT, "days since the first outcome event", "距首个结果事件的天数"),
    "outcome_days": _column("count", _INT, "distinct UTC days with an outcome event", "有结果事件的天数（UTC）"),
    "usual_gap_days": _column("days", _FLOAT, "median gap between outcome days, from two gaps on", "结果日间隔中位数"),
    "returned_at": _column("time", TIME, "latest return after having lapsed", "最近一次流失后回归"),
    "orders": _column("count", _INT, "orders in all", "订单总数", "orders"),
    "spent": _column("money", _FLOAT, "value of all orders, refunds not taken off", "全部订单金额，未扣退款", "money"),
    "average_order_value": _column("money", _FLOAT, "mean value of an order", "平均每单金额", "money"),
    "eligible": _column("yes/no", pl.Boolean(), "whether churn is asked about", "是否在流失考察范围内"),
    "churn_probability": _column("probability", _FLOAT, "calibrated; null unless eligible", "校准概率；不在考察范围时为空"),
    "percentile": _column("0-100", _FLOAT, "place among the eligible, 100 most at risk", "在考察人群中的百分位，100 风险最高"),
    "band": _column("code", _STRING, "low, medium or high risk", "低、中、高风险"),
    "expected_orders": _column("count", _FLOAT, "order days expected in the horizon", "预测期内预计下单天数"),
    "expected_orders_year": _column("count", _FLOAT, "order days expected in 365 days", "365 天内预计下单天数"),
    "expected_value_year": _column("money", _FLOAT, "value expected in 365 days", "365 天内预计金额", "money"),
    "value_at_risk": _column("money", _FLOAT, "value lost in the horizon if the customer leaves, times the probability", "预测期内因流失可能损失的金额", "money"),
    "comeback_probability": _column("probability", _FLOAT, "of an outcome event within the horizon; the lapsed only", "预测期内回归的概率；仅限已流失顾客"),
    "next_order_expected_at": _column("time", TIME, "middle of the time in which the next order comes, if one comes within a year; null for the lapsed", "若一年内有下一单，其时间的中位数；已流失顾客为空"),
    "next_order_from": _column("time", TIME, "begin of the 80 % interval of that", "上述时间 80% 区间的起点"),
    "next_order_until": _column("time", TIME, "end of the 80 % interval of that", "上述时间 80% 区间的终点"),
    "favourite_category": _column("text", _STRING, "category of most orders, else of most events", "下单最多的类目", "categories"),
    "mean_price": _column("money", _FLOAT, "mean unit price of what was ordered", "所购商品平均单价", "orders"),
    "price_level": _column("0-100", _FLOAT, "percentile of the mean price among all buyers", "平均单价在全部买家中的百分位", "orders"),
    "channel": _column("text", _STRING, "channel of most orders, else of most events", "最常用渠道", "channels"),
    "device": _column("text", _STRING, "device of most orders, else of most events", "最常用设备", "devices"),
    "country": _column("text", _STRING, "latest known country", "最近已知国家", "countries"),
    "favourite_hour": _column("hour 0-23", _INT, "hour of most orders, shop time", "最常下单的小时（店铺时区）", "clock"),
    "favourite_weekday": _column("1-7", _INT, "weekday of most orders, 1 Monday, shop time", "最常下单的星期，1 为星期一"),
    "coupon_share": _column("share", _FLOAT, "orders with a coupon", "用券订单占比", "coupon_codes"),
    "refunds": _column("count", _INT, "refunds in all", "退款次数", "refunds"),
    "refund_share": _column("per order", _FLOAT, "refunds per order", "每单退款次数", "refunds"),
    "cancelled_orders": _column("count", _INT, "cancellations in all", "取消次数", "cancellations"),
    "late_deliveries": _column("count", _INT, "deliveries after their promise", "迟到配送次数", "delays"),
    "support_contacts": _column("count", _INT, "support contacts in all", "客服联系次数", "support"),
    "unsolved_contacts": _column("count", _INT, "support contacts marked as not resolved", "标记为未解决的客服联系次数", "resolutions"),
    "low_ratings": _column("count", _INT, "ratings of 1 or 2", "1 或 2 分的评价次数", "ratings"),
    "last_rating": _column("1-5", _FLOAT, "latest rating in a review or a support contact", "最近一次评分", "ratings"),
}  # fmt: skip
"""In the order of the frame."""


def in_order(frame: pl.DataFrame, abilities: frozenset[str]) -> pl.DataFrame:
    """The declared columns, in order and with their types; null where the log lacks what a column needs, and where the
    frame has no such column (the percentile takes everybody)."""
    there = {column.name: column for column in frame.iter_columns()}
    ordered = []
    for name, declared in PROFILE_COLUMNS.items():
        if name in there and (not declared.needs or declared.needs in abilities):
            found = there[name]
            ordered.append(found if found.dtype == declared.dtype else found.cast(declared.dtype))
        else:
            ordered.append(pl.Series(name, [None], declared.dtype).new_from_index(0, len(frame)))
    return pl.DataFrame(ordered)
