"""`ebbtide check`: data quality, the churn question in words, base rates over time, and whether the data suffice."""

from __future__ import annotations

import typer

from ebbtide.cli.command import Command, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import SufficiencyError

app = make_app()


@app.command(cls=Command)
def check(ctx: typer.Context) -> None:
    with edge_of(ctx) as edge:
        report = edge.workspace.check()
        edge.show(report)
    if report.sufficiency.level == "fail":
        raise typer.Exit(SufficiencyError.exit_code)
