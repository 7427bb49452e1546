"""Every address x every scope x every wrong key: only what the table of the docs allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.serve.conftest import Site

from ebbtide.core.windows import to_us
from ebbtide.store.keys import SCOPES, Keys

ROUTES: dict[tuple[str, str], str] = {
    ("POST", "/v1/events"): "events:write",
    ("POST", "/v1/batch"): "events:write",
    ("POST", "/v1/track"): "events:write",
    ("GET", "/v1/users/{user_id}/risk"): "risk:read",
    ("POST", "/v1/risk"): "risk:read",
    ("GET", "/v1/at-risk"): "risk:read",
    ("GET", "/v1/users/{user_id}"): "risk:read",
    ("GET", "/v1/alerts"): "alerts:read",
    ("GET", "/v1/alerts/counts"): "alerts:read",
    ("GET", "/v1/alerts/{alert_id}"): "alerts:read",
    ("POST", "/v1/alerts/{alert_id}"): "alerts:write",
    ("GET", "/v1/plan"): "campaigns:read",
    ("GET", "/v1/campaigns"): "campaigns:read",
    ("GET", "/v1/models"): "risk:read",
    ("POST", "/v1/models/{name}/promote"): "admin",
    ("POST", "/v1/models/rollback"): "admin",
}
"""The table: what each address asks for."""
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
DOCS = Path(__file__).parents[2] / "docs" / "howto"


def test_every_route_is_in_the_table_and_the_table_in_the_docs(site: Site) -> None:
    paths = site.client.get("/v1/openapi.json").json()["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(ROUTES) | OPEN
    for page in ("run-the-service.md", "run-the-service.zh-CN.md"):
        told = (DOCS / page).read_text(encoding="utf-8")
        for (method, path), scope in ROUTES.items():
            assert f"| `{method} {path}` | `{scope}` |" in told


def ask(site: Site, method: str, path: str, secret: str | None) -> int:
    headers = {"Authorization": f"Bearer {secret}".encode("latin-1")} if secret is not None else {}
    body = {"json": {}} if method == "POST" else {}
    filled = path.format(user_id="nobody", name="nothing", alert_id="alr_" + "0" * 32)
    return int(site.client.request(method, filled, headers=headers, **body).status_code)  # type: ignore[arg-type]


def test_a_scope_opens_its_addresses_and_no_other(site: Site) -> None:
    for scope in SCOPES:
        secret = site.key(scope)
        for (method, path), needed in ROUTES.items():
            status = ask(site, method, path, secret)
            if scope in (needed, "admin"):
                assert status not in (401, 403), (scope, path)
            else:
                assert status == 403, (scope, path)


@pytest.mark.parametrize("kind", ["none", "empty", "wrong", "long", "expired", "revoked", "not ascii"])
def test_without_a_live_key_nothing_opens(site: Site, kind: str) -> None:
    good = site.key("admin")
    secret: str | None = {"none": None, "empty": "", "wrong": good[:-2] + "xx", "long": good * 50}.get(kind, good)
    if kind == "expired":
        secret = site.key("admin", expires_us=to_us(site.now) + 1)
        site.service.gate._now_us = lambda: to_us(site.now) + 1
    elif kind == "revoked":
        made = Keys(site.service.database).create("shop", "n", ["admin"], now_us=0)
        Keys(site.service.database).revoke("shop", made.key.key_id, now_us=1)
        secret = made.secret
    elif kind == "not ascii":
        secret = "ebb_\xff"
    for method, path in ROUTES:
        assert ask(site, method, path, secret) == 401


def test_a_key_of_another_shop_reads_nothing_of_this_one(site: Site) -> None:
    """Whatever it asks, no answer of another shop's key names a user or a model of this shop."""
    row = site.shop.score().frame.row(0, named=True)
    secret = site.key("admin", shop="other")
    for method, path in ROUTES:
        headers = {"Authorization": f"Bearer {secret}"}
        body = {"json": {"user_ids": [row["user_id"]]}} if path == "/v1/risk" else {}
        answer = site.client.request(
            method,
            path.format(user_id=row["user_id"], name=row["model"], alert_id="alr_" + "0" * 32),
            headers=headers,
            **body,
        )  # type: ignore[arg-type]
        assert answer.status_code in (400, 404, 422) or path.startswith("/v1/alerts"), path
        assert row["model"] not in answer.text


def test_a_revoked_key_ends_within_the_time_that_keys_are_remembered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Keys(site.service.database).create("shop", "n", ["risk:read"], now_us=0)
    assert ask(site, "GET", "/v1/models", made.secret) == 200
    Keys(site.service.database).revoke("shop", made.key.key_id, now_us=1)
    monkeypatch.setattr("ebbtide.serve.access.REMEMBERED_SECONDS", 0.0)
    assert ask(site, "GET", "/v1/models", made.secret) == 401
