"""Who may do what: a call carries a key of one shop, each address asks for one scope, and each key has a rate.

Keys are looked up in the store and remembered for a few seconds, so a revoked key ends within that time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import anyio.to_thread
from fastapi import Request

from ebbtide.core.language import Text
from ebbtide.serve.problems import ProblemError
from ebbtide.serve.tokens import Tokens
from ebbtide.store.keys import Key, Keys

REMEMBERED_SECONDS = 2.0
_MOST, _LONGEST = 10_000, 16_384
"""Secrets that are remembered, by their hash, and characters of the longest that is looked at."""
_TOKENS_AT_ONCE = 4
"""Threads that may wait for the provider of tokens, so that they leave some for whoever has a key."""
_SEND = Text(
    "send `Authorization: Bearer KEY` with a live key; `ebbtide keys create` makes one",
    "请发送 `Authorization: Bearer KEY`，并使用有效密钥；`ebbtide keys create` 可创建",
)


@dataclass(frozen=True)
class Caller:
    """Who calls: `key_id` names the key in the audit, `shop_id` is the only shop that it may see."""

    key_id: str
    shop_id: str
    key: Key


@dataclass
class _Bucket:
    """A token bucket: `left` calls at once, refilled with time."""

    left: float
    at: float


class Gate:
    """Opens for live keys, and for `tokens` where a provider is set. `rate` calls a second and key, `burst` at once."""

    def __init__(
        self, keys: Keys, *, now_us: Callable[[], int], rate: float, burst: int, tokens: Tokens | None = None
    ) -> None:
        self._keys, self._now_us, self._rate, self._burst, self._tokens = keys, now_us, rate, burst, tokens
        self._known: OrderedDict[bytes, tuple[float, Caller | None]] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._readers = anyio.CapacityLimiter(_TOKENS_AT_ONCE)

    async def admit(self, request: Request, scope: str) -> Caller:
        """The caller, if the key is live, allows the scope and is not too fast.

        Raises ProblemError: 401 without a live key, 403 without the scope, 429 with Retry-After.
        """
        secret = secret_of(request.headers.get("authorization", ""))
        caller = await self._find(secret) if secret else None
        if caller is None:
            raise ProblemError("unauthorized", _SEND, {"WWW-Authenticate": 'Bearer realm="ebbtide"'})
        self.count(caller)
        if not caller.key.allows(scope):
            detail = Text("it needs the scope {scope}", "需要权限范围 {scope}").format(scope=scope)
            raise ProblemError("forbidden", detail)
        return caller

    def recall(self, authorization: str, scope: str) -> Caller | None:
        """The caller, if `admit` would let them in by memory alone. Whoever answers them then says so by `count`."""
        secret = secret_of(authorization)
        if not secret or len(secret) > _LONGEST:
            return None
        at, caller = self._known.get(_name(secret), (0.0, None))
        now = time.monotonic()
        if caller is None or now - at >= REMEMBERED_SECONDS or not caller.key.is_live(self._now_us()):
            return None
        return caller if caller.key.allows(scope) and self._bucket(caller, now).left >= 1 else None

    async def _find(self, secret: str) -> Caller | None:
        if len(secret) > _LONGEST:
            return None
        now, name = time.monotonic(), _name(secret)
        known = self._known.get(name)
        if known is None or now - known[0] >= REMEMBERED_SECONDS:
            if self._tokens is not None and self._tokens.is_token(secret):
                found = await anyio.to_thread.run_sync(self._tokens.read, secret, limiter=self._readers)
            else:
                found = self._keys.find(secret, now_us=self._now_us())
            known = self._known[name] = (now, Caller(found.key_id, found.shop_id, found) if found else None)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        caller = known[1]
        return caller if caller is not None and caller.key.is_live(self._now_us()) else None

    def _bucket(self, caller: Caller, now: float) -> _Bucket:
        """The caller's bucket as it stands now."""
        bucket = self._buckets.get(caller.key_id)
        if bucket is None:
            bucket = self._buckets[caller.key_id] = _Bucket(float(self._burst), now)
        bucket.left = min(float(self._burst), bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        return bucket

    def count(self, caller: Caller) -> None:
        """Count a call. Raises ProblemError (429) if the caller is too fast."""
        bucket = self._bucket(caller, time.monotonic())
        if bucket.left < 1:
            wait = max(1, round((1 - bucket.left) / self._rate))
            detail = Text(
                "this key may make {rate:g} calls a second: send more events a call, or slow down",
                "该密钥每秒最多 {rate:g} 次请求：请在每次请求中发送更多事件，或放慢速度",
            ).format(rate=self._rate)
            raise ProblemError("rate_limited", detail, {"Retry-After": str(wait)})
        bucket.left -= 1


def allowed(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency of a route: the caller, who has the scope. The table of the docs is made from it."""

    async def caller(request: Request) -> Caller:
        gate: Gate = request.app.state.service.gate
        return await gate.admit(request, scope)

    caller.scope = scope  # type: ignore[attr-defined]
    return caller


def _name(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def secret_of(authorization: str) -> str:
    """The key of `Bearer KEY`, or the user name of `Basic` as Segment's libraries send it; "" if there is none."""
    kind, _, rest = authorization.partition(" ")
    if kind.lower() == "bearer":
        return rest.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest.strip()[:1024], validate=True).decode("ascii").partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""
