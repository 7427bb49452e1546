"""`POST /v1/events`, and the addresses that Segment's libraries use."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ebbtide.core.language import Text
from ebbtide.core.windows import to_us
from ebbtide.events.live_event import read_events
from ebbtide.events.live_segment import segment_events
from ebbtide.events.validate import ID_LENGTH, Reason
from ebbtide.serve.access import Caller, allowed
from ebbtide.serve.bodies import read_json
from ebbtide.serve.intake import Call
from ebbtide.serve.problems import ProblemError
from ebbtide.serve.service import Service

router = APIRouter(tags=["events"])
MOST = 1_000
"""Events a call."""


class Event(BaseModel):
    """One canonical event; only user_id, type and occurred_at are needed, and event_id is what makes it safe to send again."""

    model_config = ConfigDict(extra="forbid")
    event_id: str | None = Field(None, max_length=256, examples=["web-7c1e"])
    user_id: str = Field(max_length=256, examples=["customer-17"])
    type: str = Field("custom", max_length=256, examples=["cart_add"])
    occurred_at: str = Field(examples=["2026-11-27T10:15:00Z"])
    session_id: str | None = None
    order_id: str | None = None
    item_id: str | None = Field(None, examples=["A-100"])
    category: str | None = None
    brand: str | None = None
    quantity: float | None = Field(None, examples=[2])
    unit_price: float | None = Field(None, ge=0, examples=[19.9])
    value: float | None = Field(None, examples=[39.8])
    discount: float | None = None
    currency: str | None = None
    coupon: str | None = None
    campaign_id: str | None = None
    channel: str | None = None
    device: str | None = None
    country: str | None = None
    query: str | None = None
    text: str | None = None
    rating: float | None = None
    properties: dict[str, Any] | None = None


class Events(BaseModel):
    """A call: 1 to 1,000 events."""

    events: list[Event] = Field(min_length=1, max_length=MOST)


class SegmentBatch(BaseModel):
    """Segment's `batch`: messages; other kinds than `track` are taken and left aside."""

    batch: list[dict[str, Any]] = Field(min_length=1, max_length=MOST)


class Result(BaseModel):
    """What became of one event. `reason` and `field` stand only with `rejected`."""

    event_id: str | None
    status: str = Field(examples=["accepted", "duplicate", "rejected"])
    reason: str | None = Field(None, examples=[Reason.BAD_TIME.value])
    field: str | None = Field(None, examples=["occurred_at"])


class Results(BaseModel):
    """One result an event, in the order of the call."""

    accepted: int
    duplicate: int
    rejected: int
    results: list[Result]


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """The body of a call that is read by hand, whole: models that no route declares are not among the components."""
    schema = model.model_json_schema()
    for name, part in schema.pop("$defs", {}).items():
        for field in schema["properties"].values():
            if field.get("items") == {"$ref": f"#/$defs/{name}"}:
                field["items"] = part
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post(
    "/v1/events",
    status_code=202,
    response_model=Results,
    openapi_extra=_body(Events),
)
async def send_events(request: Request, caller: Annotated[Caller, Depends(allowed("events:write"))]) -> Response:
    """Take events. The answer comes when they are durable: 202 with one result an event.

    An event whose event_id was accepted before is a `duplicate`. With `Idempotency-Key`, the same call sent again gets
    the same answer. May be packed with gzip.
    """
    service: Service = request.app.state.service
    told, body = await read_json(request, service.settings.max_body_bytes)
    return await _take(request, service, caller, _listed(told, "events"), body)


@router.post("/v1/batch", status_code=202, response_model=Results, openapi_extra=_body(SegmentBatch))
async def send_batch(request: Request, caller: Annotated[Caller, Depends(allowed("events:write"))]) -> Response:
    """Segment's `batch`; the key may come as the user name of `Basic`, as Segment's libraries send it."""
    service: Service = request.app.state.service
    told, body = await read_json(request, service.settings.max_body_bytes)
    messages = _listed(told, "batch")
    return await _take(request, service, caller, [e for m in messages for e in segment_events(m)], body)


@router.post(
    "/v1/track",
    status_code=202,
    response_model=Results,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def send_track(request: Request, caller: Annotated[Caller, Depends(allowed("events:write"))]) -> Response:
    """Segment's `track`: one message."""
    service: Service = request.app.state.service
    told, body = await read_json(request, service.settings.max_body_bytes)
    return await _take(request, service, caller, segment_events(told), body)


async def _take(request: Request, service: Service, caller: Caller, events: list[object], body: bytes) -> Response:
    shop = service.shop_of(caller)
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= 256 and key.isprintable()):
        raise ProblemError(
            "bad_request", Text("an Idempotency-Key has 1 to 256 characters", "Idempotency-Key 为 1 到 256 个字符")
        )
    ids = [_id(event) for event in events]
    call = Call(
        caller.shop_id,
        read_events(events, service.rules_of(shop)),
        ids,
        (key, body) if key else None,
        to_us(shop.now()),
    )
    answer = await service.intake.accept(call)
    return Response(answer.response, answer.status, media_type="application/json")


def _listed(told: object, name: str) -> list[object]:
    events = told.get(name) if isinstance(told, dict) else None
    if not isinstance(events, list) or not 0 < len(events) <= MOST:
        raise ProblemError(
            "invalid",
            Text(
                'expected an object with "{name}": a list of 1 to {most:,}',
                '应为包含 "{name}" 的对象，其值为 1 到 {most:,} 项的列表',
            ).format(name=name, most=MOST),
        )
    return events


def _id(event: object) -> object:
    """The id to answer with: as it was given, if it is one."""
    given = event.get("event_id") if isinstance(event, dict) else None
    return given if isinstance(given, str) and len(given) <= ID_LENGTH else None
