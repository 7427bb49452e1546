"""The short way: the most frequent question, the stored score of one user, without the app's routing and validation.

It is taken only where all is plain: exactly this address and query, a key that is remembered and may, a score that is there.
Everything else, every refusal too, goes the long way through the app, which is the one that says how the address behaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from ebbtide.core.errors import RetryError
from ebbtide.serve.envelope import Receive, Scope, Send
from ebbtide.serve.routes_risk import LONGEST_ID, RISK, RISK_SCOPE, stored_risk
from ebbtide.serve.service import Service

_QUERY = b"stored=true"
_BEFORE, _BEHIND = RISK.split("{user_id}")


@dataclass(frozen=True)
class _Route:
    """What the envelope shows of a call."""

    path_format: str


_ROUTE = _Route(RISK)


class ShortWay:
    """Before the app."""

    def __init__(self, app: Any, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the app answer."""
        body = self._answer(scope) if scope.get("query_string") == _QUERY and scope["type"] == "http" else None
        if body is None:
            await self._app(scope, receive, send)
            return
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, scope: Scope) -> bytes | None:
        """The stored score of a plain call, counted and noted in the audit; None if the app must answer."""
        path: str = scope["path"]
        if scope["method"] != "GET" or not (path.startswith(_BEFORE) and path.endswith(_BEHIND)):
            return None
        user, service = path[len(_BEFORE) : -len(_BEHIND)], self._service
        if not 0 < len(user) <= LONGEST_ID or not user.isprintable():
            return None
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        caller = service.gate.recall(authorization.decode("latin-1"), RISK_SCOPE)
        shop = service.shops.get(caller.shop_id) if caller else None
        try:
            found = shop.scores.of_user(shop.shop_id, user) if shop else None
        except RetryError:
            return None  # the long way tries again, and tells
        if caller is None or found is None:
            return None
        service.gate.count(caller)
        scope["route"] = _ROUTE
        service.trail.note(caller, "risk.read", user_id=user, request_id=scope["state"]["request_id"])
        return orjson.dumps(stored_risk(found))
