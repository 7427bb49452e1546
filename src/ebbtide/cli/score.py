"""`ebbtide score`: the ranked list, to a file or to the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.screen import Column, Screen, write_json
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.dashboard.numbers import money
from ebbtide.dashboard.words import BANDS
from ebbtide.pipeline.report import reason_lines
from ebbtide.pipeline.score import ReasonsFor, ScoreReport, write_scores

app = make_app()

_COLUMNS = (
    Column(Text("customer", "顾客")),
    Column(Text("churn probability", "流失概率"), figures=True),
    Column(Text("percentile", "百分位"), figures=True),
    Column(Text("band", "等级")),
    Column(Text("expected orders", "预计订单数"), figures=True),
    Column(Text("value at risk", "面临流失的价值"), figures=True),
    Column(Text("reasons", "原因")),
)
_SUMMARY = Text(
    "{users:,} customers as of {as_of:%Y-%m-%d}: {high:,} at high risk, {medium:,} medium, {low:,} low",
    "截至 {as_of:%Y-%m-%d} 共 {users:,} 位顾客：高风险 {high:,}，中风险 {medium:,}，低风险 {low:,}",
)
_WRITTEN = Text("written to {file}", "已写入 {file}")
_SHOWN_REASONS = 2
_REASONS: dict[str, ReasonsFor] = {"none": "none", "at-risk": "at_risk", "all": "all"}


@app.command(cls=Command)
def score(
    ctx: typer.Context,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help=both("moment of knowledge; otherwise the newest event", "知识时点；省略则取最新事件")
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=both("write the whole list: .parquet, .csv or .jsonl", "写出完整名单：.parquet、.csv 或 .jsonl"),
        ),
    ] = None,
    reasons: Annotated[
        str,
        typer.Option(
            metavar="none|at-risk|all",
            help=both(
                "whom to give reasons: nobody, the bands above low, everybody", "为谁给出原因：无人、低风险以上、所有人"
            ),
        ),
    ] = "at-risk",
    top: Annotated[int, typer.Option(min=0, metavar="N", help=both("rows to show", "显示的行数"))] = 20,
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=both("bundle to use; otherwise the current one", "使用的模型包；省略则取当前")
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        report = edge.workspace.score(as_of=as_of, reasons=_wanted(reasons), bundle=bundle)
        if out:
            write_scores(report.frame, out)
        if edge.flags.as_json:
            write_json(report.to_json() | {"out": out, "top": report.frame.head(top).to_dicts()})
        else:
            _draw(report, out, top, Screen(edge.language))


def _wanted(reasons: str) -> ReasonsFor:
    if reasons not in _REASONS:
        raise InputError("--reasons: none, at-risk or all", "--reasons：none、at-risk 或 all")
    return _REASONS[reasons]


def _draw(report: ScoreReport, out: Path | None, top: int, screen: Screen) -> None:
    screen.say(_SUMMARY.format(users=len(report), as_of=report.as_of, **report.bands()))
    if out:
        screen.say(_WRITTEN.format(file=out))
    rows = [_row(row, report.currency) for row in report.frame.head(top).iter_rows(named=True)]
    if rows:
        screen.table(_COLUMNS, rows)


def _row(row: dict[str, Any], currency: str) -> list[Any]:
    reasons = reason_lines(row["reasons"] or [])[:_SHOWN_REASONS]
    return [
        row["user_id"],
        f"{row['churn_probability']:.1%}",
        f"{row['percentile']:.1f}",
        BANDS[row["band"]],
        None if row["expected_orders"] is None else f"{row['expected_orders']:.2f}",
        money(row["value_at_risk"], currency),
        "\n".join(f"{'▲' if r.raises else '▼'} {r.text}" for r in reasons) or None,
    ]
