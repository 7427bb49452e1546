"""A typed client of the service, for programs in Python: `Client` waits, `AsyncClient` is awaited. They need `httpx` only.

    with Client("http://127.0.0.1:8000", key) as ebbtide:
        ebbtide.send([{"event_id": "web-1", "user_id": "customer-17", "type": "order", "occurred_at": "2026-11-27T10:15:00Z"}])
        print(ebbtide.risk("customer-17").churn_probability)

A call that the service could not take right now (429, 503) or that broke on the way is made again after a pause, as often as
`attempts` says. That is safe: events carry ids, so an event that was stored before is a duplicate and counts once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from ebbtide.core.errors import RefusedError, RetryError

MOST_EVENTS = 1_000
_AGAIN = frozenset((429, 502, 503, 504))
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Sent:
    """What became of the events; `results` has one entry an event, in their order."""

    accepted: int
    duplicate: int
    rejected: int
    results: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Risk:
    """A user's risk; the fields of the API's answer. Not eligible: no probability.

    `set_aside`: why this user could not be scored, as `code` and `text`; then `eligible` is None, too.
    """

    user_id: str
    as_of: str
    eligible: bool | None
    churn_probability: float | None
    percentile: float | None
    band: str | None
    expected_orders: float | None
    value_at_risk: float | None
    reasons: tuple[Mapping[str, Any], ...] | None
    model: str | None
    computed: str
    set_aside: Mapping[str, str] | None = None
    stage: str | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the API's answer; what a newer service tells beyond these fields is left aside."""
        known = {name: told.get(name) for name in cls.__dataclass_fields__}
        reasons = known["reasons"]
        return cls(**{**known, "reasons": None if reasons is None else tuple(reasons)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Call:
    method: str
    path: str
    params: Mapping[str, Any] | None = None
    body: object = None


def _send(events: Sequence[Mapping[str, Any]]) -> _Call:
    return _Call("POST", "/v1/events", body={"events": list(events)})


def _risk(user_id: str, stored: bool) -> _Call:
    return _Call("GET", f"/v1/users/{quote(user_id, safe='')}/risk", {"stored": "true"} if stored else None)


def _risks(user_ids: Sequence[str], reasons: bool) -> _Call:
    return _Call("POST", "/v1/risk", body={"user_ids": list(user_ids), "reasons": reasons})


def _page(bands: Sequence[str], limit: int, cursor: str | None) -> _Call:
    params: dict[str, Any] = {"limit": limit, "band": list(bands)}
    return _Call("GET", "/v1/at-risk", params | ({"cursor": cursor} if cursor else {}))


def _parts(events: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    for start in range(0, len(events), MOST_EVENTS):
        yield events[start : start + MOST_EVENTS]


def _joined(answers: Sequence[Mapping[str, Any]]) -> Sent:
    accepted, duplicate, rejected = (sum(a[name] for a in answers) for name in ("accepted", "duplicate", "rejected"))
    return Sent(accepted, duplicate, rejected, tuple(r for a in answers for r in a["results"]))


class _Rules:
    """When to try again, and what an answer means."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts

    def pause(self, attempt: int, answer: httpx.Response | None) -> float | None:
        """Seconds to wait before the next attempt, None if this one decides."""
        if attempt + 1 >= self.attempts or (answer is not None and answer.status_code not in _AGAIN):
            return None
        asked = answer.headers.get("retry-after", "") if answer is not None else ""
        if asked.isdigit():
            return min(float(asked), _LONGEST_PAUSE)
        return random.uniform(0, min(_LONGEST_PAUSE, 0.2 * 2**attempt))

    @staticmethod
    def read(answer: httpx.Response | None) -> Any:
        """The JSON of an answer. Raises RefusedError (4xx), RetryError (no answer, 429, 5xx)."""
        if answer is None or answer.status_code in _AGAIN or answer.status_code >= 500:
            why = "no answer" if answer is None else f"HTTP {answer.status_code}"
            raise RetryError(
                "the service did not take the call ({why}): try again later",
                "服务未受理该请求（{why}）：请稍后重试",
                why=why,
            )
        if answer.status_code >= 400:
            raise RefusedError(
                answer.json() if "json" in answer.headers.get("content-type", "") else {"title": answer.text[:200]}
            )
        return answer.json()


class Client:
    """Calls that wait. `key`: an API key; `attempts`: how often a call is made before it fails."""

    def __init__(
        self, url: str, key: str, *, attempts: int = 6, timeout: float = 30.0, language: str = "en",
        transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._rules = _Rules(attempts)
        self._http = httpx.Client(base_url=url, headers=_headers(key, language), timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def send(self, events: Sequence[Mapping[str, Any]]) -> Sent:
        """Send any number of events, 1,000 a call; they are durable when this returns.

        Raises RefusedError if a call is refused, RetryError if the service does not take one: what was sent before stays.
        """
        return _joined([self._ask(_send(part)) for part in _parts(events)])

    def risk(self, user_id: str, *, stored: bool = False) -> Risk:
        """One user's risk with reasons, computed now or as stored. Raises RefusedError for an unknown user."""
        return Risk.of(self._ask(_risk(user_id, stored)))

    def risks(self, user_ids: Sequence[str], *, reasons: bool = False) -> list[Risk]:
        """The risks of up to 1,000 users, in their order; who could not be scored has `set_aside`."""
        return [Risk.of(told) for told in self._ask(_risks(user_ids, reasons))["risks"]]

    def at_risk(self, *, bands: Sequence[str] = (), page: int = 500) -> Iterator[Risk]:
        """The stored list, most at risk first, page by page as it is read."""
        cursor: str | None = None
        while True:
            told = self._ask(_page(bands, page, cursor))
            yield from (Risk.of(row) for row in told["risks"])
            cursor = told["next"]
            if cursor is None:
                return

    def _ask(self, call: _Call) -> Any:
        for attempt in range(self._rules.attempts):
            answer: httpx.Response | None
            try:
                answer = self._http.request(call.method, call.path, params=call.params, json=call.body)
            except httpx.TransportError:
                answer = None
            pause = self._rules.pause(attempt, answer)
            if pause is None:
                break
            time.sleep(pause)
        return self._rules.read(answer)


class AsyncClient:
    """The same calls, awaited."""

    def __init__(
        self, url: str, key: str, *, attempts: int = 6, timeout: float = 30.0, language: str = "en",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._rules = _Rules(attempts)
        self._http = httpx.AsyncClient(
            base_url=url, headers=_headers(key, language), timeout=timeout, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def send(self, events: Sequence[Mapping[str, Any]]) -> Sent:
        """As `Client.send`."""
        return _joined([await self._ask(_send(part)) for part in _parts(events)])

    async def risk(self, user_id: str, *, stored: bool = False) -> Risk:
        """As `Client.risk`."""
        return Risk.of(await self._ask(_risk(user_id, stored)))

    async def risks(self, user_ids: Sequence[str], *, reasons: bool = False) -> list[Risk]:
        """As `Client.risks`."""
        return [Risk.of(told) for told in (await self._ask(_risks(user_ids, reasons)))["risks"]]

    async def at_risk(self, *, bands: Sequence[str] = (), page: int = 500) -> AsyncIterator[Risk]:
        """As `Client.at_risk`."""
        cursor: str | None = None
        while True:
            told = await self._ask(_page(bands, page, cursor))
            for row in told["risks"]:
                yield Risk.of(row)
            cursor = told["next"]
            if cursor is None:
                return

    async def _ask(self, call: _Call) -> Any:
        for attempt in range(self._rules.attempts):
            answer: httpx.Response | None
            try:
                answer = await self._http.request(call.method, call.path, params=call.params, json=call.body)
            except httpx.TransportError:
                answer = None
            pause = self._rules.pause(attempt, answer)
            if pause is None:
                break
            await asyncio.sleep(pause)
        return self._rules.read(answer)


def _headers(key: str, language: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Accept-Language": language}
