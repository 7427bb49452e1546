"""`ebbtide recommend [USER]`: what to show one customer, or everybody, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.pipeline.recommend import write_recommendations

app = make_app()

_WRITTEN = Text("written to {file}", "已写入 {file}")


@app.command(cls=Command)
def recommend(
    ctx: typer.Context,
    user: Annotated[
        str | None,
        typer.Argument(
            metavar="[USER]", help=both("user_id, as text; otherwise everybody", "user_id，按文本；省略则为所有人")
        ),
    ] = None,
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
            help=both("write all lists: .parquet, .csv or .jsonl", "写出全部推荐：.parquet、.csv 或 .jsonl"),
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            metavar="N",
            help=both("items a list; otherwise [recommend] count", "每份商品数；省略则取 [recommend] count"),
        ),
    ] = None,
    without: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=both(
                "item ids, one a line, not to show, for example sold out ones",
                "不展示的商品 id，每行一个，例如售罄商品",
            ),
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh/--kept",
            help=both("fit anew; otherwise use the kept one if it serves", "重新学习；省略则沿用可用的已存推荐器"),
        ),
    ] = False,
    top: Annotated[int, typer.Option(min=0, metavar="N", help=both("rows to show", "显示的行数"))] = 20,
) -> None:
    with edge_of(ctx) as edge:
        lists = edge.workspace.recommend(user, as_of=as_of, count=count, without=without, fresh=fresh)
        if out:
            write_recommendations(lists, out, edge.language)
        edge.show(
            lists,
            sections=lists.sections(top),
            closing=_WRITTEN.format(file=out) if out else None,
            out=out,
        )
