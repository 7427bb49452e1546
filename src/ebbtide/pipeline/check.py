"""`check`: what the log holds, what looks odd, what the churn definition means on it, and whether it can be learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.churn.advice import DefinitionAdvice, advise_shards
from ebbtide.churn.cutoffs import closed_moments
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.churn.labels import labelled_cohorts
from ebbtide.churn.sufficiency import MAX_MOMENTS, Sufficiency, first_known_us, judge_sufficiency
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import from_us, to_us
from ebbtide.evaluation.intervals import wilson
from ebbtide.events.capabilities import CAPABILITIES
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.pipeline.check_facts import LogFacts
from ebbtide.pipeline.check_findings import Finding, find_oddities
from ebbtide.pipeline.check_sections import sections
from ebbtide.pipeline.dataset import LABEL_COLUMNS, Shards
from ebbtide.pipeline.ingest import IngestReport, ingested
from ebbtide.pipeline.places import Places


@dataclass(frozen=True)
class BaseRate:
    """The cohort of one closed moment: users asked about, how many churned, their share with its 95 % interval."""

    as_of: datetime
    users: int
    churned: int
    rate: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return vars(self) | {"as_of": self.as_of.isoformat()}


@dataclass(frozen=True)
class CheckReport(Readable):
    """The answer of `check`. `rows`: the account of all ingests so far. `until`: when the newest event was known; the question is judged on what was known then."""

    until: datetime
    definition: ChurnDefinition
    facts: LogFacts
    rows: IngestReport
    findings: tuple[Finding, ...]
    base_rates: tuple[BaseRate, ...]
    advice: DefinitionAdvice
    sufficiency: Sufficiency

    @property
    def missing(self) -> tuple[str, ...]:
        """Capabilities that the log does not support."""
        return tuple(c for c in CAPABILITIES if c not in self.facts.capabilities)

    def sections(self) -> tuple[Section, ...]:
        """The report in the order in which a person reads it."""
        return sections(self)

    def to_json(self) -> dict[str, Any]:
        """One JSON-safe object; texts in both languages."""
        facts = self.facts
        return {
            "until": self.until.isoformat(),
            "events": facts.events,
            "users": facts.users,
            "types": facts.by_type,
            "months": [{"month": m, **counts} for m, counts in facts.by_month.items()],
            "filled": {c: facts.filled(c) for c in EVENT_COLUMNS},
            "filled_in_orders": {c: facts.filled_in_orders(c) for c in EVENT_COLUMNS},
            "capabilities": [c for c in CAPABILITIES if c in facts.capabilities],
            "missing": list(self.missing),
            "rows": self.rows.to_json(),
            "rejected": dict(rejected_rows(self.rows)),
            "findings": [f.to_json() for f in self.findings],
            "definition": self.definition.to_json() | _both(self.definition.describe()),
            "base_rates": [b.to_json() for b in self.base_rates],
            "advice": self.advice.to_json(),
            "sufficiency": self.sufficiency.to_json(),
        }


def check(config: Config, root: Path, *, progress: Progress = silent, strict: bool = False) -> CheckReport:
    """Check the workspace at `root`.

    Raises MissingError if nothing was ingested, DataError if the lake is empty and, when `strict`, SufficiencyError
    if the data do not suffice for the question.
    """
    report = check_shards(Places(root).lake(), config, rows=ingested(root), progress=progress)
    if strict:
        report.sufficiency.check()
    return report


def check_shards(
    lake: Shards, config: Config, *, rows: IngestReport | None = None, progress: Progress = silent
) -> CheckReport:
    """`check` over anything that hands out shards, `rows` being the account of how they came in; memory is bounded by
    the largest shard."""
    rows = rows or IngestReport()
    definition = ChurnDefinition.from_config(config.churn)
    facts, last = _survey(lake, definition, progress)
    if last is None:
        raise DataError("the lake holds no events: run `ebbtide ingest`", "数据湖中没有事件：请运行 `ebbtide ingest`")
    until = from_us(last)

    def shards() -> Iterator[pl.DataFrame]:
        return (lake.read_bucket(b, LABEL_COLUMNS) for b in lake.buckets())

    steps = Text("asking the churn question", "检验流失问题")
    progress(steps, 0, 3)
    rates = _base_rates(shards(), first_known_us(shards(), definition, until=until), definition, until)
    progress(steps, 1, 3)
    sufficiency = judge_sufficiency(shards, definition, until=until)
    progress(steps, 2, 3)
    advice = advise_shards(shards, until, outcome=definition.outcome)
    progress(steps, 3, 3)
    findings = find_oddities(facts, rejected_rows(rows))
    return CheckReport(until, definition, facts, rows, findings, rates, advice, sufficiency)


def rejected_rows(rows: IngestReport) -> Counter[str]:
    """Rows that were put into the quarantine by reason code, over all sources; corrected ones are still counted."""
    return sum((Counter(reasons) for reasons in rows.reasons.values()), Counter())


def _survey(lake: Shards, definition: ChurnDefinition, progress: Progress) -> tuple[LogFacts, int | None]:
    """The facts of the whole lake, and when its newest event was known."""
    facts, last = LogFacts(), list[int]()
    buckets = lake.buckets()
    stage = Text("looking at events", "查看事件")
    for done, bucket in enumerate(buckets):
        progress(stage, done, len(buckets))
        shard = lake.read_bucket(bucket)
        facts.add(shard, definition)
        if len(shard):
            last.append(to_us(shard.select(pl.col("ingested_at").max()).item()))
    progress(stage, len(buckets), len(buckets))
    return facts, max(last, default=None)


def _base_rates(
    shards: Iterator[pl.DataFrame], first: int | None, definition: ChurnDefinition, until: datetime
) -> tuple[BaseRate, ...]:
    """The share that churned at each closed moment, one horizon apart, oldest first; without empty cohorts."""
    if first is None:
        return ()
    moments = [from_us(m) for m in closed_moments(first, to_us(until), definition, MAX_MOMENTS)]
    users: Counter[datetime] = Counter()
    churned: Counter[datetime] = Counter()
    for shard in shards:
        labelled = labelled_cohorts(shard, moments, definition, known_until=until)
        counted = labelled.group_by("as_of").agg(users=pl.len(), churned=pl.col("churned").sum())
        for as_of, asked, gone in counted.iter_rows():
            users[as_of] += asked
            churned[as_of] += gone
    return tuple(
        BaseRate(m, users[m], churned[m], churned[m] / users[m], *wilson(churned[m], users[m]))
        for m in moments
        if users[m]
    )


def _both(text: Text) -> dict[str, str]:
    return {"en": text.en, "zh": text.zh}
