"""What to do about whom: a plan under a budget, and the campaigns. They read the lake, as of its newest event."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from ebbtide.pipeline.campaign import list_campaigns
from ebbtide.pipeline.plan import plan
from ebbtide.serve.access import Caller, allowed
from ebbtide.serve.problems import language_of
from ebbtide.serve.service import Service

router = APIRouter(tags=["campaigns"])
Reader = Annotated[Caller, Depends(allowed("campaigns:read"))]


class Plan(BaseModel):
    """A plan: its figures, and the first customers with an action, the largest expected gain first."""

    as_of: str
    model: str
    budget: float
    cost: float
    worst_cost: float
    expected_gain: float
    treated: int
    rows: list[dict[str, Any]]


@router.get("/v1/plan", response_model=Plan)
async def make_plan(
    request: Request,
    caller: Reader,
    budget: Annotated[float, Query(ge=0, le=1e12, allow_inf_nan=False, examples=[500])],
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> Response:
    """Choose at most one action a customer, for the most expected gain within the budget."""
    service: Service = request.app.state.service
    shop, language = service.shop_of(caller), language_of(request)

    def work() -> dict[str, Any]:
        done = plan(shop.config, shop.root, budget=budget, bundle=shop.serving, language=language)
        rows = [
            {k: v if isinstance(v, str | float | int | None) else str(v) for k, v in row.items()}
            for row in done.treated.head(limit).iter_rows(named=True)
        ]
        return {**done.to_json(), "rows": rows}

    told = await anyio.to_thread.run_sync(work)
    service.trail.note(
        caller, "plan.read", request_id=request.state.request_id, detail={"budget": budget, "users": len(told["rows"])}
    )
    return Response(orjson.dumps(told), media_type="application/json")


@router.get("/v1/campaigns", response_model=dict[str, Any])
async def campaigns(request: Request, caller: Reader) -> Response:
    """All campaigns with the sizes of their arms."""
    service: Service = request.app.state.service
    shop = service.shop_of(caller)
    told = await anyio.to_thread.run_sync(lambda: list_campaigns(shop.root).to_json())
    return Response(orjson.dumps(told), media_type="application/json")
