"""One customer on one screen: the profile for customer service, with talking points."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.explain.reference import Reference
from ebbtide.explain.stages import STAGES
from ebbtide.explain.talking import talking_points
from ebbtide.pipeline.live_shop import Served
from ebbtide.pipeline.profile import profile_known
from ebbtide.serve.access import Caller, allowed
from ebbtide.serve.problems import ProblemError, language_of
from ebbtide.serve.routes_risk import ANY_USER, UserId
from ebbtide.serve.service import Service

router = APIRouter(tags=["risk"])


class Person(BaseModel):
    """A customer. `profile` has the columns of the profile reference; `talking_points` are in the caller's language."""

    user_id: str = Field(examples=["customer-17"])
    as_of: str
    stage: str = Field(examples=["at_risk"])
    stage_name: str = Field(examples=["at risk"])
    talking_points: list[str]
    profile: dict[str, Any]
    changes: list[dict[str, Any]]
    reasons: list[dict[str, Any]]


@router.get(f"/v1/users/{ANY_USER}", response_model=Person)
async def person(
    request: Request, user_id: UserId, caller: Annotated[Caller, Depends(allowed("risk:read"))]
) -> Response:
    """The profile of one customer now: where they stand, what changed, what to say."""
    service: Service = request.app.state.service
    shop, language = service.shop_of(caller), language_of(request)

    def work() -> dict[str, Any]:
        served, as_of = shop.served, shop.now()
        known, reference = shop.known_of([user_id], as_of, served), _reference(served)
        try:
            found = profile_known(known, as_of, served.bundle, reference, shop.config, language)
        except InputError:
            raise ProblemError("not_found", Text("no event of this user is known", "没有该用户的任何事件")) from None
        points = [point[language] for point in talking_points(found, shop.config.shop.currency)]
        stage = found.row["stage"]
        return {**found.to_json(), "stage": stage, "stage_name": STAGES[stage][language], "talking_points": points}

    told = await anyio.to_thread.run_sync(work)
    service.trail.note(caller, "profile.read", user_id=user_id, request_id=request.state.request_id)
    return Response(orjson.dumps(told), media_type="application/json")


def _reference(served: Served) -> Reference:
    reference = served.reference
    if reference is None:
        raise ProblemError(
            "conflict",
            Text("the model in service has no reference for profiles: train again", "在用模型没有画像参照：请重新训练"),
        )
    return reference
