"""Webhooks as of https://www.standardwebhooks.com: signed, with one id however often it is sent.

The host is resolved once a sending, its addresses are checked, and the connection goes to the address that was checked,
so a name that changes its mind in between gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from pydantic import SecretStr
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from ebbtide.core.alert_settings import ChannelConfig
from ebbtide.core.errors import ConfigError
from ebbtide.core.language import Text
from ebbtide.core.windows import parse_duration
from ebbtide.serve.addresses import Address, may_call, resolve
from ebbtide.serve.sending import ARRIVED, Outcome
from ebbtide.store.outbox import Message

_SHORTEST_SECRET = 24
"""Bytes, as the specification asks (24 to 64)."""
_READ_BYTES = 65_536
_LONGEST_WAIT_SECONDS = 3600.0
_GONE = 410


class WebhookSender:
    """One receiver. Raises ConfigError for a secret that is none; its text stays out of the message."""

    def __init__(self, channel: ChannelConfig, secrets: Sequence[SecretStr]) -> None:
        self._url, self._allow_private = httpx.URL(channel.url), channel.allow_private
        self._seconds = parse_duration(channel.timeout).total_seconds()
        self._signers = [_signer(channel.name, secret) for secret in secrets]
        limits = httpx.Limits(max_connections=channel.parallel, max_keepalive_connections=channel.parallel)
        timeout = httpx.Timeout(self._seconds, connect=self._seconds / 2)
        self._client = httpx.AsyncClient(follow_redirects=False, trust_env=False, limits=limits, timeout=timeout)

    async def send(self, message: Message) -> Outcome:
        """Post a message. 2xx has arrived; 410 is final; all else is tried again."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._send(message)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome("timeout")
        except httpx.ConnectError:
            return Outcome("unreachable")
        except httpx.HTTPError:
            return Outcome("broken_off")

    async def close(self) -> None:
        """Close kept connections."""
        await self._client.aclose()

    async def _send(self, message: Message) -> Outcome:
        addresses = await resolve(self._url.host, self._url.port or _usual_port(self._url))
        if not addresses:
            return Outcome("unresolved")
        if not all(may_call(address, allow_private=self._allow_private) for address in addresses):
            return Outcome("address_refused")
        headers = self._headers(message)
        for address in addresses[:-1]:
            try:
                return await self._post(address, headers, message.body)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post(addresses[-1], headers, message.body)

    async def _post(self, address: Address, headers: dict[str, str], body: bytes) -> Outcome:
        url, named = self._url.copy_with(host=str(address)), {"sni_hostname": self._url.host}
        extensions = named if self._url.scheme == "https" else {}
        async with self._client.stream("POST", url, headers=headers, content=body, extensions=extensions) as answer:
            await _read_some(answer)
            return _outcome(answer)

    def _headers(self, message: Message) -> dict[str, str]:
        now = datetime.now(UTC)
        signatures = [signer.sign(message.message_id, now, message.body.decode()) for signer in self._signers]
        return {
            "host": self._url.netloc.decode("ascii"),
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "ebbtide",
            "webhook-id": message.message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


def _signer(channel: str, secret: SecretStr) -> Webhook:
    try:
        text = secret.get_secret_value().removeprefix("whsec_")
        if len(binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)) >= _SHORTEST_SECRET:
            return Webhook(text)
    except (ValueError, EmptyWebhookSecretError):
        pass
    raise ConfigError(
        [
            Text(
                f"channel {channel}: a signing secret is `whsec_` and the base64 of at least {_SHORTEST_SECRET} random bytes",
                f"channel {channel}：签名密钥为 `whsec_` 加至少 {_SHORTEST_SECRET} 个随机字节的 base64",
            )
        ]
    )


async def _read_some(answer: httpx.Response) -> None:
    """Read a short answer to its end, so that the connection can be kept; of a long one no more than its beginning."""
    read = 0
    async for part in answer.aiter_raw():
        read += len(part)
        if read > _READ_BYTES:
            return


def _outcome(answer: httpx.Response) -> Outcome:
    if answer.is_success:
        return ARRIVED
    if answer.is_redirect or answer.has_redirect_location:
        return Outcome("redirected")
    wait = _wait_seconds(answer.headers.get("retry-after", ""))
    return Outcome(f"status_{answer.status_code}", wait, is_final=answer.status_code == _GONE)


def _wait_seconds(text: str) -> float:
    """What `Retry-After` asks for, in seconds or as a date; 0 where it is unreadable, an hour at most."""
    try:
        asked = (
            float(int(text)) if text.isdigit() else (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        )
    except (ValueError, TypeError):
        return 0.0
    return min(max(asked, 0.0), _LONGEST_WAIT_SECONDS)


def _usual_port(url: httpx.URL) -> int:
    return 443 if url.scheme == "https" else 80
