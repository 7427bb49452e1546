"""`ebbtide profile USER`: one customer's stage, segment, outlook, habits, changes and reasons."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of

app = make_app()


@app.command(cls=Command)
def profile(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help=both("user_id, as text", "user_id，按文本"))],
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
        edge.show(edge.workspace.profile(user, as_of=as_of, bundle=bundle))
