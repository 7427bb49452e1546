"""A plan in words: money, actions, the budget curve, suspected abuse, what to know about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import polars as pl

from ebbtide.actions.effects import ASSUMED, COMBINED, LEARNT, MEASURED, UNKNOWN
from ebbtide.core.action_settings import NOTHING
from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section

_SUSPECTS_SHOWN = 5
_SOURCES = {
    ASSUMED: Text("assumed", "假设"),
    MEASURED: Text("measured", "已测量"),
    COMBINED: Text("measured + assumed", "测量 + 假设"),
    LEARNT: Text("being learnt", "学习中"),
    UNKNOWN: Text("unknown", "未知"),
}
_SUMMARY = Text(
    "as of {as_of:%Y-%m-%d}: of {users:,} customers {treated:,} get an action; expected to cost {cost:,.2f} of {budget:,.2f} "
    "{currency} ({worst:,.2f} if everybody accepts) and to bring {gain:,.2f} beyond its cost",
    "截至 {as_of:%Y-%m-%d}：{users:,} 位顾客中 {treated:,} 位获得动作；预计花费 {cost:,.2f}／{budget:,.2f} {currency}"
    "（全部接受时为 {worst:,.2f}），扣除成本后预计带来 {gain:,.2f}",
)
_PROOF = Text(
    "no plan within these limits can bring more than {gap:.3%} more", "在这些限制内，任何计划的收益最多再高 {gap:.3%}"
)
_ACTIONS = (
    Text("action", "动作"),
    Text("effect", "效果"),
    Text("possible for", "可获得人数"),
    Text("planned for", "计划人数"),
    Text("cost", "成本"),
    Text("if all accept", "全部接受时"),
    Text("expected gain", "预期收益"),
)
_CURVE = (
    Text("budget", "预算"),
    Text("spent", "花费"),
    Text("expected gain", "预期收益"),
    Text("customers", "顾客数"),
    Text("the next unit of money brings", "再多一元带来"),
)
_PLAN = (
    Text("customer", "顾客"),
    Text("action", "动作"),
    Text("cost", "成本"),
    Text("expected gain", "预期收益"),
    Text("why", "原因"),
)
_SUSPECTS = (Text("customer", "顾客"), Text("overruled", "已豁免"), Text("why", "原因"))
_YES, _NO = Text("yes", "是"), Text("no", "否")


@dataclass(frozen=True)
class ActionLine:
    """One action of the plan: for how many it was possible and is planned, cost, gain, and whom which rule kept from it."""

    name: str
    effect: str
    possible: int
    users: int
    cost: float
    worst_cost: float
    gain: float
    kept_back: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self)


@dataclass(frozen=True)
class BudgetPoint:
    """What a budget would spend and bring, for how many, and what one more unit of money would bring."""

    budget: float
    cost: float
    gain: float
    users: int
    next_unit: float


@dataclass(frozen=True)
class PlanReport(Readable):
    """The plan, dearest expected gain first; `frame`: user_id, action (`nothing` for none), cost, expected_gain,
    propensity, why, not_before, deadline. `cost` is expected: contact, and the share that accepts times the offer.
    `worst_cost`: if all accept. `curve`: what other budgets would bring."""

    frame: pl.DataFrame
    as_of: datetime
    bundle: str
    currency: str
    budget: float
    cost: float
    worst_cost: float
    gain: float
    gap: float
    lines: tuple[ActionLine, ...]
    curve: tuple[BudgetPoint, ...]
    suspected: pl.DataFrame
    findings: tuple[Text, ...]

    @property
    def treated(self) -> pl.DataFrame:
        """The rows with an action."""
        return self.frame.filter(pl.col("action") != NOTHING)

    def sections(self, rows: int = 20) -> tuple[Section, ...]:
        """Money, actions, the budget curve, suspected abuse, findings, and the first rows."""
        return _sections(self, rows)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe figures; the plan itself goes to a file or the terminal."""
        return {
            "as_of": self.as_of.isoformat(),
            "model": self.bundle,
            "budget": self.budget,
            "cost": self.cost,
            "worst_cost": self.worst_cost,
            "expected_gain": self.gain,
            "gap": self.gap,
            "users": self.frame.height,
            "treated": self.treated.height,
            "actions": [line.to_json() for line in self.lines],
            "curve": [vars(point) for point in self.curve],
            "suspected": self.suspected.to_dicts(),
            "findings": [{"en": f.en, "zh": f.zh} for f in self.findings],
        }


def _sections(report: PlanReport, rows: int) -> tuple[Section, ...]:
    """The plan in the order in which a person reads it."""
    treated = report.treated.head(rows)
    summary = _SUMMARY.format(
        as_of=report.as_of, users=report.frame.height, treated=report.treated.height, cost=report.cost,
        budget=report.budget, currency=report.currency, worst=report.worst_cost, gain=report.gain,
    )  # fmt: skip
    lines = [summary, *([_PROOF.format(gap=report.gap)] if report.gain > 0 else [])]
    parts = [
        Section(lines=tuple(lines)),
        Section(columns=_ACTIONS, rows=tuple(_action_row(line) for line in report.lines)),
    ]
    if report.curve:
        curve = tuple(_curve_row(point) for point in report.curve)
        parts.append(Section(Text("Other budgets", "其他预算"), columns=_CURVE, rows=curve))
    if report.suspected.height:
        told = report.suspected.head(_SUSPECTS_SHOWN).iter_rows(named=True)
        rows_ = tuple((r["user_id"], _YES if r["overruled"] else _NO, r["why"]) for r in told)
        parts.append(Section(Text("Suspected abuse of discounts", "疑似滥用优惠"), columns=_SUSPECTS, rows=rows_))
    if report.findings:
        parts.append(Section(Text("To know", "须知"), lines=report.findings))
    planned = tuple(
        (r["user_id"], r["action"], f"{r['cost']:.2f}", f"{r['expected_gain']:.2f}", r["why"])
        for r in treated.iter_rows(named=True)
    )
    if planned:
        parts.append(Section(Text("The plan", "计划"), columns=_PLAN, rows=planned))
    return tuple(parts)


def _action_row(line: ActionLine) -> tuple[Any, ...]:
    figures = (f"{line.cost:,.2f}", f"{line.worst_cost:,.2f}", f"{line.gain:,.2f}")
    return (line.name, _SOURCES[line.effect], line.possible, line.users, *figures)


def _curve_row(point: BudgetPoint) -> tuple[Any, ...]:
    figures = (f"{point.budget:,.2f}", f"{point.cost:,.2f}", f"{point.gain:,.2f}")
    return (*figures, point.users, f"{point.next_unit:.2f}")
