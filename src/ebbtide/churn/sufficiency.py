"""Are there enough data for the question? The gate before training.

Rules, on what is known at `until`:

history   At least two closed moments whose outcome windows do not overlap, each with a lookback before it: a history
          of lookback + gap + 2 horizons. The lookback is one horizon, or the eligibility window if that is shorter:
          the window of an early moment may reach back before the log, it then simply finds fewer users.
churned   At least 100 users (recommended 1,000) who churned at one or more of the closed moments.
retained  The same for users who were retained.

Users, not rows: someone who churned at three moments counts once. The closed moments are one horizon apart, 24 at
most, so their outcome windows do not overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import polars as pl

from ebbtide.churn.cutoffs import closed_moments, shortest_lookback_us
from ebbtide.churn.definition import ChurnDefinition, name_span
from ebbtide.churn.event_words import name_events
from ebbtide.churn.labels import labelled_cohorts
from ebbtide.core.errors import SufficiencyError
from ebbtide.core.language import Text, join_texts
from ebbtide.core.windows import DAY_US, from_us, to_us

Shards = Callable[[], Iterable[pl.DataFrame]]
Rule = Literal["events", "history", "churned", "retained"]
Level = Literal["ok", "warn", "fail"]

REQUIRED, RECOMMENDED = 100, 1000
MAX_MOMENTS = 24
HORIZONS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365)


@dataclass(frozen=True)
class ClassCounts:
    """Users who churned, and users who were retained, at one moment or more; the same user may be in both."""

    churned: int = 0
    retained: int = 0

    def __add__(self, other: ClassCounts) -> ClassCounts:
        return ClassCounts(self.churned + other.churned, self.retained + other.retained)


@dataclass(frozen=True)
class Sufficiency:
    """The verdict: `level`, the rules that failed, what was found, the nearest definition that passes, in words."""

    level: Level
    failed: tuple[Rule, ...]
    definition: ChurnDefinition
    history_days: float
    needed_days: float
    moments: int
    counts: ClassCounts
    nearest: ChurnDefinition | None
    text: Text

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "level": self.level,
            "failed": list(self.failed),
            "definition": self.definition.to_json(),
            "history_days": self.history_days,
            "needed_days": self.needed_days,
            "moments": self.moments,
            "churned": self.counts.churned,
            "retained": self.counts.retained,
            "nearest": self.nearest.to_json() if self.nearest else None,
            "text": {"en": self.text.en, "zh": self.text.zh},
        }

    def check(self) -> None:
        """Raise SufficiencyError if a rule failed."""
        if self.level == "fail":
            raise SufficiencyError(self.text.en, self.text.zh)


def judge_sufficiency(shards: Shards, definition: ChurnDefinition, *, until: datetime) -> Sufficiency:
    """Apply the rules to a log, shard by shard; `shards()` is called anew for each pass over the log.

    Columns in: user_id, occurred_at, ingested_at, type. A failed verdict costs a second and third pass, to find the
    nearest definition that passes.
    """
    end = to_us(until)
    first = first_known_us(shards(), definition, until=until)
    history = 0 if first is None else end - first
    moments = _moments(first, end, definition)
    counts = sum((count_classes(s, moments, definition, until=until) for s in shards()), ClassCounts())
    failed = _failed(first, moments, counts)
    nearest = _nearest(shards, first, definition, until) if failed else None
    enough = min(counts.churned, counts.retained) >= RECOMMENDED
    verdict = Sufficiency(
        level="fail" if failed else "ok" if enough else "warn",
        failed=failed,
        definition=definition,
        history_days=history / DAY_US,
        needed_days=needed_history_us(definition) / DAY_US,
        moments=len(moments),
        counts=counts,
        nearest=nearest,
        text=Text("", ""),
    )
    return replace(verdict, text=_describe(verdict))


def needed_history_us(definition: ChurnDefinition) -> int:
    """How long the history must be: lookback + gap + 2 horizons, in microseconds.

    >>> needed_history_us(ChurnDefinition(horizon_days=90, eligible_days=180)) // DAY_US
    270
    """
    return shortest_lookback_us(definition) + definition.closing_us + definition.horizon_us


def first_known_us(shards: Iterable[pl.DataFrame], definition: ChurnDefinition, *, until: datetime) -> int | None:
    """When the first event that the definition looks at happened, among those known at `until`; null without any."""
    known = (pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until)
    relevant = known & (definition.is_eligible() | definition.is_outcome())
    found = [s.filter(relevant)["occurred_at"].dt.epoch("us").min() for s in shards]
    firsts = [int(f) for f in found if isinstance(f, int)]
    return min(firsts, default=None)


def count_classes(
    events: pl.DataFrame, moments: Sequence[datetime], definition: ChurnDefinition, *, until: datetime
) -> ClassCounts:
    """The distinct churned and retained users of one shard over the moments."""
    labelled = labelled_cohorts(events, moments, definition, known_until=until)
    churned = labelled.filter(pl.col("churned"))["user_id"].n_unique()
    return ClassCounts(churned, labelled.filter(~pl.col("churned"))["user_id"].n_unique())


def _moments(first: int | None, until: int, definition: ChurnDefinition) -> list[datetime]:
    if first is None:
        return []
    return [from_us(m) for m in closed_moments(first, until, definition, MAX_MOMENTS)]


def _failed(first: int | None, moments: Sequence[datetime], counts: ClassCounts) -> tuple[Rule, ...]:
    if first is None:
        return ("events",)
    if not moments:
        return ("history",)
    rules: dict[Rule, bool] = {
        "history": len(moments) >= 2,
        "churned": counts.churned >= REQUIRED,
        "retained": counts.retained >= REQUIRED,
    }
    return tuple(rule for rule, holds in rules.items() if not holds)


def _nearest(shards: Shards, first: int | None, asked: ChurnDefinition, until: datetime) -> ChurnDefinition | None:
    """The passing candidate whose horizon, then eligibility window, is nearest by ratio."""
    end = to_us(until)
    candidates = {c: m for c in _candidates(asked) if len(m := _moments(first, end, c)) >= 2}
    counts = dict.fromkeys(candidates, ClassCounts())
    for shard in shards() if candidates else ():
        for candidate, moments in candidates.items():
            counts[candidate] += count_classes(shard, moments, candidate, until=until)
    return next((c for c in candidates if not _failed(first, candidates[c], counts[c])), None)


def _candidates(asked: ChurnDefinition) -> list[ChurnDefinition]:
    """Definitions with other lengths, nearest first: a horizon counts four times as much as an eligibility window."""
    found = {
        replace(asked, horizon_days=float(h), eligible_days=e)
        for h in {*HORIZONS, asked.horizon_days}
        for e in (asked.eligible_days / 2, asked.eligible_days, asked.eligible_days * 2)
        if e >= h
    }

    def distance(candidate: ChurnDefinition) -> tuple[float, float, float]:
        horizon = abs(math.log(candidate.horizon_days / asked.horizon_days))
        window = abs(math.log(candidate.eligible_days / asked.eligible_days))
        return horizon + window / 4, candidate.horizon_days, candidate.eligible_days

    return sorted(found - {asked}, key=distance)


def _describe(v: Sufficiency) -> Text:
    if v.level == "fail":
        return join_texts([*(_fault(rule, v) for rule in v.failed), _way_out(v)])
    found = Text(
        "{churned:,} users churned and {retained:,} were retained at {moments} past moments",
        "在 {moments} 个过去时点上，有 {churned:,} 位用户流失、{retained:,} 位留存",
    ).format(churned=v.counts.churned, retained=v.counts.retained, moments=v.moments)
    if v.level == "ok":
        return Text("enough data: ", "数据充足：") + found
    return found + Text(
        f": enough to train, but {RECOMMENDED:,} of each are recommended, so expect wide intervals",
        f"：可以训练，但建议两类各有 {RECOMMENDED:,} 位，因此区间会较宽",
    )


def _fault(rule: Rule, v: Sufficiency) -> Text:
    d = v.definition
    if rule == "events":
        return Text("no {event} is known at that time", "当时没有任何已知的{event}").format(
            event=name_events(d.eligible)
        )
    if rule == "history":
        return Text(
            "the history is too short: {found:.0f} days are known, {needed:.0f} are needed "
            "(a lookback of {lookback} and two horizons of {horizon})",
            "历史太短：已知 {found:.0f} 天，需要 {needed:.0f} 天（回看 {lookback}，加两个预测期，每个 {horizon}）",
        ).format(
            found=math.floor(v.history_days),
            needed=math.ceil(v.needed_days),
            lookback=name_span(shortest_lookback_us(d) / DAY_US),
            horizon=name_span(d.horizon_days),
        )
    count = v.counts.churned if rule == "churned" else v.counts.retained
    word = Text("churned", "流失") if rule == "churned" else Text("retained", "留存")
    return Text(
        "too few {word} users: {count} at {moments} past moments, at least {required} are needed",
        "{word}用户太少：{moments} 个过去时点上共 {count} 位，至少需要 {required} 位",
    ).format(word=word, count=count, moments=v.moments, required=REQUIRED)


def _way_out(v: Sufficiency) -> Text:
    if v.nearest is None:
        return Text(
            "no other horizon or eligibility window passes either: wait for more data, or ask about other event types",
            "其他预测期或资格窗口也都不满足：请等待更多数据，或改问其他事件类型",
        )
    settings = v.nearest.config_lines()
    lines = f'horizon = "{settings["horizon"]}", eligible = "{settings["eligible"]}"'
    return Text(f"the nearest definition that passes: {lines}", f"最接近且满足要求的定义：{lines}")
