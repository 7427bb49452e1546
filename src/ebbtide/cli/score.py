"""`ebbtide score`: the ranked list, to a file or to the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.reasons import wanted_reasons
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.pipeline.score import write_scores

app = make_app()

_WRITTEN = Text("written to {file}", "已写入 {file}")


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
        report = edge.workspace.score(as_of=as_of, reasons=wanted_reasons(reasons), bundle=bundle)
        if out:
            write_scores(report.ranked.scan(), out)
        edge.show(
            report,
            sections=report.sections(top),
            closing=_WRITTEN.format(file=out) if out else None,
            out=out,
            top=report.ranked.head(top).to_dicts(),
        )
