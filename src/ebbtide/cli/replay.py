"""`ebbtide replay LOG...`: a real log drives a running service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import Edge, edge_of
from ebbtide.core.config import load_config, named_secret
from ebbtide.core.errors import InputError, MissingExtraError
from ebbtide.core.language import Text
from ebbtide.pipeline.log_events import EventLog, log_of_workspace, open_log

app = make_app()


@app.command(
    cls=Command,
    help=both(
        "send the events of a log, in the order in which they became known, to a running service; interrupted, it goes "
        "on where it was",
        "按已知先后顺序将日志事件发送给运行中的服务；中断后从断点继续",
    ),
)
def replay(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="LOG", help=both("raw files, read by the mapping of the workspace", "原始文件，按工作区的映射读取")
        ),
    ] = None,
    from_workspace: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help=both("instead: what this workspace has ingested", "或者：该工作区已导入的事件")
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help=both("whose mapping the files follow", "文件使用哪个来源的映射"))
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            metavar="FACTOR",
            min=0.0,
            help=both("times as fast as it was; 0: without pauses", "加速倍数；0：不停顿"),
        ),
    ] = 60.0,
    url: Annotated[
        str, typer.Option(metavar="URL", help=both("address of the service", "服务地址"))
    ] = "http://127.0.0.1:8000",
    key_env: Annotated[
        str,
        typer.Option(metavar="NAME", help=both("environment variable with an API key", "存放 API 密钥的环境变量")),
    ] = "EBBTIDE_KEY",
    broker: Annotated[
        bool, typer.Option("--broker", help=both("to the broker of [stream] instead", "改为发送到 [stream] 的消息代理"))
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help=both("from the beginning, not where it was", "从头开始，不接断点"))
    ] = False,
) -> None:
    if any(find_spec(name) is None for name in ("httpx", "orjson")):
        raise MissingExtraError("serve", Text("replaying a log", "回放日志"))
    from ebbtide.serve.replay import ApiTarget, BrokerTarget, replay_log  # noqa: PLC0415 - needs the extra

    with edge_of(ctx) as edge, _log(edge, files or [], from_workspace, source) as log:
        workspace = edge.workspace
        target = BrokerTarget(workspace.config.stream) if broker else ApiTarget(url, named_secret(key_env))
        folder = workspace.path / ".ebbtide" / "replay"
        try:
            report = replay_log(log, target, folder, speed=speed, restart=restart, progress=edge.progress)
        finally:
            target.close()
        edge.show(report)


@contextmanager
def _log(edge: Edge, files: list[Path], other: Path | None, source: str | None) -> Iterator[EventLog]:
    if bool(files) == (other is not None):
        raise InputError(
            "name log files, or a workspace with --from-workspace: one of both",
            "请给出日志文件，或用 --from-workspace 指定工作区：二者择一",
        )
    if other is not None:
        yield log_of_workspace(load_config(other / "ebbtide.toml"), other)
        return
    with open_log(edge.workspace.config, files, source=source, progress=edge.progress) as log:
        yield log
