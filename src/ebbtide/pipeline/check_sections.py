"""The report of `check` as tables and sentences for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ebbtide.churn.advice import DefinitionAdvice
from ebbtide.core.language import Text
from ebbtide.core.sections import Section
from ebbtide.events.capabilities import CAPABILITIES
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.events.validate import Reason
from ebbtide.pipeline.check_facts import LogFacts

if TYPE_CHECKING:
    from ebbtide.pipeline.check import BaseRate, CheckReport


def sections(report: CheckReport) -> tuple[Section, ...]:
    """The report in the order in which a person reads it."""
    rejected = sum((Counter(reasons) for reasons in report.rows.reasons.values()), Counter[str]())
    quarantine = (_quarantine_table(rejected),) if rejected else ()
    return (
        _overview(report),
        *quarantine,
        Section(Text("What looks odd", "异常之处"), lines=tuple(f.text for f in report.findings) or (_NOTHING_ODD,)),
        _month_table(report.facts),
        _column_table(report.facts),
        Section(Text("The question", "问题"), lines=(report.definition.describe(), report.sufficiency.text)),
        _rate_table(report.base_rates),
        _advice_table(report.advice),
    )


_NOTHING_ODD = Text("nothing", "无")


def _overview(report: CheckReport) -> Section:
    facts = report.facts
    have = ", ".join(c for c in CAPABILITIES if c in facts.capabilities)
    lines = (
        Text(
            "{events:,} events of {users:,} users until {until:%Y-%m-%d}",
            "截至 {until:%Y-%m-%d}，{users:,} 位用户的 {events:,} 个事件",
        ).format(events=facts.events, users=facts.users, until=report.until),
        Text(f"the log tells about: {have}", f"日志包含：{have}"),
        Text(f"it does not tell about: {', '.join(report.missing)}", f"日志不包含：{', '.join(report.missing)}"),
    )
    columns = (Text("event type", "事件类型"), Text("events", "事件数"))
    return Section(Text("The log", "日志"), lines, columns, tuple(facts.by_type.items()))


def _quarantine_table(rejected: Mapping[str, int]) -> Section:
    columns = (Text("reason", "原因"), Text("rows", "行数"), Text("meaning", "含义"))
    counts = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    rows = tuple((code, count, Reason(code).text) for code, count in counts)
    return Section(Text("Rows put into the quarantine so far", "迄今进入隔离区的行"), columns=columns, rows=rows)


def _month_table(facts: LogFacts) -> Section:
    columns = (
        Text("month", "月份"),
        Text("events", "事件数"),
        Text("users", "用户数"),
        Text("outcome events", "结果事件数"),
    )
    rows = tuple((month, *counts.values()) for month, counts in facts.by_month.items())
    return Section(Text("Month by month", "逐月"), columns=columns, rows=rows)


def _column_table(facts: LogFacts) -> Section:
    columns = (Text("column", "列"), Text("filled", "填充率"), Text("filled in orders", "订单中填充率"))
    rows = ((c, _share(facts.filled(c)), _share(facts.filled_in_orders(c))) for c in EVENT_COLUMNS if facts.filled(c))
    return Section(Text("Columns", "列"), columns=columns, rows=tuple(rows))


def _rate_table(rates: Sequence[BaseRate]) -> Section:
    columns = (
        Text("as of", "时点"),
        Text("users", "用户数"),
        Text("churned", "流失数"),
        Text("base rate", "基础流失率"),
        Text("95 % interval", "95 % 区间"),
    )
    rows = ((f"{b.as_of:%Y-%m-%d}", b.users, b.churned, _share(b.rate), f"{b.low:.1%} – {b.high:.1%}") for b in rates)
    return Section(Text("Base rate over time", "基础流失率变化"), columns=columns, rows=tuple(rows))


def _advice_table(advice: DefinitionAdvice) -> Section:
    columns = (
        Text("horizon (days)", "预测期（天）"),
        Text("eligible (days)", "资格窗口（天）"),
        Text("users", "用户数"),
        Text("base rate", "基础流失率"),
        Text("gaps within", "间隔在内"),
        Text("enough data", "数据足够"),
    )
    yes, no = Text("yes", "是"), Text("no", "否")
    rows = (
        (o.horizon_days, o.eligible_days, o.users, _share(o.base_rate), _share(o.gaps_within), yes if o.passes else no)
        for o in advice.options
    )
    return Section(Text("Other definitions", "其他定义"), (advice.text,), columns, tuple(rows))


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"
