"""`ebbtide dead-letters ...`: what the stream refused and why, sent again once the reason is mended."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.serve.dead_letters import list_dead_letters, replay_dead_letters

app = make_app(Text("what the stream refused and why; send it again", "消息流拒绝了什么、原因为何；重新发送"))


@app.command("list", cls=Command, help=both("count the refused messages by reason", "按原因统计被拒消息"))
def list_(ctx: typer.Context) -> None:
    with edge_of(ctx) as edge:
        edge.show(list_dead_letters(edge.workspace.config.stream))


@app.command(
    cls=Command,
    help=both(
        "send refused messages to the topic again, as they first came, after the reason is mended",
        "修正原因之后，将被拒消息按原样重新发送到主题",
    ),
)
def replay(
    ctx: typer.Context,
    reason: Annotated[
        str | None, typer.Option(metavar="CODE", help=both("only this reason code", "仅此原因代码"))
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(replay_dead_letters(edge.workspace.config.stream, reason=reason))
