"""`ebbtide demo`: the whole main job on a simulated shop, no configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.screen import Column, Screen, write_json
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.dashboard.words import BANDS
from ebbtide.pipeline.demo import DemoReport
from ebbtide.pipeline.demo import demo as run_demo
from ebbtide.pipeline.report import reason_lines
from ebbtide.workspace import Workspace

app = make_app()

_FOLDER = Path("demo-shop")
_LOG = Text(
    "simulated: {rows:,} events of a shop with {users:,} customers; {accepted:,} accepted, {duplicates:,} duplicates",
    "模拟：一家有 {users:,} 位顾客的店铺的 {rows:,} 个事件；接受 {accepted:,}，重复 {duplicates:,}",
)
_LIST = Text("most at risk on {as_of:%Y-%m-%d}:", "{as_of:%Y-%m-%d} 风险最高的顾客：")
_BETWEEN = Text("; ", "；")
_TRUTH = Text("held against the truth, which only the simulator knows:", "与只有模拟器知道的真相对照：")
_COLUMNS = (
    Column(Text("band", "等级")),
    Column(Text("customers", "顾客数"), figures=True),
    Column(Text("had left for good", "已永久离开"), figures=True),
    Column(Text("share", "占比"), figures=True),
)
_NEXT = Text(
    "the list is in {scores}, the page in {page}; go on with `ebbtide explain {user} -w {folder}`",
    "名单在 {scores}，页面在 {page}；可继续运行 `ebbtide explain {user} -w {folder}`",
)


@app.command(cls=Command)
def demo(
    ctx: typer.Context,
    users: Annotated[int, typer.Option(min=1, metavar="N", help=both("customers to simulate", "模拟的顾客数"))] = 2000,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help=both("another seed, another shop", "不同的种子，不同的店铺"))
    ] = 0,
) -> None:
    with edge_of(ctx) as edge:
        named = edge.flags.workspace
        folder = _FOLDER if named == Path() else named
        done = run_demo(folder, users=users, seed=seed, language=edge.language, progress=edge.progress)
        page = Workspace(folder, language=edge.language, progress=edge.progress).report()
        file = page.save(folder / "report.html")
        if edge.flags.as_json:
            write_json(done.to_json() | {"report": file})
        else:
            _draw(done, users, Screen(edge.language))


def _draw(done: DemoReport, users: int, screen: Screen) -> None:
    total = done.ingested.sources["events"]
    screen.say(_LOG.format(rows=done.rows, users=users, accepted=total.accepted, duplicates=total.duplicates))
    for line in done.trained.lines():
        screen.say(line)
    screen.say("")
    screen.say(_LIST.format(as_of=done.scored.as_of), "bold")
    for row in done.scored.frame.head(5).iter_rows(named=True):
        raising = [reason.text for reason in reason_lines(row["reasons"] or []) if reason.raises]
        screen.say(f"  {row['user_id']}  {row['churn_probability']:.1%}  {_BETWEEN[screen.language].join(raising[:2])}")
    screen.say("")
    rows = [[BANDS[t.band], t.users, t.gone, f"{t.gone / t.users:.0%}" if t.users else None] for t in done.truth]
    screen.say(_TRUTH, "bold")
    screen.table(_COLUMNS, rows)
    user = done.scored.frame["user_id"][0]
    folder = done.folder
    screen.say(_NEXT.format(scores=folder / "scores.parquet", page=folder / "report.html", user=user, folder=folder))
