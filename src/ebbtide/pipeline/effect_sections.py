"""The figures of a campaign as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ebbtide.core.language import Text
from ebbtide.core.sections import Section
from ebbtide.explain.rfm import SEGMENTS
from ebbtide.explain.stages import BAND_WORDS, STAGES
from ebbtide.pipeline.effect_figures import GUARDRAILS, OUTCOMES, GroupEffect, Guardrail, Outcome

_SHARES = ("retained", "unsubscribed", "discount_share")
_BY = {
    "band": Text("risk band", "风险等级"),
    "action": Text("action", "动作"),
    "stage": Text("stage", "阶段"),
    "segment": Text("segment", "分群"),
}
_GROUPS: dict[str, dict[str, Text]] = {"band": BAND_WORDS, "stage": STAGES, "segment": SEGMENTS}


def figures_section(outcomes: Sequence[Outcome], adjustment: str) -> Section:
    """Each outcome: means, plain and adjusted difference, and the interval that holds at every look."""
    columns = (
        Text("outcome", "结果"),
        Text("treated", "触达"),
        Text("control", "对照"),
        Text("difference", "差"),
        Text("95 % interval", "95% 区间"),
        Text(f"after {adjustment}", f"{adjustment} 调整后"),
        Text("95 % interval", "95% 区间"),
        Text("narrower by", "收窄"),
        Text("at every look", "每次查看均有效"),
    )
    return Section(Text("Outcomes", "结果"), (), columns, tuple(_outcome_row(o) for o in outcomes))


def guardrails_section(guardrails: Sequence[Guardrail]) -> Section:
    """What must not get worse."""
    columns = (
        Text("guardrail", "护栏指标"),
        Text("difference", "差"),
        Text("95 % interval", "95% 区间"),
        Text("worse", "恶化"),
    )
    rows = tuple(
        (
            GUARDRAILS[g.name][0],
            _number(g.effect.value, g.name),
            _ends(g.effect.low, g.effect.high, g.name),
            Text("yes", "是") if g.harmed else Text("not told", "看不出"),
        )
        for g in guardrails
    )
    return Section(Text("Guardrails", "护栏指标"), (), columns, rows)


def groups_section(groups: Sequence[GroupEffect], *, with_campaign: bool = False) -> Section:
    """For whom: the change in the retained share by group, drawn towards all groups, with the number of looks named."""
    head = (Text("campaign", "活动"),) if with_campaign else ()
    columns = (
        *head,
        Text("by", "按"),
        Text("group", "群体"),
        Text("treated", "触达"),
        Text("control", "对照"),
        Text("points, as measured", "百分点（实测）"),
        Text("points, shrunken", "百分点（收缩后）"),
        Text("95 % interval", "95% 区间"),
        Text("q", "q"),
    )
    rows = tuple(
        (
            *((g.campaign,) if with_campaign else ()),
            _BY[g.by],
            _GROUPS.get(g.by, {}).get(g.group, g.group),
            g.effect.treated,
            g.effect.control,
            _number(g.effect.value, "retained"),
            _number(g.shrunk.value, "retained"),
            _ends(g.shrunk.low, g.shrunk.high, "retained"),
            g.q,
        )
        for g in groups
    )
    return Section(Text("For whom", "对谁有效"), (_LOOKS.format(count=len(groups)),), columns, rows)


def _outcome_row(o: Outcome) -> tuple[Any, ...]:
    plain, adjusted = o.plain, o.adjusted
    narrowed = None if o.narrowed is None else f"{o.narrowed:.0%}"
    return (
        OUTCOMES[o.name],
        _level(plain.treated_mean, o.name),
        _level(plain.control_mean, o.name),
        _number(plain.value, o.name),
        _ends(plain.low, plain.high, o.name),
        _number(adjusted.value, o.name),
        _ends(adjusted.low, adjusted.high, o.name),
        narrowed,
        _ends(o.always.low, o.always.high, o.name),
    )


def _level(value: float | None, name: str) -> str | None:
    if value is None:
        return None
    return f"{value:.1%}" if name in _SHARES else f"{value:,.2f}"


def _number(value: float | None, name: str) -> str | None:
    if value is None:
        return None
    return f"{value * 100:+.1f}" if name in _SHARES else f"{value:+,.2f}"


def _ends(low: float | None, high: float | None, name: str) -> str | None:
    return None if low is None or high is None else f"{_number(low, name)} – {_number(high, name)}"


_LOOKS = Text(
    "{count} groups were looked at: q is adjusted for that, and each effect is drawn towards all of them as far as noise "
    "explains the difference; a group that stands out is a guess to test in the next campaign",
    "共查看 {count} 个群体：q 已据此调整，各效果按噪声程度向整体收缩；突出的群体只是下次活动需检验的猜想",
)
