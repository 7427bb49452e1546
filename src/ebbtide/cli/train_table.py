"""`ebbtide train-table`: a ready-made labelled table to a model, a list and a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text

app = make_app()

_WRITTEN = Text(
    "model, scores.csv, scores.parquet and report.html are in {folder}",
    "模型、scores.csv、scores.parquet 和 report.html 位于 {folder}",
)


@app.command(cls=Command)
def train_table(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help=both("CSV, Parquet or JSON lines", "CSV、Parquet 或 JSON 行"))
    ],
    label: Annotated[str, typer.Option(metavar="COL", help=both("column that says who churned", "表示是否流失的列"))],
    id: Annotated[
        str | None, typer.Option(metavar="COL", help=both("column that names the customer", "标识顾客的列"))
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            help=both(
                "column of each row's time: learn from the past, test on the newest",
                "各行时间所在的列：学习过去，在最新行上检验",
            ),
        ),
    ] = None,
    horizon: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help=both("how long after its time a row's label is known", "各行时间之后多久标签才可知"),
        ),
    ] = "0d",
    positive: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help=both("the label's value that means churned", "标签中表示流失的值")),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="COL", help=both("a column not to learn from; may be repeated", "不参与学习的列；可重复")),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=both("auto or one model", "auto 或单个模型")),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help=both("where to write; otherwise NAME-model", "写入的文件夹；省略则为 NAME-model")
        ),
    ] = None,
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
        done = edge.workspace.train_table(
            file,
            label=label,
            id=id,
            time=time,
            model=model,
            out=out,
            positive=positive,
            horizon=horizon,
            drop=drop or (),
            encoding=encoding,
        )
        edge.show(done, closing=_WRITTEN.format(folder=done.folder))
