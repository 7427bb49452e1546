"""The short way answers as the long one does, and only where that one would."""

from __future__ import annotations

from typing import Any

import pytest
from tests.serve.conftest import Site

from ebbtide.core.errors import RetryError
from ebbtide.core.windows import to_us
from ebbtide.pipeline.rescoring import rescore_everybody, rescore_touched
from ebbtide.serve.short_way import ShortWay
from ebbtide.store.audit import Audit
from ebbtide.store.keys import Keys

SHORT, LONG = "stored=true", "stored=1"
"""The same question; only the first is plain."""


@pytest.fixture
def scored(site: Site, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A site with stored scores: its site, a user, and how often the short way answered."""
    rescore_everybody(site.service.shops["shop"])
    taken: list[bool] = []
    answer = ShortWay._answer

    def watched(self: ShortWay, scope: Any) -> bytes | None:
        found = answer(self, scope)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(ShortWay, "_answer", watched)
    return {"site": site, "user": site.shop.score().frame["user_id"][0], "taken": taken}


def ask(site: Site, user: str, query: str, secret: str) -> Any:
    return site.client.get(f"/v1/users/{user}/risk?{query}", headers={"Authorization": f"Bearer {secret}"})


def test_both_ways_give_the_same_answer(scored: dict[str, Any]) -> None:
    site, secret = scored["site"], scored["site"].key("risk:read")
    long = ask(site, scored["user"], LONG, secret)
    short = ask(site, scored["user"], SHORT, secret)
    assert scored["taken"] == [True]
    assert (short.status_code, short.json()) == (long.status_code, long.json()) == (200, long.json())
    assert list(short.json()) == list(long.json())
    assert {**short.headers, "x-request-id": ""} == {**long.headers, "x-request-id": ""}


def test_reasons_of_a_stored_score_are_told(scored: dict[str, Any]) -> None:
    shop, secret = scored["site"].service.shops["shop"], scored["site"].key("risk:read")
    with shop.database.write() as connection:
        connection.exec_driver_sql("""update scores set reasons = '[{"feature": "f", "text": "沉默"}]'""")
    for query in (LONG, LONG, SHORT):
        told = ask(scored["site"], scored["user"], query, secret).json()
        assert told["reasons"] == [{"feature": "f", "text": "沉默"}]
    assert scored["taken"] == [True]


def test_a_new_score_is_told_at_once(scored: dict[str, Any]) -> None:
    site, user, secret = scored["site"], scored["user"], scored["site"].key("risk:read")
    ask(site, user, LONG, secret)
    before = ask(site, user, SHORT, secret).json()
    site.send({"user_id": user, "type": "order", "occurred_at": f"{site.now:%Y-%m-%dT%H:%M:%SZ}", "value": 30})
    rescore_touched(site.service.shops["shop"])
    after = ask(site, user, SHORT, secret).json()
    assert after["churn_probability"] < before["churn_probability"]
    assert scored["taken"] == [True, True]


def test_each_read_is_in_the_audit_the_figures_and_the_log_without_the_person(
    scored: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    site, user, secret = scored["site"], scored["user"], scored["site"].key("risk:read")
    for query in (LONG, SHORT):
        ask(site, user, query, secret)
    figures = site.client.get("/metrics").text
    site.service.trail.close()
    entries = [entry for _, entry in Audit(site.service.database).entries("shop")]
    assert [(e.action, e.subject) for e in entries] == [("risk.read", entries[0].subject)] * 2
    lines = site.lines()[:2]
    assert {line["message"] for line in lines} == {"GET /v1/users/{user_id}/risk 200"}
    assert [line["request_id"] for line in lines] == [e.request_id for e in reversed(entries)]
    assert 'ebbtide_request_seconds_count{method="GET",route="/v1/users/{user_id}/risk",status="200"} 2.0' in figures
    assert user not in figures + caplog.text + site.access_log.getvalue().decode()


@pytest.mark.parametrize("kind", ["none", "wrong", "expired", "revoked", "scope", "shop"])
def test_who_may_not_gets_the_refusal_of_the_long_way(
    scored: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, user = scored["site"], scored["user"]
    expires = to_us(site.now) + 1
    made = Keys(site.service.database).create("shop", "n", ["risk:read"], now_us=0, expires_us=expires)
    assert ask(site, user, LONG, made.secret).status_code == 200
    assert ask(site, user, SHORT, made.secret).status_code == 200
    secret = {
        "none": "", "wrong": made.secret[:-2] + "xx", "scope": site.key("events:write"), "shop": site.key("admin", shop="b")
    }.get(kind, made.secret)  # fmt: skip
    if kind == "expired":
        site.service.gate._now_us = lambda: expires
    if kind == "revoked":
        Keys(site.service.database).revoke("shop", made.key.key_id, now_us=1)
        monkeypatch.setattr("ebbtide.serve.access.REMEMBERED_SECONDS", 0.0)
    for _ in range(2):  # the second time it is remembered
        long, short = ask(site, user, LONG, secret), ask(site, user, SHORT, secret)
        assert long.status_code == short.status_code == {"scope": 403, "shop": 404}.get(kind, 401)
        assert {**long.json(), "request_id": ""} == {**short.json(), "request_id": ""}
    assert scored["taken"] == [True, False, False]


def test_both_ways_count_against_the_rate(scored: dict[str, Any]) -> None:
    site, secret = scored["site"], scored["site"].key("risk:read")
    site.service.gate._burst, site.service.gate._rate = 3, 0.1
    answers = [ask(site, scored["user"], query, secret) for query in (LONG, SHORT, SHORT, SHORT, SHORT)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert scored["taken"] == [True, True, False, False]


@pytest.mark.parametrize("user", ["nobody", "no%00body", "a%2Fb", "%ED%A0%80", "x" * 257, "", "%E5%BC%A0"])
def test_users_who_are_not_there_are_told_by_the_long_way(scored: dict[str, Any], user: str) -> None:
    site, secret = scored["site"], scored["site"].key("risk:read")
    long, short = ask(site, user, LONG, secret), ask(site, user, SHORT, secret)
    assert long.status_code == short.status_code < 500
    assert {**long.json(), "request_id": ""} == {**short.json(), "request_id": ""}
    assert not any(scored["taken"])


def test_a_store_that_is_away_is_told_by_the_long_way(scored: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    site, secret = scored["site"], scored["site"].key("risk:read")
    assert ask(site, scored["user"], LONG, secret).status_code == 200

    def away(*asked: object) -> None:
        raise RetryError("away", "离线")

    monkeypatch.setattr(site.service.shops["shop"].scores, "of_user", away)
    assert ask(site, scored["user"], SHORT, secret).status_code == 503


def test_only_the_question_itself_goes_the_short_way(scored: dict[str, Any]) -> None:
    site, secret = scored["site"], scored["site"].key("risk:read")
    headers = {"Authorization": f"Bearer {secret}"}
    path = f"/v1/users/{scored['user']}/risk"
    ask(site, scored["user"], LONG, secret)
    for method, address in (
        ("HEAD", path),
        ("POST", path),
        ("GET", path + "/"),
        ("GET", f"/v1/users/{scored['user']}"),
    ):
        site.client.request(method, f"{address}?{SHORT}", headers=headers, follow_redirects=False)
    assert not any(scored["taken"])
