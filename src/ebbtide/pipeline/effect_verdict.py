"""The verdict on a campaign in words: did it work, does it pay, did it do harm, and how sure is that."""

from __future__ import annotations

from collections.abc import Sequence

from ebbtide.core.language import Text
from ebbtide.evaluation.effects import Effect
from ebbtide.evaluation.intervals import Estimate
from ebbtide.pipeline.effect_figures import GUARDRAILS, Guardrail, Outcome


def verdict_of(
    outcomes: Sequence[Outcome], guardrails: Sequence[Guardrail], waiting: int, detectable: float | None, currency: str
) -> tuple[Text, ...]:
    """The sentences. While outcomes are `waiting`, only the interval that holds at every look may decide."""
    by_name = {o.name: o for o in outcomes}
    if "retained" not in by_name or by_name["retained"].adjusted.low is None:
        return (_NOTHING_YET.format(waiting=waiting),)
    retained, net = by_name["retained"], by_name.get("net")
    told = [_EARLY.format(waiting=waiting)] if waiting else []
    told.append(_worked(retained, bool(waiting), detectable))
    told += [_paid(net, bool(waiting), currency)] if net and net.adjusted.low is not None else []
    told += [_HARM.format(what=GUARDRAILS[g.name][0], effect=_spread(g.effect, g.name)) for g in guardrails if g.harmed]
    return tuple(told)


def headline_of(outcomes: Sequence[Outcome], waiting: int) -> Text:
    """The verdict in a few words, for a table."""
    retained = next((o for o in outcomes if o.name == "retained"), None)
    if retained is None or retained.adjusted.low is None:
        return Text("too early", "为时过早")
    sign = _sign(_deciding(retained, bool(waiting)))
    return _HEADLINES[sign] + (Text(" so far", "（截至目前）") if waiting else Text("", ""))


def _worked(retained: Outcome, early: bool, detectable: float | None) -> Text:
    shown = _deciding(retained, early)
    numbers = {"value": (shown.value or 0.0) * 100, "low": (shown.low or 0.0) * 100, "high": (shown.high or 0.0) * 100}
    told = _WORKED[_sign(shown)].format(**numbers)
    if _sign(shown) or early or detectable is None:
        return told
    return told + _COULD_FIND.format(detectable=detectable * 100)


def _paid(net: Outcome, early: bool, currency: str) -> Text:
    shown = _deciding(net, early)
    numbers = {"value": shown.value, "low": shown.low, "high": shown.high, "currency": currency}
    return _PAID[_sign(shown)].format(**numbers)


def _deciding(outcome: Outcome, early: bool) -> Estimate:
    adjusted = outcome.adjusted
    return outcome.always if early else Estimate(adjusted.value, adjusted.low, adjusted.high)


def _sign(shown: Estimate) -> int:
    if shown.low is None or shown.high is None:
        return 0
    return 1 if shown.low > 0 else -1 if shown.high < 0 else 0


def _spread(effect: Effect, name: str) -> str:
    value, low, high = (x or 0.0 for x in (effect.value, effect.low, effect.high))
    if name in ("unsubscribed", "discount_share"):
        return f"{value * 100:+.1f} [{low * 100:+.1f}, {high * 100:+.1f}] pp"
    return f"{value:+,.2f} [{low:+,.2f}, {high:+,.2f}]"


_NOTHING_YET = Text(
    "too early: no outcome is complete yet, {waiting:,} customers are still inside their window",
    "为时过早：尚无完整结果，{waiting:,} 位顾客仍在结果窗口内",
)
_EARLY = Text(
    "{waiting:,} customers are still inside their window: until then the intervals that hold at every look decide",
    "{waiting:,} 位顾客仍在结果窗口内：在此之前以每次查看均有效的区间为准",
)
_WORKED = {
    1: Text(
        "it works: {value:+.1f} percentage points [{low:+.1f}, {high:+.1f}] more customers stayed",
        "有效：留存顾客增加 {value:+.1f} 个百分点 [{low:+.1f}, {high:+.1f}]",
    ),
    0: Text(
        "no effect on who stays can be told: {value:+.1f} percentage points [{low:+.1f}, {high:+.1f}]",
        "看不出对留存的效果：{value:+.1f} 个百分点 [{low:+.1f}, {high:+.1f}]",
    ),
    -1: Text(
        "it does harm: {value:+.1f} percentage points [{low:+.1f}, {high:+.1f}], fewer customers stayed",
        "有害：{value:+.1f} 个百分点 [{low:+.1f}, {high:+.1f}]，留存顾客减少",
    ),
}
_COULD_FIND = Text(
    "; an effect of {detectable:.1f} points would have been found four times out of five",
    "；若有 {detectable:.1f} 个百分点的效果，五次中有四次会被检出",
)
_PAID = {
    1: Text(
        "it pays: {value:+,.2f} {currency} [{low:+,.2f}, {high:+,.2f}] per assigned customer after costs",
        "划算：扣除成本后每位分配顾客 {value:+,.2f} {currency} [{low:+,.2f}, {high:+,.2f}]",
    ),
    0: Text(
        "whether it pays cannot be told: {value:+,.2f} {currency} [{low:+,.2f}, {high:+,.2f}] per assigned customer "
        "after costs",
        "看不出是否划算：扣除成本后每位分配顾客 {value:+,.2f} {currency} [{low:+,.2f}, {high:+,.2f}]",
    ),
    -1: Text(
        "it costs more than it brings: {value:+,.2f} {currency} [{low:+,.2f}, {high:+,.2f}] per assigned customer",
        "得不偿失：每位分配顾客 {value:+,.2f} {currency} [{low:+,.2f}, {high:+,.2f}]",
    ),
}
_HARM = Text("guardrail broken: {what} {effect}", "护栏指标恶化：{what} {effect}")
_HEADLINES = {
    1: Text("works", "有效"),
    0: Text("no effect told", "看不出效果"),
    -1: Text("does harm", "有害"),
}
