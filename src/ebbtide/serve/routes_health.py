"""What the operator's machines ask: is it alive, is it ready, how is it doing."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import anyio.to_thread
import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from ebbtide.core.errors import EbbtideError
from ebbtide.serve.access import Caller
from ebbtide.serve.problems import ProblemError
from ebbtide.serve.service import Service

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    """Alive: the process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Ready: the store answers and each shop has a model. `problems` tells what does not, in counts and without names.

    `shop`: the caller's own shop and how it stands, for keys with the scope `admin` only.
    """

    status: Literal["ready", "not ready"]
    problems: list[str]
    shop: dict[str, str] | None = None


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Whether the process answers."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get(
    "/readyz",
    response_model=Readiness,
    response_model_exclude_none=True,
    responses={503: {"model": Readiness, "description": "not ready"}},
)
async def readyz(request: Request) -> Response:
    """Whether calls can be served: 200, else 503."""
    service: Service = request.app.state.service
    store, shops = await anyio.to_thread.run_sync(_looked_at, service)
    unfit = Counter(state for state in shops.values() if state != "ready")
    problems = [*store, *(f"{state}: {count} of {len(shops)} shops" for state, count in sorted(unfit.items()))]
    told: dict[str, Any] = {"status": "not ready" if problems else "ready", "problems": problems}
    caller = None if store else await _administrator(request, service)
    if caller is not None and caller.shop_id in shops:
        told["shop"] = {"shop_id": caller.shop_id, "state": shops[caller.shop_id]}
    return Response(orjson.dumps(told), 503 if problems else 200, media_type="application/json")


def _looked_at(service: Service) -> tuple[list[str], dict[str, str]]:
    """What is wrong with the store, and each shop's state: `ready` or the code of what it lacks."""
    try:
        if not service.database.is_current():
            return ["store: tables of another version"], {}
    except EbbtideError:
        return ["store: no answer"], {}
    states = {}
    for name, shop in service.shops.items():
        try:
            _ = shop.served
        except EbbtideError as fault:
            states[name] = fault.code
        else:
            states[name] = "ready"
    return [], states


async def _administrator(request: Request, service: Service) -> Caller | None:
    """Who calls with a live key of the scope `admin`; everybody else is a stranger here, and is told no more than that."""
    if "authorization" not in request.headers:
        return None
    try:
        return await service.gate.admit(request, "admin")
    except (ProblemError, EbbtideError):
        return None


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Figures for Prometheus. Nothing of a person is in them; keep the address inside all the same."""
    service: Service = request.app.state.service
    service.metrics.waiting.set(service.intake.waiting)
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")
