"""`ebbtide demo`: the whole main job on a simulated shop, no configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.pipeline.demo import demo as run_demo
from ebbtide.workspace import Workspace

app = make_app()

_FOLDER = Path("demo-shop")
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
        user = done.scored.frame["user_id"][0]
        closing = _NEXT.format(scores=folder / "scores.parquet", page=file, user=user, folder=folder)
        edge.show(done, closing=closing, report=file)
