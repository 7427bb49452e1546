"""The profile of one user: a row of the profile frame in words, with what changed lately and the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section
from ebbtide.explain.changes import Change
from ebbtide.explain.profile_columns import PROFILE_COLUMNS
from ebbtide.explain.rfm import SEGMENTS
from ebbtide.explain.stages import BAND_WORDS, STAGES

_HEAD = Text("{user} as of {as_of:%Y-%m-%d %H:%M}: {stage}", "{user}，截至 {as_of:%Y-%m-%d %H:%M}：{stage}")
_SEGMENT = Text(
    "RFM segment: {name} (recency {r}, frequency {f}, money {m})", "RFM 分群：{name}（近度 {r}，频度 {f}，金额 {m}）"
)
_GROUP = Text("behaves like the group: {name}", "行为属于：{name}")
_RISK = Text("churn probability {p:.1%}", "流失概率 {p:.1%}")
_BACK = Text("probability of coming back {p:.1%}", "回归概率 {p:.1%}")
_NEXT = Text(
    "next order around {at:%Y-%m-%d}, 80 % between {low:%Y-%m-%d} and {high:%Y-%m-%d}, if one comes within a year",
    "若一年内有下一单，约在 {at:%Y-%m-%d}，80% 在 {low:%Y-%m-%d} 与 {high:%Y-%m-%d} 之间",
)
_NOTHING = Text("nothing out of the ordinary", "没有异常变化")
_FACTS, _CHANGES, _REASONS = Text("Facts", "事实"), Text("Lately", "近期变化"), Text("Reasons", "原因")
_COLUMNS = (Text("what", "内容"), Text("value", "值"))
_SAID_ALREADY = {
    "user_id", "stage", "segment", "recency_score", "frequency_score", "money_score", "cluster", "churn_probability",
    "comeback_probability", "next_order_expected_at", "next_order_from", "next_order_until", "percentile", "eligible",
}  # fmt: skip

_REPEATED = {
    "first_outcome_at": "first_order_at",
    "last_outcome_at": "last_order_at",
    "days_since_outcome": "days_since_order",
}
"""Facts of the outcome that are left out where they say what the facts of orders have said."""


@dataclass(frozen=True)
class Profile(Readable):
    """One user at one moment. `row`: the columns of the profile frame (percentile null: it takes the whole cohort);
    `group`: the name of the user's cluster; `reasons` as in the ranked list, empty for who is not asked about."""

    user_id: str
    as_of: datetime
    row: dict[str, Any]
    group: Text | None
    changes: tuple[Change, ...]
    reasons: tuple[dict[str, Any], ...]

    def sections(self) -> tuple[Section, ...]:
        """Where the user stands, what is known, what changed, and why the model says so."""
        facts = tuple(
            (column.text, _in_words(name, self.row[name], column.unit))
            for name, column in PROFILE_COLUMNS.items()
            if name not in _SAID_ALREADY and self.row[name] is not None and not self._repeats(name)
        )
        changed = tuple(c.text for c in self.changes) or (_NOTHING,)
        said = tuple(Text(r["text"], r["text"]) for r in self.reasons)
        head = Section(lines=tuple(self._standing()))
        parts = (head, Section(_FACTS, columns=_COLUMNS, rows=facts), Section(_CHANGES, lines=changed))
        return (*parts, Section(_REASONS, lines=said)) if said else parts

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        row = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in self.row.items()}
        return {
            "user_id": self.user_id,
            "as_of": self.as_of.isoformat(),
            "profile": row,
            "group": self.group and self.group.en,
            "changes": [c.to_json() for c in self.changes],
            "reasons": list(self.reasons),
        }

    def _repeats(self, name: str) -> bool:
        return name in _REPEATED and self.row[name] == self.row[_REPEATED[name]]

    def _standing(self) -> list[Text]:
        r = self.row
        lines = [_HEAD.format(user=self.user_id, as_of=self.as_of, stage=STAGES[r["stage"]])]
        if r["segment"] is not None:
            scores = {"r": r["recency_score"], "f": r["frequency_score"], "m": r["money_score"] or "–"}
            lines.append(_SEGMENT.format(name=SEGMENTS[r["segment"]], **scores))
        lines += [_GROUP.format(name=self.group)] if self.group else []
        lines += [_RISK.format(p=r["churn_probability"])] if r["churn_probability"] is not None else []
        lines += [_BACK.format(p=r["comeback_probability"])] if r["comeback_probability"] is not None else []
        if r["next_order_expected_at"] is not None:
            ends = {"low": r["next_order_from"], "high": r["next_order_until"]}
            lines.append(_NEXT.format(at=r["next_order_expected_at"], **ends))
        return lines


_FIGURES = {"money": ",.2f", "share": ".1%", "probability": ".1%", "days": ",.1f", "0-100": ".0f", "1-5": "g"}
"""How a fraction of a unit is written; others with two places."""


_WEEKDAYS = tuple(
    Text(en, f"星期{zh}")
    for en, zh in zip(
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), "一二三四五六日", strict=True
    )
)


def _in_words(name: str, value: Any, unit: str) -> Any:
    if name == "band":
        return BAND_WORDS[value]
    return _WEEKDAYS[value - 1] if name == "favourite_weekday" else _cell(value, unit)


def _cell(value: Any, unit: str) -> Any:
    """A fact as a person reads it.

    >>> _cell(2339.71, "money"), _cell(0.9333, "share"), _cell(85.035, "days"), _cell(15, "count")
    ('2,339.71', '93.3%', '85.0', 15)
    """
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return format(value, _FIGURES.get(unit, ",.2f")) if isinstance(value, float) else value
