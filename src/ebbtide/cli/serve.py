"""`ebbtide serve`: the live service, everything in one process, or one role of it."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import InputError, MissingExtraError, RetryError
from ebbtide.core.language import Text

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ebbtide.serve.service import Service

app = make_app()
PORTS = {"all": 8000, "api": 8000, "worker": 8001, "scheduler": 8002}
"""Role -> the port where it listens unless told otherwise."""
_NICE = {"all": 0, "api": 0, "worker": 3, "scheduler": 6}


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
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help=both(
                "port to listen on; 8000, or for health and figures only: worker 8001, scheduler 8002",
                "监听端口；默认 8000；仅提供健康检查与指标时：worker 8001，scheduler 8002",
            ),
        ),
    ] = None,
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE",
            help=both(
                "all, api (answers calls), worker (scores touched customers) or scheduler (lands events, scores everybody)",
                "all、api（应答请求）、worker（为有新事件的顾客评分）或 scheduler（入湖、为所有人评分）",
            ),
        ),
    ] = "all",
) -> None:
    if role not in PORTS:
        raise InputError("a role is all, api, worker or scheduler", "角色为 all、api、worker 或 scheduler")
    if any(find_spec(name) is None for name in ("fastapi", "sqlalchemy", "uvicorn", "alembic", "orjson")):
        raise MissingExtraError("serve", Text("the live service", "实时服务"))
    from ebbtide.cli.serving import alert_works, log_to_stderr, open_service, stream_threads  # noqa: PLC0415 - needs the extra
    from ebbtide.serve.app import make_app as make_http_app  # noqa: PLC0415
    from ebbtide.serve.worker import make_loops  # noqa: PLC0415

    with edge_of(ctx) as edge:
        config, root = edge.workspace.config, edge.workspace.path
    log_to_stderr()
    give_way(role)
    with open_service(config, root, access_log=sys.stderr.buffer) as service:
        alerts = alert_works(service) if role != "api" else {}
        delivers = role in ("all", "worker")
        loops = [
            *make_loops(service, role, alerts=alerts),
            *(alerts.values() if delivers else ()),
            *(stream_threads(service) if delivers else ()),
        ]
        gc.collect()
        gc.freeze()  # what is loaded now stays: collections need not walk over it while calls wait
        for loop in loops:
            loop.start()
        try:
            app = make_http_app(service, for_operators_only=role in ("worker", "scheduler"))
            _answer(app, service, host, PORTS[role] if port is None else port)
        finally:
            for loop in loops:
                loop.stop()
    service.fuse.check()


def give_way(role: str) -> None:
    """Where cores are short, the processes that answer calls go first, then scoring, then the lake."""
    if hasattr(os, "nice"):
        os.nice(_NICE[role])


def _answer(app: FastAPI, service: Service, host: str, port: int) -> None:
    """Until SIGINT, SIGTERM or a blown fuse; calls in flight are answered first."""
    import uvicorn  # noqa: PLC0415

    settings = uvicorn.Config(
        app, host=host, port=port, log_config=None, access_log=False, server_header=False,
        proxy_headers=service.settings.trust_proxy, timeout_keep_alive=30, h11_max_incomplete_event_size=64_000,
        timeout_graceful_shutdown=20,
    )  # fmt: skip
    server = uvicorn.Server(settings)
    service.fuse.on_blow(lambda: setattr(server, "should_exit", True))
    # Once it has stopped, uvicorn raises the signal again; what is still to be stored must not die of it.
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise RetryError(
            "cannot listen on {host}:{port}: choose another --port, or stop what listens there",
            "无法监听 {host}:{port}：请更换 --port，或停止占用者",
            host=host,
            port=port,
        )
