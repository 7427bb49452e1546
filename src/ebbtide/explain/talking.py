"""Talking points: what whoever has the customer on the line should know first, in sentences, the most pressing first."""

from __future__ import annotations

from ebbtide.core.language import Text
from ebbtide.explain.profile import Profile

_UNSOLVED = Text(
    "a question of theirs is still unsolved: settle it first ({count} in all)",
    "仍有问题未解决：请先处理（共 {count} 次）",
)
_LATE = Text("their deliveries came late {count} times: say sorry for that", "配送曾迟到 {count} 次：请为此致歉")
_RATED = Text("their latest rating was {rating:g} of 5: ask what went wrong", "最近一次评分为 {rating:g}/5：请询问原因")
_REFUNDS = Text("they sent things back {count} times: ask what did not fit", "曾退货 {count} 次：请询问不合适之处")
_RISK = Text("risk of leaving {p:.0%} ({band})", "流失风险 {p:.0%}（{band}）")
_WORTH = Text("about {value:,.0f} {currency} of orders are at stake", "约 {value:,.0f} {currency} 的订单面临流失")
_LAPSED = Text(
    "gone for {days:.0f} days; probability of coming back {p:.0%}", "已 {days:.0f} 天未下单；回归概率 {p:.0%}"
)
_LIKES = Text("buys mostly {category}", "多购买 {category}")
_COUPONS = Text("uses a coupon in {share:.0%} of orders", "{share:.0%} 的订单使用优惠券")
_BANDS = {"high": Text("high", "高"), "medium": Text("medium", "中"), "low": Text("low", "低")}
_OFTEN, _MANY_COUPONS, _LOW = 2, 0.3, 2


def talking_points(profile: Profile, currency: str) -> tuple[Text, ...]:
    """Service first, then risk and what is at stake, then the reasons for it, then tastes; at most ten."""
    r = profile.row
    points: list[Text] = []
    if r["unsolved_contacts"]:
        points.append(_UNSOLVED.format(count=r["unsolved_contacts"]))
    if r["last_rating"] is not None and r["last_rating"] <= _LOW:
        points.append(_RATED.format(rating=r["last_rating"]))
    if (r["late_deliveries"] or 0) >= _OFTEN:
        points.append(_LATE.format(count=r["late_deliveries"]))
    if (r["refunds"] or 0) >= _OFTEN:
        points.append(_REFUNDS.format(count=r["refunds"]))
    if r["churn_probability"] is not None:
        points.append(_RISK.format(p=r["churn_probability"], band=_BANDS[r["band"]]))
    if r["comeback_probability"] is not None and r["days_since_outcome"] is not None:
        points.append(_LAPSED.format(days=r["days_since_outcome"], p=r["comeback_probability"]))
    if r["value_at_risk"]:
        points.append(_WORTH.format(value=r["value_at_risk"], currency=currency))
    points += [Text(s["text"], s["text"]) for s in profile.reasons if s["direction"] == "raises"][:3]
    if r["favourite_category"]:
        points.append(_LIKES.format(category=r["favourite_category"]))
    if (r["coupon_share"] or 0) >= _MANY_COUPONS:
        points.append(_COUPONS.format(share=r["coupon_share"]))
    return tuple(points[:10])
