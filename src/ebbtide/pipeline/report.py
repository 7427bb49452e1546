"""`report`: everything that the page shows, gathered as of one moment.

The list and the figures come from the use cases that made them; one pass over the lake adds what only the events can
tell: data health, retention, survival. Nothing later than `as_of` is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.churn.retention import RetentionTable, Unit, count_retention, retention_table
from ebbtide.churn.spells import Spells, count_lifetimes, no_spells
from ebbtide.churn.survival import survival_curve
from ebbtide.core.config import Config
from ebbtide.core.ids import sampled_users
from ebbtide.core.language import Language, Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.settings import BandsConfig
from ebbtide.core.windows import DAY_US, from_us
from ebbtide.events.capabilities import CAPABILITIES
from ebbtide.events.lake import Lake
from ebbtide.events.validate import Reason
from ebbtide.explain.families import families_of, family_names
from ebbtide.features.families import FAMILIES
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline import report_quality as quality
from ebbtide.pipeline.check_facts import LogFacts
from ebbtide.pipeline.check_findings import find_oddities
from ebbtide.pipeline.dataset import known_events
from ebbtide.pipeline.ingest import IngestReport, ingested
from ebbtide.pipeline.listing import reason_lines
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.report_data import (
    AtRiskUser,
    BandTotal,
    CurvePoint,
    DataHealth,
    Driver,
    Histogram,
    Interval,
    ReportData,
    RetentionRow,
    SourceCount,
)
from ebbtide.pipeline.score import ScoreReport, score, score_members

EDGES: NDArray[np.float64] = np.linspace(0, 1, 21)
DRIVER_USERS = 2000
_COHORTS, _PERIODS, _CURVE_POINTS = 12, 13, 120
_MONTHS_FROM_DAYS = 120
_STAGE = Text("reading the history", "读取历史")


def collect_report(
    config: Config,
    root: Path,
    *,
    as_of: datetime | None = None,
    bundle: str | None = None,
    top: int = 25,
    language: Language | None = None,
    progress: Progress = silent,
) -> ReportData:
    """All that a report shows at `as_of` (default: the newest event).

    Raises MissingBundleError without a trained bundle, MissingError without a lake.
    """
    words = language or config.shop.language
    listed = score(config, root, as_of=as_of, bundle=bundle, language=words, progress=progress)
    places = Places(root)
    loaded, lake = places.shelf().load(listed.bundle), places.lake()
    seen = _look_back(lake, loaded, listed, config, progress)
    test = loaded.metrics["test"]
    tested_at = loaded.metrics["tested_at"]
    bands = band_totals(listed.frame, loaded.config.bands)
    return ReportData(
        shop=config.shop.name,
        currency=config.shop.currency,
        as_of=listed.as_of,
        definition=loaded.definition.describe(),
        model=loaded.id,
        users=len(listed),
        users_at_risk=bands[0].users,
        quality_index=test["quality"]["index"] if test else None,
        advice=Text(**test["quality"]["advice"]) if test else _UNJUDGED,
        bands=bands,
        distribution=spread_of(listed.frame),
        top=tuple(at_risk_user(row) for row in listed.frame.head(top).iter_rows(named=True)),
        health=_health(seen.facts, ingested(root)),
        drivers=_drivers(seen, loaded),
        gain=quality.gain_of(test),
        calibration=quality.calibration_of(test),
        metrics=quality.metrics_of(test),
        tested_at=datetime.fromisoformat(tested_at) if tested_at else None,
        backtest=quality.backtest_of(loaded.metrics["backtest"]),
        retention=_retention(seen.retention(listed.as_of, config)),
        retention_unit=_UNITS[seen.unit],
        survival=_survival(seen.lifetimes),
        silence_days=loaded.definition.eligible_days,
        slices=quality.slices_of(test),
        card=quality.card_of(loaded),
    )


_UNITS: dict[Unit, Text] = {"month": Text("month", "月"), "week": Text("week", "周")}
_UNJUDGED = Text(
    "not judged: the history is too short to test the model at a past moment",
    "未评估：历史太短，无法在过去时点检验模型",
)


@dataclass
class _Seen:
    """What one pass over the lake adds up to; `terms` (M, K) are the families' contributions of sampled users."""

    unit: Unit
    facts: LogFacts = field(default_factory=LogFacts)
    cells: list[pl.DataFrame] = field(default_factory=list)
    lifetimes: Spells = field(default_factory=no_spells)
    terms: list[NDArray[np.float64]] = field(default_factory=list)

    def retention(self, until: datetime, config: Config) -> RetentionTable:
        """The cohorts of all shards."""
        return retention_table(self.cells, until, self.unit, config.shop.zone)


def _look_back(lake: Lake, bundle: Bundle, listed: ScoreReport, config: Config, progress: Progress) -> _Seen:
    as_of, definition = listed.as_of, bundle.definition
    started = lake.summary().first_occurred_us or 0
    long = (as_of - from_us(started)).days > _MONTHS_FROM_DAYS
    seen = _Seen("month" if long else "week")
    share = min(1.0, DRIVER_USERS / max(len(listed), 1))
    buckets = lake.buckets()
    for done, bucket in enumerate(buckets):
        progress(_STAGE, done, len(buckets))
        known = known_events(lake.read_bucket(bucket), as_of)
        outcomes = known.filter(definition.is_outcome())
        seen.facts.add(known, definition)
        seen.cells.append(count_retention(outcomes, as_of, seen.unit, config.shop.zone))
        seen.lifetimes += count_lifetimes(outcomes, as_of, definition.eligible_days)
        sample = known.filter(pl.Series(sampled_users(known["user_id"], share, seed=0)))
        seen.terms.append(_family_terms(sample, as_of, bundle))
    progress(_STAGE, len(buckets), len(buckets))
    return seen


def _family_terms(events: pl.DataFrame, as_of: datetime, bundle: Bundle) -> NDArray[np.float64]:
    members = score_members(events, as_of, bundle)
    terms = bundle.calibration.apply_to_contributions(bundle.stack.contributions(members.X))
    return families_of(terms, bundle.columns)


def _drivers(seen: _Seen, bundle: Bundle) -> tuple[Driver, ...]:
    terms = np.concatenate(seen.terms) if seen.terms else np.zeros((0, 0))
    return drivers_of(terms, [FAMILIES[n] for n in family_names(bundle.columns)])


def drivers_of(terms: NDArray[np.float64], families: Sequence[Text]) -> tuple[Driver, ...]:
    """The families by their mean size over the explained users; `terms` (M, K) are their contributions."""
    if not len(terms):
        return ()
    size, raising = np.abs(terms).mean(0).tolist(), (terms > 0).mean(0).tolist()
    found = [Driver(f, s, r) for f, s, r in zip(families, size, raising, strict=True) if s > 0]
    return tuple(sorted(found, key=lambda d: -d.mean_size))


def band_totals(frame: pl.DataFrame, bands: BandsConfig) -> tuple[BandTotal, ...]:
    """Who and what is in each band of a scored list, high first."""
    limits = {"high": bands.high, "medium": bands.medium, "low": 0.0}
    has_money = frame["value_at_risk"].is_not_null().any()
    parts = {name: frame.filter(pl.col("band") == name) for name in limits}
    return tuple(
        BandTotal(
            name=name,
            limit=limit,
            users=len(parts[name]),
            expected_churners=float(parts[name]["churn_probability"].sum()),
            value_at_risk=float(parts[name]["value_at_risk"].sum()) if has_money else None,
        )
        for name, limit in limits.items()
    )


def spread_of(frame: pl.DataFrame) -> Histogram:
    """How the probabilities of a scored list are spread."""
    counts, _ = np.histogram(frame["churn_probability"].to_numpy(), EDGES)
    return Histogram(tuple(EDGES.round(2).tolist()), tuple(counts.tolist()))


def at_risk_user(row: dict[str, Any]) -> AtRiskUser:
    """One row of a scored list as the page shows it."""
    return AtRiskUser(
        user_id=row["user_id"],
        churn_probability=row["churn_probability"],
        percentile=row["percentile"],
        band=row["band"],
        expected_orders=row["expected_orders"],
        value_at_risk=row["value_at_risk"],
        reasons=reason_lines(row["reasons"] or []),
    )


def _health(facts: LogFacts, rows: IngestReport) -> DataHealth:
    rejected = {reason: sum(counts[reason.value] for counts in rows.reasons.values()) for reason in Reason}
    findings = find_oddities(facts, {reason.value: count for reason, count in rejected.items() if count})
    return DataHealth(
        events=facts.events,
        users=facts.users,
        first=from_us(facts.first_day * DAY_US),
        last=from_us(facts.last_day * DAY_US),
        sources=tuple(SourceCount(name, **vars(counts)) for name, counts in rows.sources.items()),
        quarantine=tuple((reason.text, count) for reason, count in rejected.items() if count),
        capabilities=tuple(c for c in CAPABILITIES if c in facts.capabilities),
        missing=tuple(c for c in CAPABILITIES if c not in facts.capabilities),
        warnings=tuple(finding.text for finding in findings),
    )


def _retention(table: RetentionTable) -> tuple[RetentionRow, ...]:
    """The newest cohorts; columns are the periods that are over for the oldest of them."""
    rows = table.rows[-_COHORTS:]
    over = max((sum(share is not None for share in row.shares) for row in rows), default=0)
    width = min(_PERIODS, over)
    label = "%Y-%m" if table.unit == "month" else "%Y-%m-%d"
    return tuple(
        RetentionRow(f"{row.start:{label}}", row.users, (*row.shares[:width], *[None] * (width - len(row.shares))))
        for row in rows
    )


def _survival(lifetimes: Spells) -> tuple[CurvePoint, ...]:
    """The curve from day 0, thinned to what a page can show."""
    curve = survival_curve(lifetimes)
    steps = [(0, 1.0, 1.0, 1.0), *zip(curve.days, curve.share, curve.low, curve.high, strict=True)]
    if len(steps) < 2:
        return ()
    kept = np.unique(np.linspace(0, len(steps) - 1, min(_CURVE_POINTS, len(steps))).astype(int))
    return tuple(CurvePoint(float(d), Interval(s, low, high)) for d, s, low, high in (steps[i] for i in kept))
