"""`ebbtide report`: one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text

app = make_app()

_WRITTEN = Text("written to {file}", "已写入 {file}")


@app.command(cls=Command)
def report(
    ctx: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=both(
                "where to write; otherwise report.html in the workspace", "写入位置；省略则为工作区的 report.html"
            ),
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
) -> None:
    with edge_of(ctx) as edge:
        page = edge.workspace.report(as_of=as_of, bundle=bundle)
        file = page.save(out or edge.workspace.path / "report.html")
        edge.show(page, closing=_WRITTEN.format(file=file), out=file)
