"""The HTTP app: `/v1` and the addresses of the operator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

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
from ebbtide.serve.envelope import Envelope, Receive, Scope, Send
from ebbtide.serve.problems import Problem, handle_problems
from ebbtide.serve.service import Service
from ebbtide.serve.short_way import ShortWay

_DESCRIPTION = (
    "Events in, risk out. Send a key as `Authorization: Bearer KEY`; `ebbtide keys create` makes one. "
    "Errors have one shape: RFC 9457 `application/problem+json`."
)

_ROUTES = (
    routes_events, routes_risk, routes_people, routes_alerts, routes_campaigns, routes_models, routes_health,
)  # fmt: skip


class Api(FastAPI):
    """FastAPI with `around` outside of its own layers."""

    around: Envelope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        await self.around(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What lies within."""
        await super().__call__(scope, receive, send)


def make_app(service: Service, *, for_operators_only: bool = False) -> Api:
    """The app over a service. Whoever made the service closes it.

    `for_operators_only`: only health and figures, as in processes that answer no other calls.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = Api(
        title="Ebbtide", version=version("ebbtide"), description=_DESCRIPTION, lifespan=lifespan, docs_url=None,
        redoc_url=None, openapi_url="/v1/openapi.json", responses={"default": {"model": Problem, "description": "a problem"}},
    )  # fmt: skip
    app.state.service = service
    handle_problems(app)
    for routes in (routes_health,) if for_operators_only else _ROUTES:
        app.include_router(routes.router)
    within = app.handle if for_operators_only else ShortWay(app.handle, service)
    app.around = Envelope(within, service)
    return app
