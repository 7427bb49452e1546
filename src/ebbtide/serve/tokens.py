"""Bearer tokens of an identity provider (OpenID Connect): signed JWTs, checked against its published keys.

Only asymmetric signatures count, and issuer, audience, expiry and subject must be there. The token's scopes are those of
keys; its claim `shop_id` names the shop, and may be left out where only one is served.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from typing import Any

import jwt
from jwt.exceptions import PyJWKClientConnectionError

from ebbtide.core.errors import ConfigError, RetryError
from ebbtide.core.language import Text
from ebbtide.core.serve_settings import ServeConfig
from ebbtide.store.keys import SCOPES, Key

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY_SECONDS = 30
_REMEMBERED_SECONDS = 300
_PAUSE_SECONDS = 5.0
_LONGEST = 16_384
log = logging.getLogger("ebbtide.serve")


class _Published(jwt.PyJWKClient):
    """The provider's keys. A provider that does not answer is asked again only after a pause, whoever sends tokens."""

    _not_before = 0.0

    def fetch_data(self) -> Any:
        """Ask; called under the client's lock."""
        if time.monotonic() < self._not_before:
            raise PyJWKClientConnectionError("it did not answer a moment ago")
        try:
            return super().fetch_data()
        except PyJWKClientConnectionError as fault:
            self._not_before = time.monotonic() + _PAUSE_SECONDS
            log.warning("the identity provider's keys cannot be had: %s", type(fault.__cause__ or fault).__name__)
            raise


class Tokens:
    """Reads tokens of the provider of the settings. Its keys are fetched once and remembered for five minutes.

    Raises ConfigError without an audience, as a token for anybody else would open this service, too; and for an address
    of the provider that is none.
    """

    def __init__(self, settings: ServeConfig, shops: Sequence[str]) -> None:
        if not settings.oidc_audience:
            raise ConfigError([Text("serve: oidc_issuer needs oidc_audience", "serve：oidc_issuer 需要 oidc_audience")])
        self._issuer, self._audience, self._shops = settings.oidc_issuer, settings.oidc_audience, tuple(shops)
        where = settings.oidc_keys or f"{settings.oidc_issuer.rstrip('/')}/.well-known/jwks.json"
        try:
            self._keys = _Published(where, cache_jwk_set=True, lifespan=_REMEMBERED_SECONDS, timeout=5)
        except (jwt.PyJWTError, ValueError):
            told = Text(
                "serve: oidc_issuer, or oidc_keys if given, must be a url that begins with https:// (or http://)",
                "serve：oidc_issuer（或给出的 oidc_keys）必须是以 https://（或 http://）开头的 url",
            )
            raise ConfigError([told]) from None

    @staticmethod
    def is_token(secret: str) -> bool:
        """Whether it has the form of a JWT."""
        return secret.count(".") == 2 and len(secret) <= _LONGEST

    def read(self, token: str) -> Key | None:
        """What a good token allows, as a key has it; None for any other. May wait for the provider's keys.

        Raises RetryError while they cannot be had: the token may be good.
        """
        try:
            signer = self._keys.get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token, signer.key, algorithms=list(ALGORITHMS), audience=self._audience, issuer=self._issuer,
                leeway=_LEEWAY_SECONDS, options={"require": ["exp", "iss", "aud", "sub"]},
            )  # fmt: skip
            return self._key(claims) if claims["sub"] else None
        except PyJWKClientConnectionError:
            raise RetryError("the identity provider does not answer: try again", "身份提供方无响应：请重试") from None
        except (jwt.PyJWTError, ValueError, TypeError):  # TypeError: a key of another kind than the algorithm needs
            return None

    def published(self) -> int:
        """How many keys the provider publishes for signing. Raises RetryError if it does not answer, or not with keys."""
        try:
            return len(self._keys.get_signing_keys())
        except (jwt.PyJWTError, ValueError):
            raise RetryError("the identity provider's keys cannot be read", "无法读取身份提供方的公钥") from None

    def _key(self, claims: dict[str, Any]) -> Key | None:
        shop = claims.get("shop_id", self._shops[0] if len(self._shops) == 1 else None)
        told = claims.get("scope", "")
        asked = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        if shop not in self._shops:
            return None
        who = hashlib.sha256(f"{self._issuer}\x1f{claims['sub']}".encode()).hexdigest()[:16]
        ends_us = (int(claims["exp"]) + _LEEWAY_SECONDS) * 1_000_000
        return Key(f"oidc-{who}", shop, "", tuple(s for s in SCOPES if s in asked), 0, ends_us, None)
