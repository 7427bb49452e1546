"""`effect`: what a campaign changed, by intention to treat; and which of many campaigns moved anything, for whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ebbtide.actions.campaign import Campaigns
from ebbtide.actions.experiment import BUCKETS, buckets_of_share
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.evaluation.assignment import srm_p_value
from ebbtide.evaluation.effects import Effect
from ebbtide.evaluation.false_discovery import benjamini_hochberg
from ebbtide.evaluation.power import minimum_detectable_effect
from ebbtide.pipeline.effect_figures import (
    GroupEffect,
    Guardrail,
    Outcome,
    groups_told,
    guardrails_told,
    outcomes_told,
    told_together,
)
from ebbtide.pipeline.effect_sections import figures_section, groups_section, guardrails_section
from ebbtide.pipeline.effect_users import Measured, measured_users
from ebbtide.pipeline.effect_verdict import headline_of, verdict_of
from ebbtide.pipeline.places import Places


@dataclass(frozen=True)
class CampaignEffect(Readable):
    """The read-out of one campaign. `assigned`: treated and control users drawn; `measured`: those whose outcome is
    complete, of which every figure is; `mismatch`: the p-value of the sample ratio."""

    name: str
    status: str
    known_until: datetime
    assigned: tuple[int, int]
    measured: tuple[int, int]
    waiting: int
    unreported: int
    control_treated: int
    untreated: int
    mismatch: float
    adjustment: str
    outcomes: tuple[Outcome, ...]
    guardrails: tuple[Guardrail, ...]
    groups: tuple[GroupEffect, ...]
    verdict: tuple[Text, ...]
    headline: Text
    currency: str

    def outcome(self, name: str) -> Effect | None:
        """The adjusted effect on an outcome, None if it cannot be told."""
        return next((o.adjusted for o in self.outcomes if o.name == name), None)

    def sections(self) -> tuple[Section, ...]:
        """Verdict, how it was measured, figures, guardrails, for whom."""
        treated, control = self.measured
        told = [_MEASURED.format(treated=treated, control=control, waiting=self.waiting, mismatch=self.mismatch)]
        told += [_UNREPORTED.format(count=self.unreported)] if self.unreported else []
        told += [_CONTROL_TREATED.format(count=self.control_treated)] if self.control_treated else []
        told += [_UNTREATED.format(count=self.untreated)] if self.untreated else []
        title = Text("Campaign {name}", "活动 {name}").format(name=self.name)
        found = [Section(title, (*self.verdict, *told))]
        found += [figures_section(self.outcomes, self.adjustment)] if self.outcomes else []
        found += [guardrails_section(self.guardrails)] if self.guardrails else []
        found += [groups_section(self.groups)] if self.groups else []
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        parts = {n: [p.to_json() for p in getattr(self, n)] for n in ("outcomes", "guardrails", "groups")}
        texts = {"verdict": [t.en for t in self.verdict], "headline": self.headline.en}
        return vars(self) | parts | texts | {"known_until": self.known_until.isoformat()}


@dataclass(frozen=True)
class CampaignReport(Readable):
    """All campaigns beside each other. `q`: the p-value of each effect on retention, adjusted for their number; None
    where it could not be told. `unread`: campaigns that cannot be read out, and why."""

    effects: tuple[CampaignEffect, ...]
    q: tuple[float | None, ...]
    unread: tuple[tuple[str, Text], ...]
    groups: tuple[GroupEffect, ...]
    accepted: float

    def moved(self) -> list[str]:
        """The campaigns that moved retention, at the accepted share of false findings."""
        return [e.name for e, q in zip(self.effects, self.q, strict=True) if q is not None and q <= self.accepted]

    def sections(self) -> tuple[Section, ...]:
        """Which moved retention, one row a campaign, then for whom."""
        if not self.effects and not self.unread:
            return (Section(lines=(_NONE,)),)
        moved = ", ".join(self.moved()) or "-"
        told = [_MOVED.format(moved=moved, count=len(self.effects), accepted=self.accepted)]
        told += [_UNREAD.format(name=name, why=why) for name, why in self.unread]
        rows = tuple(_report_row(e, q) for e, q in zip(self.effects, self.q, strict=True))
        found = [Section(lines=tuple(told), columns=_COLUMNS, rows=rows)]
        found += [groups_section(self.groups, with_campaign=True)] if self.groups else []
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        campaigns = [e.to_json() | {"q": q} for e, q in zip(self.effects, self.q, strict=True)]
        unread = [{"name": name, "why": why.en} for name, why in self.unread]
        return {
            "campaigns": campaigns,
            "moved": self.moved(),
            "unread": unread,
            "groups": [g.to_json() for g in self.groups],
        }


def effect(config: Config, root: Path, name: str, *, progress: Progress = silent) -> CampaignEffect:
    """Read out one campaign, on completed outcomes only.

    Raises InputError for an unknown campaign, DataError where the arms do not fit their shares: then something removed
    users from one arm, and no figure can be trusted.
    """
    measured = measured_users(config, root, name, progress)
    settings, campaign = config.campaign, measured.campaign
    counts = int(measured.treated.sum()), int((~measured.treated).sum())
    mismatch = _checked_ratio(measured, counts, settings.mismatch)
    outcomes, guardrails = outcomes_told(measured, settings), guardrails_told(measured, settings)
    detectable = _detectable(outcomes, settings.alpha)
    return CampaignEffect(
        name=name,
        status=campaign.status,
        known_until=measured.known_until,
        assigned=measured.assigned,
        measured=counts,
        waiting=measured.waiting,
        unreported=measured.unreported,
        control_treated=measured.control_treated,
        untreated=measured.untreated,
        mismatch=mismatch,
        adjustment="CUPAC" if measured.has_risk else "CUPED",
        outcomes=outcomes,
        guardrails=guardrails,
        groups=groups_told(measured, settings),
        verdict=verdict_of(outcomes, guardrails, measured.waiting, detectable, config.shop.currency),
        headline=headline_of(outcomes, measured.waiting),
        currency=config.shop.currency,
    )


def effects(config: Config, root: Path, *, progress: Progress = silent) -> CampaignReport:
    """Read out all campaigns; one that cannot be read out stands beside the others with its reason."""
    found: list[CampaignEffect] = []
    unread: list[tuple[str, Text]] = []
    for name in Campaigns(Places(root).home / "campaigns").names():
        try:
            found.append(effect(config, root, name, progress=progress))
        except DataError as fault:
            unread.append((name, fault.text))
    retained = [e.outcome("retained") for e in found]
    q = tuple(benjamini_hochberg([r.p_value if r else None for r in retained]))
    groups = told_together([g for e in found for g in e.groups])
    return CampaignReport(tuple(found), q, tuple(unread), groups, config.campaign.false_discovery)


def _checked_ratio(measured: Measured, counts: tuple[int, int], limit: float) -> float:
    """The smaller p-value of the sample ratio, of everybody drawn and of everybody measured."""
    control = buckets_of_share(measured.campaign.control) / BUCKETS
    shares = (1 - control, control)
    p_value = min(srm_p_value(measured.assigned, shares), srm_p_value(counts, shares))
    if p_value >= limit:
        return p_value
    raise DataError(
        "sample ratio mismatch in campaign `{name}`: {treated:,} treated and {control:,} control do not fit a control "
        "share of {share:.1%} (p = {p:.2g}); something removed users from one arm, so no effect is told: look for "
        "results that leave out one arm, or for users deleted after the draw",
        "活动 `{name}` 样本比例失配：触达 {treated:,} 位、对照 {control:,} 位，与对照比例 {share:.1%} 不符（p = {p:.2g}）；"
        "有用户从某一组中被去除，因此不给出效果：请检查结果文件是否遗漏一组，或分组后是否删除了用户",
        name=measured.campaign.name,
        treated=counts[0],
        control=counts[1],
        share=control,
        p=p_value,
    )


def _detectable(outcomes: Sequence[Outcome], alpha: float) -> float | None:
    """What these users would have shown four times out of five (the standard error says all of arms and variance)."""
    told = next((o.adjusted for o in outcomes if o.name == "retained"), None)
    if told is None or told.standard_error is None:
        return None
    return minimum_detectable_effect(told.standard_error**2, 2, 2, alpha=alpha)


def _report_row(e: CampaignEffect, q: float | None) -> tuple[Any, ...]:
    retained, net = e.outcome("retained"), e.outcome("net")
    return (
        e.name,
        e.headline,
        *e.measured,
        None if retained is None or retained.value is None else f"{retained.value * 100:+.1f}",
        None if retained is None or retained.low is None else _ends(retained, 100),
        q,
        None if net is None or net.value is None else f"{net.value:+,.2f}",
        None if net is None or net.low is None else _ends(net, 1),
    )


def _ends(effect: Effect, factor: float) -> str:
    return f"{(effect.low or 0) * factor:+,.2f} – {(effect.high or 0) * factor:+,.2f}"


_MEASURED = Text(
    "measured on {treated:,} treated and {control:,} control customers whose outcome is complete ({waiting:,} still wait); "
    "everybody counts in the arm that was drawn; sample ratio p = {mismatch:.3f}",
    "依据结果完整的 {treated:,} 位触达与 {control:,} 位对照顾客（{waiting:,} 位尚未完成）；一律按抽取的组计算；样本比例 p = {mismatch:.3f}",
)
_UNREPORTED = Text(
    "{count:,} customers are in no row of the results and are left out", "{count:,} 位顾客在结果中没有任何行，未计入"
)
_CONTROL_TREATED = Text(
    "{count:,} control customers were treated anyway: they count as control, so the true effect is larger than it looks",
    "{count:,} 位对照顾客实际被触达：仍计为对照，因此真实效果大于所见",
)
_UNTREATED = Text(
    "{count:,} treated customers got nothing: they count as treated, so this is the effect of offering, not of getting",
    "{count:,} 位触达组顾客实际未获得动作：仍计为触达，因此这是“提供”的效果而非“获得”的效果",
)
_NONE = Text("no campaign yet: `ebbtide campaign start NAME`", "还没有活动：`ebbtide campaign start 名称`")
_MOVED = Text(
    "moved who stays, of {count} campaigns, with {accepted:.0%} of false findings accepted: {moved}",
    "{count} 个活动中，在接受 {accepted:.0%} 假发现的前提下改变了留存的：{moved}",
)
_UNREAD = Text("{name} cannot be read out: {why}", "{name} 无法读取：{why}")
_COLUMNS = (
    Text("campaign", "活动"),
    Text("verdict", "结论"),
    Text("treated", "触达"),
    Text("control", "对照"),
    Text("retained, points", "留存（百分点）"),
    Text("95 % interval", "95% 区间"),
    Text("q", "q"),
    Text("net per user", "人均净值"),
    Text("95 % interval", "95% 区间"),
)
