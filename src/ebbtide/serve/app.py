"""The HTTP app: `/v1` and the addresses of the operator. One call is one request id, one measured time, one log line."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from ebbtide.serve import (
    routes_alerts,
    routes_campaigns,
    routes_events,
    routes_health,
    routes_models,
    routes_people,
    routes_risk,
)
from ebbtide.serve.problems import Problem, handle_problems
from ebbtide.serve.service import Service

log = logging.getLogger("ebbtide.access")
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""On every answer."""
_DESCRIPTION = (
    "Events in, risk out. Send a key as `Authorization: Bearer KEY`; `ebbtide keys create` makes one. "
    "Errors have one shape: RFC 9457 `application/problem+json`."
)

_ROUTES = (
    routes_events, routes_risk, routes_people, routes_alerts, routes_campaigns, routes_models, routes_health,
)  # fmt: skip
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def make_app(service: Service, *, for_operators_only: bool = False) -> FastAPI:
    """The app over a service. Whoever made the service closes it.

    `for_operators_only`: only health and figures, as in processes that answer no other calls.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = FastAPI(
        title="Ebbtide", version=version("ebbtide"), description=_DESCRIPTION, lifespan=lifespan, docs_url=None,
        redoc_url=None, openapi_url="/v1/openapi.json", responses={"default": {"model": Problem, "description": "a problem"}},
    )  # fmt: skip
    app.state.service = service
    handle_problems(app)
    for routes in (routes_health,) if for_operators_only else _ROUTES:
        app.include_router(routes.router)
    app.add_middleware(Envelope, service=service)
    return app


class Envelope:
    """Around every call: its request id in and out, security headers, its time, one line in the access log."""

    def __init__(self, app: Any, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, headers = time.perf_counter(), dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _SAFE_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                told = {name for name, _ in message["headers"]}
                own = [(b"x-request-id", request_id.encode()), *(h for h in HEADERS if h[0] not in told)]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        parent = {"traceparent": headers.get(b"traceparent", b"").decode("latin-1")}
        with self._service.tracer.span(scope["method"], parent) as span:
            try:
                await self._app(scope, receive, answer)
            finally:
                span.note({"http.route": _route(scope), "http.response.status_code": status})
                self._tell(scope, status, time.perf_counter() - started, (request_id, span.trace_id))

    def _tell(self, scope: Scope, status: int, seconds: float, ids: tuple[str, str]) -> None:
        """`ids`: of the request, and of the trace if there is one."""
        route = _route(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"  # a caller may send any word
        self._service.metrics.requests.labels(route, method, str(status)).observe(seconds)
        log.info(
            "%s %s %s", method, route, status,
            extra={
                "request_id": ids[0], "milliseconds": round(1000 * seconds, 2), **({"trace_id": ids[1]} if ids[1] else {})
            },
        )  # fmt: skip


def _route(scope: Scope) -> str:
    """The pattern of the address: the address itself may hold a user's id."""
    return str(getattr(scope.get("route"), "path", "unknown"))
