"""What the operator's machines ask: is it alive, is it ready, how is it doing."""

from __future__ import annotations

from typing import Literal

import anyio.to_thread
import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from ebbtide.core.errors import EbbtideError
from ebbtide.serve.service import Service

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    """Alive: the process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Ready: the store answers and each shop has a model. `problems` names what does not, without details."""

    status: Literal["ready", "not ready"]
    problems: list[str]


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Whether the process answers."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "not ready"}})
async def readyz(request: Request) -> Response:
    """Whether calls can be served: 200, else 503."""
    service: Service = request.app.state.service

    def problems() -> list[str]:
        try:
            if not service.database.is_current():
                return ["store: tables of another version"]
        except EbbtideError:
            return ["store: no answer"]
        found = []
        for shop in service.shops.values():
            try:
                _ = shop.served
            except EbbtideError as fault:
                found.append(f"{shop.shop_id}: {fault.code}")
        return found

    found = await anyio.to_thread.run_sync(problems)
    told = {"status": "not ready" if found else "ready", "problems": found}
    return Response(orjson.dumps(told), 503 if found else 200, media_type="application/json")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Figures for Prometheus. Nothing of a person is in them; keep the address inside all the same."""
    service: Service = request.app.state.service
    service.metrics.waiting.set(service.intake.waiting)
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")
