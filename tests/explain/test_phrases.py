"""Phrases: every kind of feature can be said, known or not, in both languages, without a technical name."""

from __future__ import annotations

import math
import re

import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.language import LANGUAGES, Text
from ebbtide.explain.acts import single
from ebbtide.explain.phrases import Column, phrase_of
from ebbtide.explain.sentences import sentence
from ebbtide.features.catalogue import default_catalogue
from ebbtide.features.declarations import (
    KINDS,
    ActiveBlocks,
    ActiveDays,
    Calendar,
    Count,
    Decayed,
    DiscountShare,
    Distinct,
    Entropy,
    FavouriteShare,
    Feature,
    Followed,
    Gap,
    GapQuantile,
    LagBlock,
    LastTone,
    LastValue,
    Lifetime,
    Mean,
    Novelty,
    OrderTrait,
    PerOrder,
    Rate,
    Ratio,
    Recency,
    RefundShare,
    Share,
    Shift,
    Sum,
    Tenure,
    Tone,
    Trend,
    VisitTrait,
)
from ebbtide.features.selectors import TYPE_WORDS, parse_selector
from ebbtide.models.columns import ModelColumn

NAN = math.nan

# feature, value, English, Chinese
WORDED: list[tuple[Feature, float, str, str]] = [
    (Recency("order"), 47, "47 days since the last order", "距上次下单已 47 天"),
    (Recency("support"), NAN, "no support contact on record", "没有客服联系记录"),
    (Recency("delivery.late"), 3, "3 days since the last late delivery", "距上次迟到的配送已 3 天"),
    (Tenure("order"), 100, "100 days since the first order", "距首次下单已 100 天"),
    (Count("order", days=30), 2, "2 orders in the last 30 days", "最近 30 天的订单数为 2"),
    (Count("order", days=30), 1, "1 order in the last 30 days", "最近 30 天的订单数为 1"),
    (Count("order", days=30), 0, "no orders in the last 30 days", "最近 30 天的订单数为 0"),
    (LagBlock("search", 1, 7), 0, "no searches between 14 and 7 days ago", "14 天前至 7 天前的搜索次数为 0"),
    (ActiveDays("order", days=90), 1, "1 day with orders in the last 90 days", "最近 90 天的有订单的天数为 1 天"),
    (ActiveBlocks("order", days=30), 0.5, "50% of past 30-day periods with orders", "以往每 30 天为一段、有订单的时段占比为 50%"),
    (Rate("order"), 2.5, "2.5 orders a month since the first order", "自首次以来平均每月的订单数为 2.5"),
    (Sum("value", "order", 90), 120, "total value of orders in the last 90 days: £120", "最近 90 天的订单的金额总和：£120"),
    (LastValue("rating", "support"), NAN, "no known rating of support contacts", "没有客服联系的评分记录"),
    (Mean("rating", "review"), NAN, "no known rating of reviews so far", "迄今没有评价的评分记录"),
    (Mean("price_level", "order", 30), 0.0953, "prices paid against the items' usual prices in the last 30 days: 10% higher", "最近 30 天的成交价与商品平常价格相比：高 10%"),
    (Share("order.coupon", "order"), 0.4, "share of orders with a coupon among orders so far: 40%", "迄今的用券的订单在订单中的占比：40%"),
    (Share("order", "product_view", 30), 0.02, "2 orders for every 100 product views in the last 30 days", "最近 30 天每 100 次商品浏览有 2 次订单"),
    (Share("order", "product_view", 30), NAN, "no product views in the last 30 days", "最近 30 天没有商品浏览"),
    (Trend(Count("order"), 30), -0.5, "orders: down 67% (last 30 days against the 30 before)", "订单数下降 67%（最近 30 天与此前 30 天相比）"),
    (Trend(Count("order"), 30), NAN, "orders: none for 60 days", "60 天内订单数为零"),
    (Gap("order", "silence_over_median"), 2.3, "silent for 2.3 times the usual gap between orders", "沉默时长是平时订单间隔的 2.3 倍"),
    (Gap("order", "silence_over_median"), 1.03, "silent for about the usual gap between orders", "沉默时长是平时订单间隔的 1 倍"),
    (Lifetime("repeat_days"), 3, "outcome events on 3 more days after the first", "首日之后另有 3 天有目标行为"),
    (ModelColumn("expected", Text("orders to expect (BG/NBD)", "预期订单（BG/NBD）")), 0.4, "orders to expect: 0.4", "预期订单：0.4"),
    (GapQuantile("order", 0.5), 21, "usual gap between orders: 21 days", "订单之间通常的间隔天数：21 天"),
    (GapQuantile("order", 0.5), NAN, "too few orders to know this customer's rhythm", "订单太少，看不出该顾客的节奏"),
    (Shift(Share("order.coupon", "order"), 30), -0.12, "share of orders with a coupon among orders in the last 30 days: 12 percentage points lower than is usual for this customer", "最近 30 天的用券的订单在订单中的占比：比该顾客平时低 12 个百分点"),
    (Shift(PerOrder("value", "order"), 30), 0.5, "value for each of the orders in the last 30 days: 0.5 times this customer's usual", "最近 30 天的平均每次订单的金额：该顾客平时的 0.5 倍"),
    (OrderTrait("last_over_mean"), 1.6, "latest order: 1.6 times the average order value", "最近一单金额是平均单额的 1.6 倍"),
    (OrderTrait("first_coupon"), 1, "first order with a coupon", "首单用了券"),
    (OrderTrait("second_after_days"), NAN, "no second order so far", "迄今没有第二单"),
    (LastTone(), -0.67, "tone of the latest review or message: clearly negative (-0.7)", "最近一条评价或留言的语气：明显负面（-0.7）"),
    (LastTone("lowest", 3), -0.2, "lowest tone of the last 3 reviews and messages: rather negative (-0.2)", "最近 3 条评价与留言中最差的语气：偏负面（-0.2）"),
    (Tone(90), 0.05, "average tone of reviews and messages in the last 90 days: neutral (+0.1)", "最近 90 天的评价与留言的平均语气：中性（+0.1）"),
    (Tone(90), NAN, "no review or message with a text in the last 90 days", "最近 90 天没有带文字的评价或留言"),
    (LastTone(), NAN, "no review or message with a text", "没有带文字的评价或留言"),
    (Shift(Tone(), 90), -0.4, "average tone of reviews and messages in the last 90 days: 0.4 lower than is usual for this customer", "最近 90 天的评价与留言的平均语气：比该顾客平时低 0.4"),
    (Calendar("month_sin"), 0.3, "the time of the year", "一年中的时节"),
]  # fmt: skip


@pytest.mark.parametrize(("feature", "value", "en", "zh"), WORDED)
def test_worded(feature: Feature, value: float, en: str, zh: str) -> None:
    phrase = phrase_of(feature)
    english = sentence(phrase, value, NAN, is_own=False, raises=True, language="en", currency="GBP")
    chinese = sentence(phrase, value, NAN, is_own=False, raises=False, language="zh", currency="GBP")
    assert (english, chinese) == (f"raises: {en}", f"降低风险：{zh}")


ONE_OF_EACH: list[Feature] = [
    ActiveBlocks("order", 30), ActiveDays("any", 7), Calendar("weekday"), Count("any.night"), Decayed("order", 30.0),
    DiscountShare("order"), Distinct("order", "item_id"), Entropy("order", "category"), FavouriteShare("order", "brand"),
    Followed("cart_add", "order", 0.5), Gap("order", "silence_rank"), GapQuantile("any", 0.9), LagBlock("order", 2, 30), LastTone("mean", 3), Tone(30),
    LastValue("rating", "review"), Lifetime("repeat_days"), Mean("popularity_change", "order"), Novelty("order", "item_id"),
    OrderTrait("last_over_mean"), PerOrder("quantity", "order"), Rate("session_start"), Ratio(Count("refund"), Count("order")),
    Recency("any"), RefundShare(30), Share("search", "session_start"), Shift(Mean("rating", "review"), 30),
    Sum("discount", "order"), Tenure("any"), Trend(Sum("value", "order"), 30), VisitTrait("minutes", 30),
]  # fmt: skip


def test_every_kind_of_feature_stands_in_this_exam() -> None:
    assert {type(f).__name__ for f in ONE_OF_EACH} == set(KINDS)


def everything() -> list[Feature]:
    shipped = default_catalogue(ChurnDefinition(), history_days=800).features
    assert len(shipped) > 150
    return [*ONE_OF_EACH, *shipped]


def test_every_feature_can_be_said_in_words() -> None:
    """Nothing is left to fill in, the two languages are not mixed, and no column name or NaN shows."""
    for feature in everything():
        phrase = phrase_of(feature)
        for value in (NAN, 0.0, 1.0, 0.37, 12.0, -0.2):
            for usual in (NAN, 4.0):
                en, zh = (
                    sentence(phrase, value, usual, is_own=False, raises=True, language=language)
                    for language in LANGUAGES
                )
                for text in (en, zh):
                    assert not re.search(r"[{}_]|nan|None|  ", text), text
                assert not re.search(r"[一-鿿]", en), en
                assert re.search(r"[一-鿿]{2}", zh), zh
                assert len(en) < 190, en


def test_a_column_of_unknown_kind_is_said_by_its_description() -> None:
    class Odd:
        name, unit, family, description = "x", "share", "mine", Text("luck {so}", "运气 {so}")

    odd: Column = Odd()
    phrase = phrase_of(odd)
    assert (
        sentence(phrase, 0.5, 0.1, is_own=False, raises=True, language="en")
        == "raises: luck {so}: 50% (typical customer: 10%)"
    )
    assert sentence(phrase, NAN, 0.1, is_own=False, raises=True, language="zh") == "推高风险：没有“运气 {so}”的记录"


def test_chinese_is_spaced_before_figures_only() -> None:
    trend = phrase_of(Mean("price_change", "order"))
    said = [sentence(trend, 0.1, usual, is_own=False, raises=True, language="zh") for usual in (0.0, 0.2)]
    assert said[0].endswith("（一般顾客不变）")
    days = sentence(phrase_of(Recency("order")), 3, 21, is_own=True, raises=True, language="zh")
    assert days == "推高风险：距上次下单已 3 天（该顾客通常 21 天）"


def test_every_event_type_has_a_singular() -> None:
    for kind in TYPE_WORDS:
        one = single(parse_selector(kind), ())
        assert one.en
        assert one.zh
    several = single(parse_selector("outcome"), ("order", "search"))
    assert several.en == "order or search"


def test_the_own_usual_gap_is_a_real_column() -> None:
    """Recency of what has a rhythm finds its companion in the shipped catalogue."""
    columns = default_catalogue(ChurnDefinition(), history_days=800).features
    recency = next(f for f in columns if f.name == "outcome_recency_days")
    assert phrase_of(recency).own_usual in {f.name for f in columns}
