"""The models in service: which there are, which serves, promote and roll back without dropping a call."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
import orjson
from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field

from ebbtide.core.errors import MissingError
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.places import Places
from ebbtide.serve.access import Caller, allowed
from ebbtide.serve.problems import ProblemError
from ebbtide.serve.service import Service
from ebbtide.store.challenges import Challenges

router = APIRouter(tags=["models"])


class Challenge(BaseModel):
    """How the challenger of `serve.shadow` compares with the model in service, over the newest users whom both scored.

    Differences are challenger minus served, in probability; `band_changes` is the share of users in another band.
    """

    serving: str
    challenger: str
    users: int
    mean_difference: float
    mean_absolute_difference: float
    rank_correlation: float | None
    band_changes: float


class Models(BaseModel):
    """The bundles of the shop, oldest first; `serving` answers calls, `promoted` is what it will be within seconds.

    `shadow` is null while nothing has been compared.
    """

    models: list[str] = Field(examples=[["20261101-auto", "20261126-auto"]])
    promoted: str | None
    serving: str | None
    shadow: Challenge | None


@router.get("/v1/models", response_model=Models)
async def models(request: Request, caller: Annotated[Caller, Depends(allowed("risk:read"))]) -> Response:
    """The bundles of the shop."""
    service: Service = request.app.state.service
    return _told(service.shop_of(caller))


@router.post("/v1/models/{name}/promote", response_model=Models)
async def promote(
    request: Request,
    name: Annotated[str, Path(max_length=256)],
    caller: Annotated[Caller, Depends(allowed("admin"))],
) -> Response:
    """Make a bundle current. Calls are answered by the old one until the new one is loaded and verified.

    409 if it is damaged, needs an extra that is not installed here, or its features cannot be filled from this shop's events.
    """
    service: Service = request.app.state.service
    shop = service.shop_of(caller)

    def work() -> None:
        shelf = Places(shop.root).shelf()
        try:
            shop.serve(shelf.load(name))
        except MissingError as fault:
            raise ProblemError("conflict", fault.text) from None
        shelf.promote(name)

    await anyio.to_thread.run_sync(work)
    service.trail.note(caller, "model.promote", request_id=request.state.request_id, detail={"model": name})
    return _told(shop)


@router.post("/v1/models/rollback", response_model=Models)
async def rollback(request: Request, caller: Annotated[Caller, Depends(allowed("admin"))]) -> Response:
    """Make the bundle before the current one current again."""
    service: Service = request.app.state.service
    shop = service.shop_of(caller)

    def work() -> str:
        shelf = Places(shop.root).shelf()
        earlier = shelf.history()[-2:-1]
        try:
            shop.serve(shelf.load(earlier[0] if earlier else None))
        except MissingError as fault:
            raise ProblemError("conflict", fault.text) from None
        return shelf.roll_back()

    name = await anyio.to_thread.run_sync(work)
    service.trail.note(caller, "model.rollback", request_id=request.state.request_id, detail={"model": name})
    return _told(shop)


def _told(shop: LiveShop) -> Response:
    shelf = Places(shop.root).shelf()
    history, serving = shelf.history(), shop.serving
    told = {
        "models": shelf.ids(),
        "promoted": history[-1] if history else None,
        "serving": serving,
        "shadow": Challenges(shop.database).newest(shop.shop_id, serving) if serving else None,
    }
    return Response(orjson.dumps(told), media_type="application/json")
