"""Around every call: its request id in and out, security headers, its time, one line in the access log."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from ebbtide.serve.access_log import words
from ebbtide.serve.service import Service

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_IDS_AT_ONCE = 256
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""On every answer, unless it brings its own."""
_NAMES = frozenset(name for name, _ in HEADERS)
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Envelope:
    """Around the app, for every call alike."""

    def __init__(self, app: Any, service: Service) -> None:
        self._app, self._service = app, service
        self._known: dict[tuple[str, str, int], tuple[Any, str]] = {}
        self._ids = _request_ids()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, headers = time.perf_counter(), dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if given and _SAFE_ID.fullmatch(given) else next(self._ids)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                told, own = message["headers"], HEADERS
                if not _NAMES.isdisjoint([name for name, _ in told]):
                    own = tuple(h for h in HEADERS if h[0] not in dict(told))
                message["headers"] = [*told, (b"x-request-id", request_id.encode()), *own]
            await send(message)

        parent = {"traceparent": headers.get(b"traceparent", b"").decode("latin-1")}
        with self._service.tracer.span(scope["method"], parent) as span:
            try:
                await self._app(scope, receive, answer)
            finally:
                route = _route(scope)
                span.note({"http.route": route, "http.response.status_code": status})
                self._tell(scope["method"], route, status, time.perf_counter() - started, (request_id, span.trace_id))

    def _tell(self, method: str, route: str, status: int, seconds: float, ids: tuple[str, str]) -> None:
        """`ids`: of the request, and of the trace if there is one."""
        method = method if method in _METHODS else "other"  # a caller may send any word
        known = self._known.get((route, method, status))
        if known is None:
            times = self._service.metrics.requests.labels(route, method, str(status))
            known = self._known[route, method, status] = (times, words(method, route, status))
        known[0].observe(seconds)
        if self._service.access_log is not None:
            self._service.access_log.note(known[1], *ids, seconds)


def _request_ids() -> Iterator[str]:
    """Ids of 16 hex digits that nobody can foresee, from random bytes for many of them at once."""
    while True:
        digits = secrets.token_hex(_IDS_AT_ONCE * 8)
        yield from (digits[start : start + 16] for start in range(0, len(digits), 16))


def _route(scope: Scope) -> str:
    """The pattern of the address: the address itself may hold a user's id."""
    return str(getattr(scope.get("route"), "path_format", "unknown"))
