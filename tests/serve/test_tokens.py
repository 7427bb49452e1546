"""Tokens of a provider: only what it has signed, for us, in time, opens anything."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from tests.serve.conftest import Site

from ebbtide.core.errors import ConfigError
from ebbtide.core.serve_settings import ServeConfig
from ebbtide.serve.tokens import Tokens

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """A provider that publishes KEY."""
    published = json.loads(RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "one", "use": "sig", "alg": "RS256"}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"keys": [published]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def token(provider: str, key: Any = KEY, algorithm: str = "RS256", kid: str = "one", **changes: Any) -> str:
    claims = {"iss": provider, "aud": "ebbtide", "sub": "ana", "exp": time.time() + 600, "scope": "risk:read openid"}
    told = {k: v for k, v in (claims | changes).items() if v is not None}
    return jwt.encode(told, key, algorithm, headers={"kid": kid})


def reader(provider: str, *shops: str) -> Tokens:
    return Tokens(ServeConfig(oidc_issuer=provider, oidc_audience="ebbtide"), shops or ("shop",))


def test_a_good_token_opens_its_scopes_in_its_shop(provider: str) -> None:
    key = reader(provider).read(token(provider))
    assert key is not None
    assert (key.shop_id, key.scopes) == ("shop", ("risk:read",))
    assert "ana" not in key.key_id
    two = reader(provider, "shop", "second")
    assert two.read(token(provider)) is None
    found = two.read(token(provider, shop_id="second"))
    assert found is not None
    assert found.shop_id == "second"
    assert two.read(token(provider, shop_id="third")) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"key": OTHER},
        {"kid": "two"},
        {"iss": "https://elsewhere.example"},
        {"aud": "other"},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"sub": None},
        {"key": "", "algorithm": "none"},
        {"nbf": 4_000_000_000},
    ],
)  # fmt: skip
def test_any_other_token_opens_nothing(provider: str, changes: dict[str, Any]) -> None:
    assert reader(provider).read(token(provider, **changes)) is None


def test_the_public_key_is_no_shared_secret(provider: str) -> None:
    """The old trick: sign with HMAC and the published key."""
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head, body = (jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (
        {"alg": "HS256", "kid": "one", "typ": "JWT"},
        {"iss": provider, "aud": "ebbtide", "sub": "ana", "exp": time.time() + 600, "scope": "admin"},
    ))  # fmt: skip
    signer = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    forged = b".".join((head, body, jwt.utils.base64url_encode(signer.sign(head + b"." + body, pem)))).decode()
    assert reader(provider).read(forged) is None


def test_without_the_provider_nothing_opens_and_nothing_breaks() -> None:
    assert reader("http://127.0.0.1:1").read(token("http://127.0.0.1:1")) is None
    assert not Tokens.is_token("ebb_1_2")


def test_a_provider_without_an_audience_is_refused(provider: str) -> None:
    with pytest.raises(ConfigError, match="oidc_audience"):
        Tokens(ServeConfig(oidc_issuer=provider), ("shop",))


def test_a_call_may_carry_a_token(site: Site, provider: str) -> None:
    site.service.gate._tokens = reader(provider)
    headers = {"Authorization": f"Bearer {token(provider)}"}
    assert site.client.get("/v1/models", headers=headers).status_code == 200
    assert site.client.post("/v1/models/rollback", headers=headers).status_code == 403
    bad = {"Authorization": f"Bearer {token(provider, aud='x')}"}
    assert site.client.get("/v1/models", headers=bad).status_code == 401
