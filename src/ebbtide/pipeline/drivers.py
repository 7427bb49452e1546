"""`drivers`: what goes with churn at past moments whose outcome is known: behaviour, segments, traits, service.

Everything here is association: who has a fact differs in other ways too. Standardised rates adjust for what was known
before the fact, and are left out, with the reason, where there is nobody alike to compare with.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ebbtide.churn.cutoffs import closed_moments
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.churn.labels import churn_labels, cohort_at
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import from_us, to_us
from ebbtide.evaluation.association import Association, NoAnswer, Standardised, associations, standardise
from ebbtide.evaluation.intervals import Estimate
from ebbtide.explain.drivers import (
    BEHAVIOUR_FACTS,
    SERVICE_FACTS,
    before_matrix,
    driver_facts,
    with_fifths,
)
from ebbtide.explain.habits import user_habits
from ebbtide.explain.reference import abilities_of, count_abilities
from ebbtide.explain.rfm import SEGMENTS, fit_rfm
from ebbtide.features.encode import encode
from ebbtide.pipeline.dataset import Shards, known_events
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.train import newest_moment

_MOMENTS = 4
_LEAST_USERS = 30
_MOST_VALUES = 4
_TRAITS = {
    "country": Text("country {value}", "国家 {value}"),
    "channel": Text("channel {value}", "渠道 {value}"),
    "device": Text("device {value}", "设备 {value}"),
    "favourite_category": Text("favourite category {value}", "偏好类目 {value}"),
}
_SEGMENT = Text("segment: {name}", "分群：{name}")
_STAGE = Text("looking at past cohorts", "查看过去的人群")

_HEAD = Text(
    "{rows:,} customers asked about at {moments} past moments until {newest:%Y-%m-%d}; {rate:.1%} churned",
    "截至 {newest:%Y-%m-%d} 的 {moments} 个过去时点共 {rows:,} 人次；流失率 {rate:.1%}",
)
_WARNING = Text(
    "What goes with churn need not cause it. Excess: how much of the rate stands and falls with the difference.",
    "与流失相关不等于导致流失。超额：流失率中随该差异而存亡的部分。",
)
_BEHAVIOUR = Text("Who they are and what they do", "顾客特征与行为")
_SERVICE = Text(
    "Service, compared with those who had the same chance within {days:g} days",
    "服务，与 {days:g} 天内有同样机会的顾客相比",
)
_WHAT_IF = Text(
    "What the rate would be without it, among otherwise similar customers (an association)",
    "若没有该情况，其他方面相似的顾客的流失率（仅为关联）",
)
_COLUMNS = (
    Text("fact", "事实"),
    Text("customers", "人次"),
    Text("share", "占比"),
    Text("churned", "流失率"),
    Text("the rest", "其余"),
    Text("ratio", "比值"),
    Text("95 % interval", "95% 区间"),
    Text("excess", "超额"),
)
_IF_COLUMNS = (
    Text("without", "若没有"),
    Text("observed", "实际"),
    Text("rate", "流失率"),
    Text("95 % interval", "95% 区间"),
    Text("why not", "未给出的原因"),
)


@dataclass(frozen=True)
class Driver:
    """One fact with its association; `share` of `rows` of all who could have it."""

    code: str
    text: Text
    found: Association

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"code": self.code, "text": self.text.en, **asdict(self.found)}


@dataclass(frozen=True)
class WhatIf:
    """A service fact: the standardised rate, or why there is none."""

    code: str
    text: Text
    answer: Standardised | NoAnswer

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        known = isinstance(self.answer, Standardised)
        said = asdict(self.answer) if isinstance(self.answer, Standardised) else {}
        return {"code": self.code, "text": self.text.en, **said, "why_not": None if known else self.answer.value.en}  # type: ignore[union-attr]


@dataclass(frozen=True)
class DriversReport(Readable):
    """What goes with churn, the largest excess first; service in a table of its own."""

    moments: tuple[datetime, ...]
    rows: int
    rate: float
    window_days: float
    behaviour: tuple[Driver, ...]
    service: tuple[Driver, ...]
    what_if: tuple[WhatIf, ...]

    def sections(self) -> tuple[Section, ...]:
        """Two tables, the standardised rates, and the warning that association is no cause."""
        head = _HEAD.format(rows=self.rows, moments=len(self.moments), newest=self.moments[-1], rate=self.rate)
        return (
            Section(lines=(head, _WARNING)),
            Section(_BEHAVIOUR, columns=_COLUMNS, rows=tuple(_cells(d) for d in self.behaviour)),
            Section(_SERVICE.format(days=self.window_days), columns=_COLUMNS, rows=tuple(map(_cells, self.service))),
            Section(_WHAT_IF, columns=_IF_COLUMNS, rows=tuple(_if_cells(w) for w in self.what_if)),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "moments": [m.isoformat() for m in self.moments],
            "rows": self.rows,
            "rate": self.rate,
            "window_days": self.window_days,
            "behaviour": [d.to_json() for d in self.behaviour],
            "service": [d.to_json() for d in self.service],
            "what_if": [w.to_json() for w in self.what_if],
        }


def drivers(config: Config, root: Path, *, until: datetime | None = None, progress: Progress = silent) -> DriversReport:
    """What goes with churn, from outcomes known at `until` (default: the newest event). No bundle is needed.

    Raises DataError if no past moment is closed, MissingError without a lake.
    """
    lake, definition = Places(root).lake(), ChurnDefinition.from_config(config.churn)
    until = until or newest_moment(lake)
    first = lake.summary().first_occurred_us or 0
    moments = closed_moments(first, to_us(until), definition, _MOMENTS, step_us=definition.closing_us)
    if not moments:
        raise DataError(
            "no outcome is known yet: the first closed moment needs a horizon of history before and after it; wait, or ask"
            " for a shorter horizon",
            "还没有已知结果：首个已结束时点前后各需一个预测期的历史；请等待，或缩短预测期",
        )
    at = tuple(from_us(m) for m in moments)
    cohort, abilities = _cohort(lake, at, until, definition, config, progress)
    if not len(cohort):
        raise DataError(
            "nobody was eligible at any closed moment: check [churn] eligible",
            "任何已结束时点上都没有合格用户：请检查 [churn] eligible",
        )
    return _report(cohort, abilities, at, definition, config)


def _report(
    cohort: pl.DataFrame,
    abilities: frozenset[str],
    at: tuple[datetime, ...],
    definition: ChurnDefinition,
    config: Config,
) -> DriversReport:
    known = {c: f for c, f in BEHAVIOUR_FACTS.items() if not f.needs or f.needs in abilities}
    masks = {c: (f.text, cohort[c]) for c, f in known.items()} | _values(cohort)
    service = {c: f for c, f in SERVICE_FACTS.items() if f.needs in abilities}
    draws, seed = config.train.bootstrap, config.train.seed
    parts = [_driver(c, f.text, cohort.filter(pl.col(c).is_not_null()), c, draws, seed) for c, f in service.items()]
    return DriversReport(
        moments=at,
        rows=len(cohort),
        rate=float(cohort["y"].mean()),  # type: ignore[arg-type]
        window_days=2 * definition.horizon_days,
        behaviour=_ranked(_drivers(cohort, masks, draws, seed)),
        service=_ranked([d for d in parts if d is not None]),
        what_if=tuple(_what_if(c, f.text, cohort.filter(pl.col(c).is_not_null()), seed) for c, f in service.items()),
    )


def _cohort(
    lake: Shards,
    moments: tuple[datetime, ...],
    until: datetime,
    definition: ChurnDefinition,
    config: Config,
    progress: Progress,
) -> tuple[pl.DataFrame, frozenset[str]]:
    """The labelled cohorts of all moments with their facts, and what the log could tell at the newest of them."""
    parts: dict[datetime, list[pl.DataFrame]] = {m: [] for m in moments}
    counts = Counter[str]()
    buckets = lake.buckets()
    for done, bucket in enumerate(buckets):
        progress(_STAGE, done, len(buckets))
        shard = lake.read_bucket(bucket)
        for moment in moments:
            parts[moment].append(_asked(shard, moment, until, definition, config))
        counts += count_abilities(known_events(shard, moments[-1]), moments[-1])
    progress(_STAGE, len(buckets), len(buckets))
    whole = [_compared(pl.concat(found)) for found in parts.values() if sum(map(len, found))]
    cohort = pl.concat(whole) if whole else pl.DataFrame()
    return (cohort.sort("as_of", "user_id") if len(cohort) else cohort), abilities_of(counts)


def _asked(
    shard: pl.DataFrame, moment: datetime, until: datetime, definition: ChurnDefinition, config: Config
) -> pl.DataFrame:
    """Facts, habits and outcome of a shard's cohort at one moment."""
    known = known_events(shard, moment)
    members = cohort_at(known, moment, definition)
    labels = churn_labels(shard, members, as_of=moment, definition=definition, known_until=until)
    own = known.filter(pl.col("user_id").is_in(members["user_id"].implode()))
    return (
        driver_facts(own, moment, definition)
        .join(user_habits(encode(own, definition), config.shop.zone), on="user_id", how="left", maintain_order="left")
        .join(labels, on="user_id", how="inner", maintain_order="left")
        .with_columns(as_of=pl.lit(moment), y=pl.col("churned").cast(pl.Float64))
    )


def _compared(cohort: pl.DataFrame) -> pl.DataFrame:
    """The cohort of one moment with RFM segments and fifths among its own members."""
    rfm = fit_rfm(cohort)
    segment = rfm.scores(cohort)["segment"] if rfm else pl.Series("segment", [None] * len(cohort), pl.String)
    return with_fifths(cohort.with_columns(segment))


def _values(cohort: pl.DataFrame) -> dict[str, tuple[Text, pl.Series]]:
    """Facts from values: each RFM segment, and the most frequent values of each trait."""
    found = {f"segment={c}": (_SEGMENT.format(name=name), cohort["segment"] == c) for c, name in SEGMENTS.items()}
    for column, text in _TRAITS.items():
        counts = cohort[column].drop_nulls().value_counts().sort("count", column, descending=[True, False])
        for value in counts[column].head(_MOST_VALUES):
            found[f"{column}={value}"] = (text.format(value=value), cohort[column] == value)
    return found


def _drivers(cohort: pl.DataFrame, masks: dict[str, tuple[Text, pl.Series]], draws: int, seed: int) -> list[Driver]:
    kept = {c: (t, m.fill_null(False).to_numpy()) for c, (t, m) in masks.items()}
    kept = {c: (t, m) for c, (t, m) in kept.items() if min(m.sum(), len(m) - m.sum()) >= _LEAST_USERS}
    if not kept:
        return []
    facts = np.column_stack([m for _, m in kept.values()])
    found = associations(cohort["y"].to_numpy(), facts, cohort["user_id"].to_numpy(), draws=draws, seed=seed)
    return [Driver(code, text, a) for (code, (text, _)), a in zip(kept.items(), found, strict=True)]


def _driver(code: str, text: Text, asked: pl.DataFrame, column: str, draws: int, seed: int) -> Driver | None:
    found = _drivers(asked, {code: (text, asked[column])}, draws, seed)
    return found[0] if found else None


def _ranked(found: list[Driver]) -> tuple[Driver, ...]:
    return tuple(sorted(found, key=lambda d: (-(d.found.excess.value or 0.0), d.code)))


def _what_if(code: str, text: Text, asked: pl.DataFrame, seed: int) -> WhatIf:
    fact = asked[code].to_numpy().astype(np.bool_)
    users = asked["user_id"].to_numpy()
    return WhatIf(code, text, standardise(asked["y"].to_numpy(), fact, before_matrix(asked), users, seed=seed))


def _cells(driver: Driver) -> tuple[Any, ...]:
    a = driver.found
    rates = (None if r is None else f"{r:.1%}" for r in (a.rate, a.rest_rate))
    excess = None if a.excess.value is None else f"{a.excess.value:+.1%}"
    ratio = None if a.ratio.value is None else f"{a.ratio.value:.2f}"
    return (driver.text, a.rows, f"{a.share:.1%}", *rates, ratio, _span(a.ratio, ".2f"), excess)


def _if_cells(asked: WhatIf) -> tuple[Any, ...]:
    answer = asked.answer
    if isinstance(answer, NoAnswer):
        return (asked.text, None, None, None, answer.value)
    value = None if answer.without.value is None else f"{answer.without.value:.1%}"
    return (asked.text, f"{answer.observed:.1%}", value, _span(answer.without, ".1%"), None)


def _span(estimate: Estimate, form: str) -> str | None:
    if estimate.low is None or estimate.high is None:
        return None
    return f"{estimate.low:{form}} – {estimate.high:{form}}"
