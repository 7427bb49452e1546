"""Alerts: list them, look at one, say what became of it."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from ebbtide.core.language import Text
from ebbtide.pipeline.alerts import MOST, AlertFilter, change_alert, count_alerts, list_alerts, show_alert
from ebbtide.serve.access import Caller, allowed
from ebbtide.serve.bodies import read_json
from ebbtide.serve.problems import ProblemError
from ebbtide.serve.service import Service
from ebbtide.serve.texts import PLAIN, is_plain

router = APIRouter(tags=["alerts"])
AlertId = Annotated[str, Path(max_length=64, pattern=r"^alr_[0-9a-f]{32}$", examples=["alr_" + "0" * 32])]
RuleName = Annotated[str, Field(max_length=256, pattern=PLAIN)]
Reader = Annotated[Caller, Depends(allowed("alerts:read"))]
Writer = Annotated[Caller, Depends(allowed("alerts:write"))]


class AlertPage(BaseModel):
    """A page of alerts, the newest first; `next` is the cursor of the page behind it."""

    alerts: list[dict[str, Any]]
    next: str | None


class Step(BaseModel):
    """What became of an alert."""

    state: str = Field(examples=["acknowledged", "acted", "closed"])
    owner: str | None = Field(None, max_length=256, examples=["ana"])
    note: str = Field("", max_length=4000)


@router.get("/v1/alerts", response_model=AlertPage)
async def alerts(
    request: Request,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    state: Annotated[list[str] | None, Query(description="only these states")] = None,
    rule: Annotated[list[RuleName] | None, Query(description="only of these rules")] = None,
    user_id: Annotated[str, Query(max_length=256, pattern=PLAIN, description="only of this customer")] = "",
    cursor: Annotated[str | None, Query(max_length=256)] = None,
) -> Response:
    """Alerts, the newest first, suppressed ones with their reason too."""
    service: Service = request.app.state.service
    wanted = AlertFilter(tuple(state or ()), tuple(rule or ()), user_id)

    def work() -> dict[str, Any]:
        return list_alerts(service.database, caller.shop_id, wanted, limit=limit, after=cursor).to_json()

    told = await anyio.to_thread.run_sync(work)
    service.trail.note(
        caller,
        "alerts.read",
        user_id=user_id,
        request_id=request.state.request_id,
        detail={"alerts": len(told["alerts"])},
    )
    return Response(orjson.dumps(told), media_type="application/json")


@router.get("/v1/alerts/counts", response_model=dict[str, Any])
async def counts(request: Request, caller: Reader) -> Response:
    """How many alerts there are by rule, state and reason of suppression, and messages by channel and state."""
    service: Service = request.app.state.service
    told = await anyio.to_thread.run_sync(lambda: count_alerts(service.database, caller.shop_id).to_json())
    return Response(orjson.dumps(told), media_type="application/json")


@router.get("/v1/alerts/{alert_id}", response_model=dict[str, Any])
async def one_alert(request: Request, alert_id: AlertId, caller: Reader) -> Response:
    """One alert with its notes."""
    service: Service = request.app.state.service
    found = await anyio.to_thread.run_sync(lambda: show_alert(service.database, caller.shop_id, alert_id))
    service.trail.note(caller, "alert.read", user_id=found.alert.user_id, request_id=request.state.request_id)
    return Response(orjson.dumps(found.to_json()), media_type="application/json")


@router.post(
    "/v1/alerts/{alert_id}",
    response_model=dict[str, Any],
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": Step.model_json_schema()}}}
    },
)
async def move_alert(request: Request, alert_id: AlertId, caller: Writer) -> Response:
    """Acknowledge an alert, say that it was acted on, or close it."""
    service: Service = request.app.state.service
    told, _ = await read_json(request, service.settings.max_body_bytes)
    step = _step(told)
    shop = service.shop_of(caller)

    def work() -> Any:
        return change_alert(
            service.database, caller.shop_id, alert_id, step.state, actor=caller.key_id, now=shop.now(),
            owner=step.owner, note=step.note,
        )  # fmt: skip

    found = await anyio.to_thread.run_sync(work)
    service.trail.note(
        caller, "alert.change", user_id=found.alert.user_id, request_id=request.state.request_id,
        detail={"alert": alert_id, "state": step.state},
    )  # fmt: skip
    return Response(orjson.dumps(found.to_json()), media_type="application/json")


def _step(told: object) -> Step:
    known = told if isinstance(told, dict) else {}
    state, owner, note = known.get("state"), known.get("owner"), known.get("note", "")
    fits = isinstance(state, str) and isinstance(owner, str | None) and isinstance(note, str)
    if not fits or set(known) - {"state", "owner", "note"} or not is_plain(f"{owner or ''}{note}{state}"):
        raise ProblemError(
            "invalid",
            Text(
                'expected {"state": text, "owner": text, "note": text}',
                '应为 {"state": 文本, "owner": 文本, "note": 文本}',
            ),
        )
    return Step.model_construct(state=state, owner=owner, note=note)
