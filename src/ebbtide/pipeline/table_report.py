"""What the page of a table shows: the same page as a shop's, without what only events can tell."""

from __future__ import annotations

from datetime import datetime

from ebbtide.core.config import Config
from ebbtide.core.language import Text
from ebbtide.models.table_bundle import TableBundle
from ebbtide.pipeline import report_quality as quality
from ebbtide.pipeline.report import at_risk_user, band_totals, drivers_of, spread_of
from ebbtide.pipeline.report_data import ReportData
from ebbtide.pipeline.table_card import NO_TIME, TABLE_LIMITS, judged_words, members_words, question_words
from ebbtide.pipeline.table_data import LabelledTable
from ebbtide.pipeline.table_judge import Judged
from ebbtide.pipeline.table_score import TableScores

_TOP = 25
_TOGETHER = Text("several columns together", "多列共同作用")


def table_report(
    bundle: TableBundle, table: LabelledTable, judged: Judged, scores: TableScores, config: Config
) -> ReportData:
    """Everything on the page; the list and the drivers are those of the judged rows."""
    test, frame = bundle.metrics["test"], scores.frame
    made = datetime.fromisoformat(bundle.manifest["created_at"])
    bands = band_totals(frame, bundle.bands)
    newest = frame["as_of"].max()
    return ReportData(
        shop=config.shop.name,
        currency=bundle.currency,
        as_of=newest if isinstance(newest, datetime) else made,
        definition=question_words(bundle),
        model=bundle.id,
        users=len(scores),
        users_at_risk=bands[0].users,
        quality_index=test["quality"]["index"],
        advice=judged.test.quality.advice,
        bands=bands,
        distribution=spread_of(frame),
        top=tuple(at_risk_user(row) for row in frame.head(_TOP).iter_rows(named=True)),
        drivers=drivers_of(judged.terms, [*(Text(f.column, f.column) for f in table.fields), _TOGETHER]),
        gain=quality.gain_of(test),
        calibration=quality.calibration_of(test),
        metrics=quality.metrics_of(test),
        slices=quality.slices_of(test),
        retention_unit=Text("", ""),
        card=_card(bundle, table, made),
        is_table=True,
        notes=(*table.warnings, *table.notes),
    )


def _card(bundle: TableBundle, table: LabelledTable, made: datetime) -> tuple[tuple[Text, Text], ...]:
    timed = bool(bundle.question["time"])
    learnt = Text(
        f"{len(table):,} rows, {int(table.y.sum()):,} churned, {len(table.fields)} columns",
        f"{len(table):,} 行，{int(table.y.sum()):,} 行流失，{len(table.fields)} 列",
    )
    limits = TABLE_LIMITS if timed else (NO_TIME, *TABLE_LIMITS)
    moment = f"{made:%Y-%m-%d %H:%M} UTC"
    return (
        (Text("Learnt from", "训练数据"), learnt),
        (Text("Judged on", "检验方式"), judged_words(timed=timed)),
        (Text("Models and weights", "模型与权重"), members_words(bundle)),
        (Text("Made", "生成时间"), Text(moment, moment)),
        (
            Text("What it does not say", "它不说明什么"),
            Text(" ".join(t.en for t in limits), "".join(t.zh for t in limits)),
        ),
    )
