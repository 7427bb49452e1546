"""`ebbtide serve`: the live service, everything in one process, or one role of it."""

from __future__ import annotations

import signal
import sys
import threading
from importlib.util import find_spec
from typing import Annotated, Literal

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import InputError, MissingExtraError, RetryError
from ebbtide.core.language import Text

app = make_app()
Role = Literal["all", "api", "worker"]


@app.command(
    cls=Command,
    help=both(
        "run the live service: events in, risk out; one process with embedded parts, or one role of several",
        "运行实时服务：接收事件、给出风险；单进程内嵌全部部件，或只运行其中一个角色",
    ),
)
def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(metavar="HOST", help=both("address to listen on", "监听地址"))] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help=both("port to listen on", "监听端口"))
    ] = 8000,
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE",
            help=both(
                "all, api (answers calls) or worker (scores and lands)", "all、api（应答请求）或 worker（评分与入湖）"
            ),
        ),
    ] = "all",
) -> None:
    if role not in ("all", "api", "worker"):
        raise InputError("a role is all, api or worker", "角色为 all、api 或 worker")
    if any(find_spec(name) is None for name in ("fastapi", "sqlalchemy", "uvicorn", "alembic", "orjson")):
        raise MissingExtraError("serve", Text("the live service", "实时服务"))
    from ebbtide.cli.serving import log_to_stderr, open_service  # noqa: PLC0415 - needs the extra
    from ebbtide.serve.worker import make_loops  # noqa: PLC0415

    with edge_of(ctx) as edge:
        config, root = edge.workspace.config, edge.workspace.path
    log_to_stderr()
    with open_service(config, root) as service:
        loops = make_loops(service) if role != "api" else []
        for loop in loops:
            loop.start()
        try:
            if role == "worker":
                _wait()
            else:
                _answer(service, host, port)
        finally:
            for loop in loops:
                loop.stop()


def _answer(service: object, host: str, port: int) -> None:
    import uvicorn  # noqa: PLC0415

    from ebbtide.serve.app import make_app as make_http_app  # noqa: PLC0415
    from ebbtide.serve.service import Service  # noqa: PLC0415

    assert isinstance(service, Service)
    settings = uvicorn.Config(
        make_http_app(service), host=host, port=port, log_config=None, access_log=False, server_header=False,
        proxy_headers=service.settings.trust_proxy, timeout_keep_alive=30, h11_max_incomplete_event_size=64_000,
        timeout_graceful_shutdown=20,
    )  # fmt: skip
    server = uvicorn.Server(settings)
    server.run()
    if not server.started:
        raise RetryError(
            "cannot listen on {host}:{port}: choose another --port, or stop what listens there",
            "无法监听 {host}:{port}：请更换 --port，或停止占用者",
            host=host,
            port=port,
        )


def _wait() -> None:
    """Until SIGINT or SIGTERM."""
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    sys.stderr.flush()
    done.wait()
