from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from tests.serve.conftest import Site

from ebbtide.core.errors import RefusedError, RetryError
from ebbtide.pipeline import live_shop
from ebbtide.pipeline.rescoring import rescore_everybody
from ebbtide.pipeline.score import Scored
from ebbtide.serve.client import AsyncClient, Client

CLICK = {"user_id": "u1", "type": "product_view", "occurred_at": "2024-07-01T10:00:00Z"}


def through(site: Site) -> httpx.BaseTransport:
    """Hand the client's calls to the app of the site."""

    def answer(request: httpx.Request) -> httpx.Response:
        got = site.client.request(
            request.method, str(request.url), content=request.content, headers=dict(request.headers)
        )
        return httpx.Response(
            got.status_code, content=got.content, headers={"content-type": got.headers["content-type"]}
        )

    return httpx.MockTransport(answer)


@pytest.fixture
def client(site: Site) -> Client:
    return Client("http://testserver", site.key("admin"), transport=through(site))


def test_any_number_of_events_is_sent_and_every_one_is_answered(client: Client) -> None:
    events = [{**CLICK, "event_id": f"e{n}"} for n in range(2_500)]
    sent = client.send([*events, {**CLICK, "event_id": "e0"}])
    assert (sent.accepted, sent.duplicate, sent.rejected, len(sent.results)) == (2_500, 1, 0, 2_501)
    assert client.send([]).results == ()


def test_risks_and_the_list_are_those_of_the_batch(client: Client, site: Site) -> None:
    rescore_everybody(site.service.shops["shop"])
    batch = site.shop.score().frame
    assert [r.user_id for r in client.at_risk(page=77)] == batch["user_id"].to_list()
    top = batch.row(0, named=True)
    assert client.risk(top["user_id"]).churn_probability == pytest.approx(top["churn_probability"], abs=1e-9)
    assert [r.eligible for r in client.risks([top["user_id"], "nobody"])] == [True, False]
    with pytest.raises(RefusedError, match="nothing of that name"):
        client.risk("no/body? {}")


def test_who_could_not_be_scored_is_told_with_the_reason(
    client: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = site.shop.score().frame["user_id"].head(2)
    real = live_shop.scored_rows

    def rows(scored: Scored, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        if first in scored.user_id.to_list():
            raise ValueError
        return real(scored, *arguments, **options)

    monkeypatch.setattr(live_shop, "scored_rows", rows)
    poisoned, sound = client.risks([first, second])
    assert (poisoned.eligible, poisoned.churn_probability, sound.eligible, sound.set_aside) == (None, None, True, None)
    assert poisoned.set_aside == {"code": "failed", "text": "scoring the history failed"}


class Flaky:
    """Fails a few times, each time in another way, then answers."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.calls == 1:
            raise httpx.ConnectError("down")
        if self.calls == 2:
            return httpx.Response(503, headers={"Retry-After": "0"})
        if self.calls == 3:
            return httpx.Response(429, headers={"Retry-After": "0"})
        return httpx.Response(202, json={"accepted": 1, "duplicate": 0, "rejected": 0, "results": [{}]})


def test_a_call_that_cannot_be_taken_now_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    flaky = Flaky()
    with Client("http://x", "k", transport=httpx.MockTransport(flaky)) as client:
        assert client.send([CLICK]).accepted == 1
    assert flaky.calls == 4
    with (
        Client("http://x", "k", attempts=2, transport=httpx.MockTransport(Flaky())) as client,
        pytest.raises(RetryError, match="503"),
    ):
        client.send([CLICK])


def test_a_refusal_is_not_tried_again_and_tells_the_problem() -> None:
    calls: list[Any] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(403, json={"title": "the key does not allow this", "detail": "{odd}"})

    with (
        Client("http://x", "k", transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(RefusedError) as caught,
    ):
        client.risk("u")
    assert len(calls) == 1
    assert caught.value.problem["detail"] == "{odd}"
    assert str(caught.value) == "the key does not allow this: {odd}"


def test_the_awaited_client_does_the_same() -> None:
    async def work() -> None:
        async with AsyncClient("http://x", "k", transport=httpx.MockTransport(Flaky())) as client:
            assert (await client.send([CLICK])).accepted == 1

        def page(request: httpx.Request) -> httpx.Response:
            last = "cursor" in request.url.params
            risk = {"user_id": "u2" if last else "u1", "something_new": 1}
            return httpx.Response(200, json={"risks": [risk], "next": None if last else "c"})

        async with AsyncClient("http://x", "k", transport=httpx.MockTransport(page)) as client:
            assert [r.user_id async for r in client.at_risk()] == ["u1", "u2"]

    asyncio.run(work())
