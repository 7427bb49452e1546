"""What looks odd in a log, in words: each finding says what was seen, with counts, and what to do."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from statistics import median
from typing import Literal

from ebbtide.core.language import Text
from ebbtide.pipeline.check_facts import LogFacts

Severity = Literal["info", "warn"]

_SILENT_DAYS = 7
_DROP, _DROP_WEEKS = 0.4, 8
_MANY_COPIES, _ONE_USER, _ONE_DAY, _MANY_FREE, _MANY_GUESTS = 0.01, 0.05, 0.20, 0.05, 0.05
_STRAY = 0.001


@dataclass(frozen=True)
class Finding:
    """One oddity: a stable code, how much it matters, and a sentence."""

    code: str
    severity: Severity
    text: Text

    def to_json(self) -> dict[str, str]:
        """JSON-safe fields, both languages."""
        return {"code": self.code, "severity": self.severity, "en": self.text.en, "zh": self.text.zh}


def find_oddities(facts: LogFacts, rejected: Mapping[str, int] | None = None) -> tuple[Finding, ...]:
    """All findings about a log, those that matter most first. `rejected`: rows in the quarantine by reason code."""
    found = [make(facts) for make in _CHECKS] if facts.events else []
    found.append(_guests(facts, rejected or {}))
    return tuple(sorted((f for f in found if f), key=lambda f: f.severity != "warn"))


def _silent_period(facts: LogFacts) -> Finding | None:
    """A week or more without any event, in a log that has events on most days."""
    days = sorted(facts.days)
    if len(days) < 2 or len(days) < 0.5 * (days[-1] - days[0] + 1):
        return None
    start, end = max(pairwise(days), key=lambda pair: pair[1] - pair[0])
    if end - start - 1 < _SILENT_DAYS:
        return None
    return _warn(
        "silent_period",
        "no event at all on {count} days in a row after {start}: was the log interrupted? Users look silent there",
        "{start} 之后连续 {count} 天没有任何事件：日志是否中断？这段时间用户会显得沉默",
        count=end - start - 1,
        start=_date(start),
    )


def _last_month(facts: LogFacts) -> Finding | None:
    """The last calendar month is not over: its counts are lower for that reason alone."""
    last = _date(facts.last_day)
    length = calendar.monthrange(last.year, last.month)[1]
    if last.day == length:
        return None
    return _info(
        "last_month_incomplete",
        "the last month ends on day {day} of {length}: its counts are not comparable",
        "最后一个月只到第 {day} 天（共 {length} 天）：其数量不可直接比较",
        day=last.day,
        length=length,
    )


def _drop_at_end(facts: LogFacts) -> Finding | None:
    """The last seven days hold far less than the weeks before: later files may be missing."""
    weeks = [
        sum(facts.days[facts.last_day - 7 * w - d] for d in range(7))
        for w in range(_DROP_WEEKS + 1)
        if facts.last_day - 7 * w - 6 >= facts.first_day
    ]
    if len(weeks) <= _DROP_WEEKS or weeks[0] >= _DROP * median(weeks[1:]):
        return None
    return _warn(
        "volume_drop",
        "the last 7 days hold {share:.0%} of the usual number of events: if files are still missing, ingest them first",
        "最近 7 天的事件数只有平常的 {share:.0%}：若还有文件未导入，请先导入",
        share=weeks[0] / median(weeks[1:]),
    )


def _copies(facts: LogFacts) -> Finding | None:
    """Rows that cannot be told apart; where a log names no items, orders or values, that is to be expected."""
    if not facts.capabilities & {"items", "order_lines", "money"}:
        return None
    share = facts.copies / facts.events
    if share < _MANY_COPIES:
        return None
    return _info(
        "copies",
        "{count:,} events ({share:.1%}) repeat another of the same user, time, type, item and value: real repeats stay, "
        "but if they are logged twice, set drop_exact_duplicates = true in the source and ingest anew",
        "{count:,} 个事件（{share:.1%}）与同一用户、时间、类型、商品和金额的另一事件相同：真实重复会保留；"
        "若为重复记录，请在来源中设置 drop_exact_duplicates = true 并重新导入",
        count=facts.copies,
        share=share,
    )


def _dominant_user(facts: LogFacts) -> Finding | None:
    share = facts.largest_user / facts.events
    if share < _ONE_USER or facts.users < 100:
        return None
    return _warn(
        "dominant_user",
        "one user id holds {share:.1%} of all events: a shared account, a robot or a placeholder for guests? "
        "Filter it with `where`",
        "某一个用户 ID 占全部事件的 {share:.1%}：是否为共享账号、机器人或游客占位？可用 `where` 过滤",
        share=share,
    )


def _one_day(facts: LogFacts) -> Finding | None:
    day, count = max(facts.days.items(), key=lambda item: (item[1], item[0]))
    share = count / facts.events
    if share < _ONE_DAY or len(facts.days) < 30:
        return None
    return _warn(
        "one_day",
        "{share:.0%} of all events lie on {day}: a bulk load or a default date?",
        "{share:.0%} 的事件集中在 {day}：是否为批量导入或默认日期？",
        share=share,
        day=_date(day),
    )


def _stray_start(facts: LogFacts) -> Finding | None:
    """A handful of events long before the rest: the history is counted from them."""
    seen = 0
    for day in sorted(facts.days):
        seen += facts.days[day]
        if seen > _STRAY * facts.events:
            break
    early = day - facts.first_day
    if early < max(30, 0.2 * (facts.last_day - facts.first_day)):
        return None
    return _warn(
        "stray_start",
        "the first event lies {days} days before 99.9 % of all: if it is a mistake, filter it with `where`; the "
        "history is counted from it",
        "最早的事件比 99.9 % 的事件早 {days} 天：若为错误，请用 `where` 过滤；历史长度从它算起",
        days=early,
    )


def _late_arrival(facts: LogFacts) -> Finding | None:
    """Events become known long after they happen, so that past moments knew little."""
    usual, slow = facts.delay_days(0.5), facts.delay_days(0.95)
    if slow < 1:
        return None
    severity: Severity = "warn" if usual >= 7 else "info"
    text = Text(
        "half of the events were known within {usual} days of happening, 95 % within {slow}: what was not known yet "
        "at a moment is not used there; if `ingested_at` is only the day of a bulk load, leave it out of the mapping",
        "一半的事件在发生后 {usual} 天内可知，95 % 在 {slow} 天内：某时点尚未可知的事件不会用于该时点；"
        "若 `ingested_at` 只是批量导入日期，请从映射中去掉",
    )
    return Finding("late_arrival", severity, text.format(usual=usual, slow=slow))


def _dates_only(facts: LogFacts) -> Finding | None:
    if "clock" in facts.capabilities:
        return None
    return _info(
        "dates_only",
        "times are dates without a time of day: hour features switch off",
        "时间只有日期，没有钟点：与钟点有关的特征会关闭",
    )


def _free_orders(facts: LogFacts) -> Finding | None:
    valued = facts.order_columns["value"]
    if not valued or facts.free_orders < _MANY_FREE * valued:
        return None
    return _info(
        "free_orders",
        "{share:.1%} of the order lines are worth zero or less: gifts, samples or refunds under the type `order`?",
        "{share:.1%} 的订单行金额为零或更低：是赠品、样品，还是类型写成 `order` 的退款？",
        share=facts.free_orders / valued,
    )


def _guests(facts: LogFacts, rejected: Mapping[str, int]) -> Finding | None:
    guests = rejected.get("missing_user", 0)
    seen = facts.events + guests
    if not guests or guests < _MANY_GUESTS * seen:
        return None
    return _info(
        "guests",
        "{share:.0%} of the rows carry no user id (guests): their behaviour is not known to anybody's score",
        "{share:.0%} 的行没有用户 ID（游客）：这些行为无法计入任何人的分数",
        share=guests / seen,
    )


_CHECKS: tuple[Callable[[LogFacts], Finding | None], ...] = (
    _silent_period,
    _drop_at_end,
    _dominant_user,
    _one_day,
    _stray_start,
    _late_arrival,
    _copies,
    _free_orders,
    _last_month,
    _dates_only,
)


def _warn(code: str, en: str, zh: str, **fields: object) -> Finding:
    return Finding(code, "warn", Text(en, zh).format(**fields))


def _info(code: str, en: str, zh: str, **fields: object) -> Finding:
    return Finding(code, "info", Text(en, zh).format(**fields))


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)
