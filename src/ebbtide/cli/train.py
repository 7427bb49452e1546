"""`ebbtide train`: a calibrated model with figures from moments that it had not seen."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.screen import Column, Screen
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.pipeline.train import TrainReport
from ebbtide.pipeline.verdict import PastMoment

app = make_app()

PAST_COLUMNS = (
    Column(Text("as of", "时点")),
    Column(Text("users", "用户数"), figures=True),
    Column(Text("churned", "流失率"), figures=True),
    Column(Text("predicted", "预测流失率"), figures=True),
    Column(Text("AUROC", "AUROC"), figures=True),
    Column(Text("95 % interval", "95% 区间"), figures=True),
    Column(Text("calibration error", "校准误差"), figures=True),
)


@app.command(cls=Command)
def train(
    ctx: typer.Context,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=both("use only what was known then; otherwise all", "仅使用当时已知的数据；省略则使用全部"),
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=both("auto or one model; otherwise train.model", "auto 或单个模型；省略则取 train.model"),
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.train(until=until, model=model), _draw)


def _draw(report: TrainReport, screen: Screen) -> None:
    for line in report.lines():
        screen.say(line)
    draw_past(report.verdict.backtest, screen)


def draw_past(moments: tuple[PastMoment, ...], screen: Screen) -> None:
    """The rehearsed moments as a table."""
    if moments:
        screen.table(PAST_COLUMNS, [_past(m) for m in moments], title=Text("rehearsed in the past", "历史演练"))


def _past(m: PastMoment) -> list[str | int | float | None]:
    value, low, high = m.auroc
    ends = None if low is None or high is None else f"{low:.3f} – {high:.3f}"
    return [f"{m.as_of:%Y-%m-%d}", m.users, f"{m.churn_rate:.1%}", f"{m.predicted_rate:.1%}", value, ends, m.ece]
