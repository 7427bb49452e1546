"""Tokens of a provider: only what it has signed, for us, in time, opens anything."""

from __future__ import annotations

import json
import socket
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
        {"sub": ""},
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


@pytest.mark.parametrize("algorithm", ["ES256", "ES512", "EdDSA", "PS256", "HS512", "none", "XY1", None, 5])
def test_an_algorithm_that_is_not_the_keys_opens_nothing(provider: str, algorithm: object) -> None:
    """The key's id is public, so anybody can name it beside any algorithm."""
    head, body = (jwt.utils.base64url_encode(json.dumps(part).encode()).decode() for part in (
        {"alg": algorithm, "kid": "one"}, {"iss": provider, "aud": "ebbtide", "sub": "ana", "exp": time.time() + 600},
    ))  # fmt: skip
    assert reader(provider).read(f"{head}.{body}.AAAA") is None


@pytest.mark.parametrize("claim", [{"exp": "4000000000"}, {"exp": 1e300}, {"scope": 5}, {"scope": [["admin"], 7]}])
def test_odd_claims_of_the_provider_break_nothing(provider: str, claim: dict[str, Any]) -> None:
    found = reader(provider).read(token(provider, **claim))
    assert found is None or "admin" not in found.scopes


def test_without_the_provider_callers_are_told_to_come_again_and_it_is_left_alone_for_a_while(site: Site) -> None:
    """A listener that never answers; whoever sends made-up tokens must not hold threads by it, one token after the other."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        tokens = reader(url)
        tokens._keys.timeout = 0.2
        site.service.gate._tokens = tokens
        for kid in ("one", "two", "three"):
            headers = {"Authorization": f"Bearer {token(url, kid=kid)}"}
            answer = site.client.get("/v1/models", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
            assert url not in answer.text
        silent.settimeout(0.5)
        silent.accept()[0].close()
        with pytest.raises(TimeoutError):
            silent.accept()  # it was asked once
    assert not Tokens.is_token("ebb_1_2")


def test_tokens_wait_for_the_provider_apart_from_the_work_for_others(site: Site, provider: str) -> None:
    """However many tokens wait for the provider's keys, threads are left for calls with keys."""
    tokens, open_now = reader(provider), threading.Event()
    site.service.gate._tokens = tokens
    tokens.read = lambda _: open_now.wait(20) and None  # type: ignore[assignment, method-assign, return-value, func-returns-value]
    calls = [
        threading.Thread(target=site.client.get, args=("/v1/models",), kwargs={"headers": {"Authorization": f"Bearer a.b.{n}"}})
        for n in range(50)
    ]  # fmt: skip
    for call in calls:
        call.start()
    try:
        assert site.call("GET", "/v1/alerts", scope="alerts:read").status_code == 200
        assert not open_now.is_set()
    finally:
        open_now.set()
        for call in calls:
            call.join()


@pytest.mark.parametrize("issuer", ["example.org", "ftp://example.org", "http://[example"])
def test_an_issuer_that_is_no_address_is_told_before_anything_starts(issuer: str) -> None:
    with pytest.raises(ConfigError, match="https://"):
        reader(issuer)


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
