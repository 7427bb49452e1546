"""Which churn definition suits a log? Advice from the gaps between a user's outcome events.

A horizon is good if it is long enough that most people who come back at all have come back (so silence means
something), and short enough that both answers occur and the log has room to learn from. The recommended horizon is
the shortest common length within which at least 80 % of the gaps end, whose base rate lies between 10 % and 90 %, and
which passes the sufficiency gate; if none has all three, the first rule gives way, then the second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl

from ebbtide.churn.cutoffs import closed_moments
from ebbtide.churn.definition import ChurnDefinition, name_span
from ebbtide.churn.event_words import name_one_event
from ebbtide.churn.labels import labelled_cohorts
from ebbtide.churn.spells import Spells, count_gaps, no_spells
from ebbtide.churn.sufficiency import HORIZONS, MAX_MOMENTS, REQUIRED, ClassCounts, Shards, first_known_us
from ebbtide.churn.survival import SurvivalCurve, returning_share, survival_curve
from ebbtide.core.language import Text
from ebbtide.core.windows import DAY_US, from_us, to_us
from ebbtide.events.schema import TIME

QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.95)
SILENCES = (7, 14, 30, 60, 90, 120, 180, 270, 365)
_LENGTHS = (*HORIZONS, 540, 730, 1095)
_WEEK = 7
_GAPS_WITHIN = 0.8
_BASE_RATES = (0.1, 0.9)


@dataclass(frozen=True)
class Option:
    """What one horizon would mean: at the newest closed moment `users` would be asked about and `churned` of them
    churned; `gaps_within`: the share of gaps that end within the horizon; `passes`: the sufficiency gate."""

    horizon_days: int
    eligible_days: int
    users: int
    churned: int
    base_rate: float | None
    gaps_within: float
    passes: bool


@dataclass(frozen=True)
class DefinitionAdvice:
    """gap_days: quantiles of the gaps between a user's active days. returning: for d days of silence, the share that
    still comes back (Kaplan-Meier). options: one a horizon. recommended: null if none passes the gate."""

    outcome: tuple[str, ...]
    users: int
    history_days: float
    gaps: int
    gap_days: dict[float, float | None]
    returning: dict[int, float | None]
    options: tuple[Option, ...]
    recommended: ChurnDefinition | None
    text: Text

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self) | {
            "outcome": list(self.outcome),
            "gap_days": {f"{q:g}": d for q, d in self.gap_days.items()},
            "returning": {str(d): s for d, s in self.returning.items()},
            "recommended": self.recommended.to_json() if self.recommended else None,
        }


def advise(events: pl.DataFrame, data_end: datetime, *, outcome: Sequence[str] = ("order",)) -> DefinitionAdvice:
    """Advice from one frame of outcome events; rows after `data_end` are left out.

    Columns in: user_id, occurred_at; any order; one row an active day suffices. `outcome` only names the events.
    """
    whole = events.select("user_id", pl.col("occurred_at").cast(TIME)).with_columns(
        ingested_at="occurred_at", type=pl.lit(outcome[0])
    )
    return advise_shards(lambda: [whole], data_end, outcome=outcome)


def advise_shards(shards: Shards, until: datetime, *, outcome: Sequence[str]) -> DefinitionAdvice:
    """Advice from a log, shard by shard, in two passes (and one for the first event).

    Columns in: user_id, occurred_at, ingested_at, type. Only events known at `until` count; how late each of them
    arrived is not looked at.
    """
    asked = ChurnDefinition(outcome=tuple(outcome), eligible=tuple(outcome))
    first = first_known_us(shards(), asked, until=until)
    spells, users = no_spells(), 0
    for shard in shards():
        days = _outcome_days(shard, asked, until)
        spells, users = spells + count_gaps(days, until), users + days["user_id"].n_unique()
    options = _options(shards, spells, asked, first, until)
    curve = survival_curve(spells)
    best = _recommend(options)
    advice = DefinitionAdvice(
        outcome=asked.outcome,
        users=users,
        history_days=0.0 if first is None else (to_us(until) - first) / DAY_US,
        gaps=int(spells.ended.sum()),
        gap_days={q: spells.quantile(q) for q in QUANTILES},
        returning={d: returning_share(curve, d) for d in SILENCES},
        options=options,
        recommended=_with_lengths(asked, best.horizon_days, best.eligible_days) if best else None,
        text=Text("", ""),
    )
    return replace(advice, text=_describe(advice, best, curve))


def _outcome_days(shard: pl.DataFrame, asked: ChurnDefinition, until: datetime) -> pl.DataFrame:
    """One row a user and day, days counted back from `until`: windows that are whole days long see no difference."""
    known = (pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until)
    back = (to_us(until) - pl.col("occurred_at").dt.epoch("us")) // DAY_US
    days = shard.filter(known & asked.is_outcome()).select("user_id", "occurred_at", back=back)
    latest = days.group_by("user_id", "back").agg(pl.col("occurred_at").max()).drop("back")
    return latest.sort("user_id", "occurred_at").with_columns(ingested_at="occurred_at", type=pl.lit(asked.outcome[0]))


def _with_lengths(asked: ChurnDefinition, horizon_days: float, eligible_days: float) -> ChurnDefinition:
    return replace(asked, horizon_days=float(horizon_days), eligible_days=float(eligible_days))


def _options(
    shards: Shards, spells: Spells, asked: ChurnDefinition, first: int | None, until: datetime
) -> tuple[Option, ...]:
    """Every common horizon for which the log has a closed moment, from a week on: shorter ones mistake the weekend for
    churn, and are looked at only in a log of less than a month."""
    if first is None:
        return ()
    shortest = _WEEK if to_us(until) - first >= 30 * DAY_US else 1
    definitions = [_with_lengths(asked, h, _eligible_window(h, spells)) for h in HORIZONS if h >= shortest]
    moments = {d: closed_moments(first, to_us(until), d, MAX_MOMENTS) for d in definitions}
    tallies = {d: _OptionTally() for d in definitions if moments[d]}
    for shard in shards():
        days = _outcome_days(shard, asked, until)
        for definition, so_far in tallies.items():
            at = [from_us(m) for m in moments[definition]]
            tallies[definition] = so_far + _OptionTally.of(labelled_cohorts(days, at, definition, known_until=until))
    return tuple(_option(d, t, len(moments[d]), spells) for d, t in tallies.items())


def _eligible_window(horizon_days: int, spells: Spells) -> int:
    """The common length that covers nine of ten gaps, between 2 and 6 horizons."""
    wanted = max(2.0 * horizon_days, min(spells.quantile(0.9) or 0.0, 6.0 * horizon_days))
    return next((n for n in _LENGTHS if n >= wanted), math.ceil(wanted))


@dataclass(frozen=True)
class _OptionTally:
    users: int = 0
    churned: int = 0
    classes: ClassCounts = field(default_factory=ClassCounts)

    @classmethod
    def of(cls, labelled: pl.DataFrame) -> _OptionTally:
        newest = labelled.filter(pl.col("as_of") == pl.col("as_of").max())
        churned = labelled.filter(pl.col("churned"))["user_id"].n_unique()
        retained = labelled.filter(~pl.col("churned"))["user_id"].n_unique()
        return cls(len(newest), int(newest["churned"].sum()), ClassCounts(churned, retained))

    def __add__(self, other: _OptionTally) -> _OptionTally:
        return _OptionTally(self.users + other.users, self.churned + other.churned, self.classes + other.classes)


def _option(definition: ChurnDefinition, tally: _OptionTally, moments: int, spells: Spells) -> Option:
    gaps = int(spells.ended.sum())
    within = int(spells.ended[: int(definition.horizon_days) + 1].sum())
    return Option(
        horizon_days=int(definition.horizon_days),
        eligible_days=int(definition.eligible_days),
        users=tally.users,
        churned=tally.churned,
        base_rate=tally.churned / tally.users if tally.users else None,
        gaps_within=within / gaps if gaps else 0.0,
        passes=moments >= 2 and min(tally.classes.churned, tally.classes.retained) >= REQUIRED,
    )


def _recommend(options: Sequence[Option]) -> Option | None:
    passing = [o for o in options if o.passes and o.base_rate is not None]
    low, high = _BASE_RATES
    balanced = [o for o in passing if o.base_rate is not None and low <= o.base_rate <= high]
    for option in balanced:
        if option.gaps_within >= _GAPS_WITHIN:
            return option
    if balanced:
        return max(balanced, key=lambda o: (o.gaps_within, -o.horizon_days))
    return min(passing, key=lambda o: abs((o.base_rate or 0.0) - 0.5), default=None)


def _describe(advice: DefinitionAdvice, best: Option | None, curve: SurvivalCurve) -> Text:
    if best is None or advice.recommended is None:
        return _what_is_missing(advice)
    facts = {
        "median": name_span(advice.gap_days[0.5] or 0),
        "long": name_span(advice.gap_days[0.9] or 0),
        "returning": _describe_returning(best.horizon_days, returning_share(curve, best.horizon_days)),
        "definition": advice.recommended.describe(),
        "rate": best.base_rate or 0.0,
        "users": best.users,
    }
    return Text(
        "half of the gaps end within {median} and nine of ten within {long}{returning}; advised: {definition}; "
        "then {rate:.0%} of {users:,} users churn",
        "一半的间隔在 {median}内结束，九成在 {long}内结束{returning}；建议：{definition}；"
        "届时 {users:,} 位用户中有 {rate:.0%} 流失",
    ).format(**facts)


def _describe_returning(silent_days: int, share: float | None) -> Text:
    if share is None:
        return Text("", "")
    return Text(
        "; after {silence} of silence {share:.0%} still come back", "；沉默 {silence}后仍有 {share:.0%} 会回来"
    ).format(silence=name_span(silent_days), share=share)


def _what_is_missing(advice: DefinitionAdvice) -> Text:
    facts = {"users": advice.users, "days": math.floor(advice.history_days), "required": REQUIRED}
    return Text(
        "no definition can be advised yet: {users:,} users with {event}, {gaps:,} gaps, {days} days of history; needed "
        "are {required} users who churn and {required} who stay, and a history of three horizons",
        "暂时无法建议定义：有{event}的用户 {users:,} 位、间隔 {gaps:,} 个、历史 {days} 天；"
        "需要流失与留存用户各 {required} 位，以及三个预测期长的历史",
    ).format(event=name_one_event(advice.outcome), gaps=advice.gaps, **facts)
