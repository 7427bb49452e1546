"""`ebbtide doctor`: is everything in order for the commands and the service, and what to do where it is not."""

from __future__ import annotations

import typer

from ebbtide.cli.command import Command, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import MissingError

app = make_app()


@app.command(cls=Command)
def doctor(ctx: typer.Context) -> None:
    with edge_of(ctx) as edge:
        found = edge.workspace.doctor()
        edge.show(found)
    if found.state == "failed":
        raise typer.Exit(MissingError.exit_code)
