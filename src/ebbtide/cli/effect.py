"""`ebbtide effect`: what one campaign changed, or all of them beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import InputError

app = make_app()


@app.command(cls=Command)
def effect(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help=both("campaign; otherwise all", "活动；省略则全部"))
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=both(
                "what another choice of actions would have brought: user_id, action, perhaps propensity",
                "另一种动作选择会带来什么：文件含 user_id、action，可含 propensity",
            ),
        ),
    ] = None,
) -> None:
    if policy is not None and name is None:
        raise InputError("--policy needs the campaign to judge it on", "--policy 需要指明在哪个活动上评估")
    with edge_of(ctx) as edge:
        if name is None:
            edge.show(edge.workspace.effects())
        elif policy is not None:
            edge.show(edge.workspace.policy_effect(name, policy))
        else:
            edge.show(edge.workspace.effect(name))
