"""`ebbtide plan`: one action a customer, or none, within a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.pipeline.score import write_scores

app = make_app()

_WRITTEN = Text(
    "written to {file}; measure what it does: `ebbtide campaign start NAME --plan {file}`",
    "已写入 {file}；可测量其效果：`ebbtide campaign start NAME --plan {file}`",
)


@app.command(cls=Command)
def plan(
    ctx: typer.Context,
    budget: Annotated[
        float, typer.Option(metavar="MONEY", help=both("most that the actions may cost", "动作成本上限"))
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=both("write the whole plan: .parquet, .csv or .jsonl", "写出完整计划：.parquet、.csv 或 .jsonl"),
        ),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help=both("moment of knowledge; otherwise the newest event", "知识时点；省略则取最新事件")
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=both("bundle to use; otherwise the current one", "使用的模型包；省略则取当前")
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=0, metavar="N", help=both("rows to show", "显示的行数"))] = 20,
) -> None:
    with edge_of(ctx) as edge:
        report = edge.workspace.plan(budget=budget, as_of=as_of, bundle=bundle)
        if out:
            write_scores(report.frame, out)
        edge.show(
            report,
            sections=report.sections(top),
            closing=_WRITTEN.format(file=out) if out else None,
            out=out,
            top=report.treated.head(top).to_dicts(),
        )
