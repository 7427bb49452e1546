"""`ebbtide check`: data quality, the churn question in words, base rates over time, and whether the data suffice."""

from __future__ import annotations

import typer

from ebbtide.cli.command import Command, make_app
from ebbtide.cli.screen import Column, Screen
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import SufficiencyError
from ebbtide.pipeline.check import CheckReport
from ebbtide.pipeline.check_sections import Section, sections

app = make_app()


@app.command(cls=Command)
def check(ctx: typer.Context) -> None:
    with edge_of(ctx) as edge:
        report = edge.workspace.check()
        edge.show(report, _draw)
    if report.sufficiency.level == "fail":
        raise typer.Exit(SufficiencyError.exit_code)


def _draw(report: CheckReport, screen: Screen) -> None:
    for section in sections(report):
        screen.say(section.title, "bold")
        for line in section.lines:
            screen.say(line)
        if section.rows:
            screen.table(_columns(section), section.rows)
        screen.say("")


def _columns(section: Section) -> list[Column]:
    """Columns of figures stand right: those whose first cell is a number."""
    return [
        Column(title, figures=isinstance(cell, int | float))
        for title, cell in zip(section.columns, section.rows[0], strict=True)
    ]
