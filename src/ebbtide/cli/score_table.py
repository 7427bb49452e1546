"""`ebbtide score-table`: the ranked list of a table's rows, to a file or to the terminal."""

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
def score_table(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help=both("CSV, Parquet or JSON lines", "CSV、Parquet 或 JSON 行"))
    ],
    model: Annotated[
        Path, typer.Option(metavar="FOLDER", help=both("what train-table wrote", "train-table 写出的文件夹"))
    ],
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
    encoding: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=both(
                "encoding of a text file, e.g. cp1252; otherwise UTF-8 or a guess",
                "文本文件的编码，如 gb18030；省略则为 UTF-8 或自动推测",
            ),
        ),
    ] = "",
) -> None:
    with edge_of(ctx) as edge:
        report = edge.workspace.score_table(file, model=model, reasons=wanted_reasons(reasons), encoding=encoding)
        if out:
            write_scores(report.ranked.scan(), out)
        edge.show(
            report,
            sections=report.sections(top),
            closing=_WRITTEN.format(file=out) if out else None,
            out=out,
            top=report.ranked.head(top).to_dicts(),
        )
