"""`segments`: how large stages, RFM segments and groups are, their risk and value, and the flow between two dates."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.churn.definition import ChurnDefinition, name_span
from ebbtide.churn.event_words import name_events, name_one_event
from ebbtide.churn.labels import churn_labels
from ebbtide.core.config import Config
from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import to_us
from ebbtide.explain.flow import UNKNOWN, Flow, flow_between
from ebbtide.explain.rfm import SEGMENTS
from ebbtide.explain.stages import STAGE_RULES, STAGES
from ebbtide.pipeline.dataset import LABEL_COLUMNS, Shards
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.profile_reference import survey_reference
from ebbtide.pipeline.profiles import profile_everybody, reference_of
from ebbtide.pipeline.train import newest_moment

_TITLES = {
    "stage": Text("Stages", "阶段"),
    "segment": Text("RFM segments", "RFM 分群"),
    "cluster": Text("Groups of alike behaviour", "行为相似的群"),
}
_COLUMNS = (
    Text("name", "名称"),
    Text("customers", "顾客数"),
    Text("share", "占比"),
    Text("mean churn probability", "平均流失概率"),
    Text("churned since", "其后实际流失"),
    Text("probability of coming back", "回归概率"),
    Text("spent", "累计金额"),
    Text("expected in a year", "一年预计金额"),
    Text("value at risk", "面临流失的价值"),
)
_HEAD = Text("{users:,} customers known as of {as_of:%Y-%m-%d}", "截至 {as_of:%Y-%m-%d} 已知 {users:,} 位顾客")
_FLOW = Text(
    "From {before:%Y-%m-%d} (rows) to {after:%Y-%m-%d} (columns)", "从 {before:%Y-%m-%d}（行）到 {after:%Y-%m-%d}（列）"
)
_NEW_HERE = Text("not known yet", "尚未知晓")


@dataclass(frozen=True)
class SegmentRow:
    """One stage, segment or group. Shares are of all known users; sums are null where nobody's is known;
    `churned` is the share of those eligible who churned afterwards, null where the outcome window is still open."""

    kind: str
    code: str
    name: Text
    users: int
    share: float
    churn_probability: float | None
    churned: float | None
    comeback_probability: float | None
    spent: float | None
    expected_value_year: float | None
    value_at_risk: float | None


@dataclass(frozen=True)
class SegmentsReport(Readable):
    """All of them at one moment; `flow` None unless two moments were asked about."""

    as_of: datetime
    users: int
    definition: ChurnDefinition
    silence_factor: float
    rows: tuple[SegmentRow, ...]
    flow: Flow | None

    def sections(self) -> tuple[Section, ...]:
        """The rules of the stages, a table a kind, and the flow."""
        rules = tuple(STAGES[s] + Text(": ", "：") + rule for s, rule in self.rules().items())
        head = Section(lines=(_HEAD.format(users=self.users, as_of=self.as_of), *rules))
        tables = [
            Section(title, columns=_COLUMNS, rows=tuple(_cells(r) for r in self.rows if r.kind == kind))
            for kind, title in _TITLES.items()
        ]
        return (head, *tables, *([_flow_section(self.flow)] if self.flow else []))

    def rules(self) -> dict[str, Text]:
        """Each stage's rule in words, for this shop's question."""
        d = self.definition
        said = {
            "horizon": name_span(d.horizon_days),
            "eligible": name_span(d.eligible_days),
            "factor": self.silence_factor,
        }
        return {code: rule.format(outcome=_outcome(code, d), **said) for code, rule in STAGE_RULES.items()}

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "as_of": self.as_of.isoformat(),
            "users": self.users,
            "rules": {code: rule.en for code, rule in self.rules().items()},
            "rows": [asdict(r) | {"name": r.name.en} for r in self.rows],
            "flow": self.flow and self.flow.to_json(),
        }


def segments(
    config: Config,
    root: Path,
    *,
    as_of: datetime | None = None,
    against: datetime | None = None,
    bundle: str | None = None,
    progress: Progress = silent,
) -> SegmentsReport:
    """Stages, segments and groups at `as_of` (default: the newest event), and what moved since `against`.

    Raises InputError unless `against` is earlier than `as_of`, MissingBundleError without a trained bundle.
    """
    places = Places(root)
    loaded, lake = places.shelf().load(bundle), places.lake()
    newest = newest_moment(lake)
    as_of = as_of or newest
    if against is not None and against >= as_of:
        raise InputError(
            "--against must be earlier than {as_of:%Y-%m-%d %H:%M} UTC, the moment that is looked at",
            "--against 必须早于所考察的时点 {as_of:%Y-%m-%d %H:%M} UTC",
            as_of=as_of,
        )
    reference = reference_of(loaded) or survey_reference(lake, loaded.definition, as_of, config, progress)
    fixed = loaded.with_profiles(reference.to_json())
    now = profile_everybody(lake, as_of, fixed, config, progress)
    labelled = now.join(outcomes(lake, now, as_of, newest, loaded.definition), on="user_id", how="left")
    names = dict(enumerate(reference.clusters.names(), 1)) if reference.clusters else {}
    rows = [
        *(_row(labelled, "stage", code, code, name) for code, name in STAGES.items()),
        *(_row(labelled, "segment", code, code, name) for code, name in SEGMENTS.items()),
        *(_row(labelled, "cluster", number, str(number), name) for number, name in names.items()),
    ]
    flow = None
    if against is not None:
        then = profile_everybody(lake, against, fixed, config, progress)
        flow = flow_between(then, now, STAGES, against, as_of)
    return SegmentsReport(as_of, len(now), loaded.definition, config.profiles.silence_factor, tuple(rows), flow)


def outcomes(
    lake: Shards, users: pl.DataFrame, as_of: datetime, known_until: datetime, definition: ChurnDefinition
) -> pl.DataFrame:
    """user_id, churned of the eligible among some users; no row where the outcome window is still open.

    Columns in: user_id, eligible.
    """
    empty = pl.DataFrame(schema={"user_id": pl.String(), "churned": pl.Boolean()})
    if to_us(as_of) + definition.closing_us > to_us(known_until):
        return empty
    asked = users.filter("eligible").select("user_id")
    parts = [empty]
    for bucket in lake.buckets():
        shard = lake.read_bucket(bucket, LABEL_COLUMNS)
        own = asked.filter(pl.col("user_id").is_in(shard["user_id"].unique().implode()))
        parts.append(churn_labels(shard, own, as_of=as_of, definition=definition, known_until=known_until))
    return pl.concat(parts)


def _outcome(code: str, definition: ChurnDefinition) -> Text:
    one = code == "won_back"
    return name_one_event(definition.outcome) if one else name_events(definition.outcome)


def _row(frame: pl.DataFrame, kind: str, value: str | int, code: str, name: Text) -> SegmentRow:
    own = frame.filter(pl.col(kind) == value)
    return SegmentRow(
        kind=kind,
        code=code,
        name=name,
        users=len(own),
        share=len(own) / max(len(frame), 1),
        churn_probability=_mean(own["churn_probability"]),
        churned=_mean(own["churned"]),
        comeback_probability=_mean(own["comeback_probability"]),
        spent=_sum(own["spent"]),
        expected_value_year=_sum(own["expected_value_year"]),
        value_at_risk=_sum(own["value_at_risk"]),
    )


def _mean(values: pl.Series) -> float | None:
    return float(values.cast(pl.Float64).mean()) if values.count() else None  # type: ignore[arg-type]


def _sum(values: pl.Series) -> float | None:
    return float(values.sum()) if values.count() else None


def _cells(row: SegmentRow) -> tuple[Any, ...]:
    shares = (row.churn_probability, row.churned, row.comeback_probability)
    sums = (row.spent, row.expected_value_year, row.value_at_risk)
    said = tuple(None if s is None else f"{s:.1%}" for s in shares)
    return (row.name, row.users, f"{row.share:.1%}", *said, *(None if s is None else f"{s:,.0f}" for s in sums))


def _flow_section(flow: Flow) -> Section:
    columns = (Text("", ""), *STAGES.values())
    names = STAGES | {UNKNOWN: _NEW_HERE}
    rows = tuple((names[then], *now.values()) for then, now in flow.users.items())
    return Section(_FLOW.format(before=flow.before, after=flow.after), columns=columns, rows=rows)
