"""Bearer tokens of an identity provider (OpenID Connect): signed JWTs, checked against its published keys.

Only asymmetric signatures count, and issuer, audience, expiry and subject must be there. The token's scopes are those of
keys; its claim `shop_id` names the shop, and may be left out where only one is served.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import jwt

from ebbtide.core.errors import ConfigError
from ebbtide.core.language import Text
from ebbtide.core.serve_settings import ServeConfig
from ebbtide.store.keys import SCOPES, Key

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY_SECONDS = 30
_REMEMBERED_SECONDS = 300
_LONGEST = 16_384


class Tokens:
    """Reads tokens of the provider of the settings. Its keys are fetched once and remembered for five minutes.

    Raises ConfigError without an audience: a token for anybody else would open this service, too.
    """

    def __init__(self, settings: ServeConfig, shops: Sequence[str]) -> None:
        if not settings.oidc_audience:
            raise ConfigError([Text("serve: oidc_issuer needs oidc_audience", "serve：oidc_issuer 需要 oidc_audience")])
        self._issuer, self._audience, self._shops = settings.oidc_issuer, settings.oidc_audience, tuple(shops)
        where = settings.oidc_keys or f"{settings.oidc_issuer.rstrip('/')}/.well-known/jwks.json"
        self._keys = jwt.PyJWKClient(where, cache_jwk_set=True, lifespan=_REMEMBERED_SECONDS, timeout=5)

    @staticmethod
    def is_token(secret: str) -> bool:
        """Whether it has the form of a JWT."""
        return secret.count(".") == 2 and len(secret) <= _LONGEST

    def read(self, token: str) -> Key | None:
        """What a good token allows, as a key has it; None for any other. May wait for the provider's keys."""
        try:
            signer = self._keys.get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token, signer.key, algorithms=list(ALGORITHMS), audience=self._audience, issuer=self._issuer,
                leeway=_LEEWAY_SECONDS, options={"require": ["exp", "iss", "aud", "sub"]},
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError):
            return None
        return self._key(claims)

    def _key(self, claims: dict[str, Any]) -> Key | None:
        shop = claims.get("shop_id", self._shops[0] if len(self._shops) == 1 else None)
        told = claims.get("scope", "")
        asked = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        if shop not in self._shops:
            return None
        who = hashlib.sha256(f"{self._issuer}\x1f{claims['sub']}".encode()).hexdigest()[:16]
        ends_us = int((claims["exp"] + _LEEWAY_SECONDS) * 1_000_000)
        return Key(f"oidc-{who}", shop, "", tuple(s for s in SCOPES if s in asked), 0, ends_us, None)
