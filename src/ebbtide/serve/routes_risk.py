"""What the service says about people: one user's risk, many users' risks, the list of those most at risk."""

from __future__ import annotations

import base64
import binascii
import time
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import anyio.to_thread
import orjson
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from ebbtide.core.language import Language, Text
from ebbtide.core.windows import from_us
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.profiles import stage_now
from ebbtide.pipeline.set_aside import Cause
from ebbtide.serve.access import Caller, allowed
from ebbtide.serve.bodies import read_json
from ebbtide.serve.problems import ProblemError, language_of
from ebbtide.serve.service import Service
from ebbtide.serve.texts import PLAIN, is_plain
from ebbtide.store.scores import Page, StoredScore

router = APIRouter(tags=["risk"])
MOST_USERS = 1_000
Band = Literal["high", "medium", "low"]
RISK, RISK_SCOPE, LONGEST_ID = "/v1/users/{user_id}/risk", "risk:read", 256
ANY_USER = "{user_id:path}"
"""In the address of a route: ids may hold slashes, which come as %2F."""
UserId = Annotated[str, Path(min_length=1, max_length=LONGEST_ID, pattern=PLAIN, examples=["customer-17"])]


class Reason(BaseModel):
    """One reason in words, with the figures behind it. `contribution` is in log-odds."""

    feature: str
    value: float | None
    usual: float | None
    direction: Literal["raises", "lowers"]
    contribution: float
    text: str


class Aside(BaseModel):
    """Why a user could not be scored: a mistake of ours, whose place is in the service's log."""

    code: Literal["failed", "not_finite"]
    text: str = Field(examples=["scoring the history failed"])


class Risk(BaseModel):
    """A user's risk. A user who is not eligible under the churn definition has no probability."""

    user_id: str = Field(examples=["customer-17"])
    as_of: str = Field(description="moment of knowledge", examples=["2026-11-27T10:15:03Z"])
    eligible: bool | None = Field(description="null: could not be scored, see `set_aside`")
    churn_probability: float | None = Field(examples=[0.81])
    percentile: float | None = Field(
        description="share of the cohort at the same or a lower risk, in %", examples=[96.2]
    )
    band: Band | None
    expected_orders: float | None
    value_at_risk: float | None
    stage: str | None = Field(
        description="lifecycle stage; null but in an answer about one user computed now", examples=["at_risk"]
    )
    reasons: list[Reason] | None
    model: str | None
    computed: Literal["now", "stored"]
    set_aside: Aside | None = Field(None, description="why this user alone has no answer; only when computed now")


class Risks(BaseModel):
    """Risks, in the order of the question."""

    risks: list[Risk]


class Users(BaseModel):
    """A question about 1 to 1,000 users."""

    user_ids: list[str] = Field(min_length=1, max_length=MOST_USERS, examples=[["customer-17", "customer-18"]])
    reasons: bool = False


class RiskPage(BaseModel):
    """A page of the list, most at risk first; `next` is the cursor of the page behind it, null on the last."""

    risks: list[Risk]
    next: str | None


@router.get(RISK.replace("{user_id}", ANY_USER), response_model=Risk)
async def user_risk(
    request: Request,
    user_id: UserId,
    caller: Annotated[Caller, Depends(allowed(RISK_SCOPE))],
    stored: Annotated[bool, Query(description="the newest stored score instead of one computed now")] = False,
) -> Response:
    """One user's risk with reasons, computed now from everything that was accepted; or the stored score.

    A user whose history cannot be scored is told with the reason in `set_aside`.
    """
    service: Service = request.app.state.service
    shop, language = service.shop_of(caller), language_of(request)
    if stored:
        found = shop.scores.of_user(shop.shop_id, user_id)
        if found is None:
            raise ProblemError("not_found", Text("no stored score of this user", "该用户没有已存储的评分"))
        told = stored_risk(found)
    else:
        told = await _computed(service, shop, user_id, language)
    service.trail.note(caller, "risk.read", user_id=user_id, request_id=request.state.request_id)
    return _json(told)


@router.post(
    "/v1/risk",
    response_model=Risks,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": Users.model_json_schema()}},
        }
    },
)
async def many_risks(request: Request, caller: Annotated[Caller, Depends(allowed("risk:read"))]) -> Response:
    """The risks of up to 1,000 users, computed now; an unknown user is told as not eligible.

    A user whose history cannot be scored is told with the reason in `set_aside`, the others are answered.
    """
    service: Service = request.app.state.service
    told, _ = await read_json(request, service.settings.max_body_bytes)
    users, reasons = _asked(told)
    shop = service.shop_of(caller)
    risks = await _many_computed(service, shop, users, language_of(request), reasons=reasons)
    for user in users:
        service.trail.note(caller, "risk.read", user_id=user, request_id=request.state.request_id)
    return _json({"risks": risks})


@router.get("/v1/at-risk", response_model=RiskPage)
async def at_risk(
    request: Request,
    caller: Annotated[Caller, Depends(allowed("risk:read"))],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    band: Annotated[list[Band] | None, Query(description="only these bands")] = None,
    cursor: Annotated[str | None, Query(max_length=1024, description="`next` of the page before")] = None,
) -> Response:
    """The stored list, most at risk first, page by page."""
    service: Service = request.app.state.service
    shop = service.shop_of(caller)
    rows = shop.scores.at_risk(shop.shop_id, limit=limit, bands=band or (), after=_page(cursor) if cursor else None)
    more = _cursor(rows[-1]) if len(rows) == limit else None
    service.trail.note(
        caller, "list.read", request_id=request.state.request_id, detail={"users": len(rows), "limit": limit}
    )
    return _json({"risks": [stored_risk(row) for row in rows], "next": more})


async def _computed(service: Service, shop: LiveShop, user: str, language: Language) -> dict[str, Any]:
    """Score one user, of whom something must be known, in a thread, so that other calls go on."""

    def work() -> dict[str, Any]:
        started, as_of = time.perf_counter(), shop.now()
        known = shop.known_of([user], as_of)
        if not len(known):
            raise ProblemError("not_found", Text("no event of this user is known", "没有该用户的任何事件"))
        rows, aside = shop.rows_apart([user], as_of=as_of, reasons=True, language=language, known=known)
        service.metrics.answered("one", 1, aside, time.perf_counter() - started)
        if aside:
            return _aside(user, as_of, aside[user], language)
        told = _risk(user, as_of, rows[0] if rows else None)
        return told | {"stage": stage_now(known, as_of, told["band"], shop.served.bundle, shop.config)}

    with service.tracer.span("score", users=1):
        return await anyio.to_thread.run_sync(work)


async def _many_computed(
    service: Service, shop: LiveShop, users: list[str], language: Language, *, reasons: bool
) -> list[dict[str, Any]]:
    """Score users in a thread; who cannot be scored is told apart."""

    def work() -> list[dict[str, Any]]:
        started, as_of = time.perf_counter(), shop.now()
        scored, aside = shop.rows_apart(users, as_of=as_of, reasons=reasons, language=language)
        rows = {row["user_id"]: row for row in scored}
        service.metrics.answered("many", len(users), aside, time.perf_counter() - started)
        return [
            _aside(user, as_of, aside[user], language) if user in aside else _risk(user, as_of, rows.get(user))
            for user in users
        ]

    with service.tracer.span("score", users=len(users)):
        return await anyio.to_thread.run_sync(work)


def _risk(user: str, as_of: datetime, row: dict[str, Any] | None) -> dict[str, Any]:
    known = row or {}
    names = ("churn_probability", "percentile", "band", "expected_orders", "value_at_risk", "reasons", "model")
    told = {name: known.get(name) for name in names}
    return {
        "user_id": user,
        "as_of": _iso(as_of),
        "eligible": row is not None,
        **told,
        "stage": None,
        "computed": "now",
    }


def _aside(user: str, as_of: datetime, cause: Cause, language: Language) -> dict[str, Any]:
    why = {"code": cause.value, "text": cause.text[language]}
    return _risk(user, as_of, None) | {"eligible": None, "set_aside": why}


def stored_risk(row: StoredScore) -> dict[str, Any]:
    """What is told of a stored score."""
    return {
        "user_id": row.user_id,
        "as_of": _iso_of_us(row.as_of_us),
        "eligible": True,
        "churn_probability": row.churn_probability,
        "percentile": row.percentile,
        "band": row.band,
        "expected_orders": row.expected_orders,
        "value_at_risk": row.value_at_risk,
        "model": row.model,
        "stage": None,
        "reasons": orjson.Fragment(row.reasons) if row.reasons else None,
        "computed": "stored",
    }


@lru_cache(maxsize=4096)
def _iso_of_us(us: int) -> str:
    """The scores of one run share their moment."""
    return _iso(from_us(us))


def _iso(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _asked(told: object) -> tuple[list[str], bool]:
    users = told.get("user_ids") if isinstance(told, dict) else None
    flag = told.get("reasons", False) if isinstance(told, dict) else None
    fits = isinstance(users, list) and 0 < len(users) <= MOST_USERS and isinstance(flag, bool)
    if not fits or not all(isinstance(u, str) and 0 < len(u) <= 256 and is_plain(u) for u in users or ()):
        raise ProblemError(
            "invalid",
            Text(
                'expected {{"user_ids": [1 to {most:,} texts], "reasons": true or false}}',
                '应为 {{"user_ids": [1 到 {most:,} 个文本], "reasons": true 或 false}}',
            ).format(most=MOST_USERS),
        )
    assert isinstance(users, list)
    return users, bool(flag)


def _cursor(row: StoredScore) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([row.churn_probability, row.user_id])).decode()


def _page(cursor: str) -> Page:
    try:
        probability, user = orjson.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, TypeError, binascii.Error, UnicodeEncodeError):
        probability = user = None
    if not (isinstance(probability, float) and isinstance(user, str) and is_plain(user)):
        raise ProblemError("bad_request", Text("the cursor is not one of ours", "游标无效"))
    return Page(probability, user)


def _json(told: object) -> Response:
    return Response(orjson.dumps(told), media_type="application/json")
