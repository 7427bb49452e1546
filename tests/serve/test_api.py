from __future__ import annotations

import base64
import gzip
import json
import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from tests.pipeline.conftest import UNTIL
from tests.serve.conftest import Site

from ebbtide.core.errors import MissingBundleError
from ebbtide.pipeline import live_shop
from ebbtide.pipeline.live_shop import LiveShop, Served
from ebbtide.pipeline.rescoring import rescore_everybody, rescore_touched
from ebbtide.pipeline.score import Scored
from ebbtide.pipeline.set_aside import Cause
from ebbtide.serve.problems import TITLES
from ebbtide.serve.routes_risk import Risk, Risks
from ebbtide.store.audit import Audit

CLICK = {"event_id": "c1", "user_id": "u1", "type": "product_view", "occurred_at": "2024-07-01T10:00:00Z"}


def test_events_are_answered_one_by_one_when_they_are_stored(site: Site) -> None:
    bad = {**CLICK, "event_id": "c2", "occurred_at": "soon"}
    answer = site.send(CLICK, bad, CLICK)
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 1,
        "duplicate": 1,
        "rejected": 1,
        "results": [
            {"event_id": "c1", "status": "accepted"},
            {"event_id": "c2", "status": "rejected", "reason": "bad_time", "field": "occurred_at"},
            {"event_id": "c1", "status": "duplicate"},
        ],
    }
    assert len(site.service.shops["shop"].inbox.after("shop", 0, 10)) == 1


def test_the_same_call_with_a_key_gets_the_same_answer_and_another_body_is_refused(site: Site) -> None:
    headers = {"Idempotency-Key": "k"}
    first = site.send(CLICK, headers=headers)
    assert site.send(CLICK, headers=headers).content == first.content
    assert site.send({**CLICK, "event_id": "c9"}, headers=headers).status_code == 400
    assert site.send(CLICK).json()["duplicate"] == 1


def test_packed_bodies_are_unpacked_and_bombs_are_not(site: Site) -> None:
    body = json.dumps({"events": [CLICK]}).encode()
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert site.call("POST", "/v1/events", content=gzip.compress(body), headers=packed).status_code == 202
    bomb = gzip.compress(b" " * 50_000_000)
    assert site.call("POST", "/v1/events", content=bomb, headers=packed).status_code == 413
    assert site.call("POST", "/v1/events", content=gzip.compress(body)[:-9], headers=packed).status_code == 400
    for behind in (b"junk", gzip.compress(body)):
        answer = site.call("POST", "/v1/events", content=gzip.compress(body) + behind, headers=packed)
        assert (answer.status_code, "member" in answer.text) == (400, True), (
            "nothing that was sent is left aside unsaid"
        )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"events": []}', 422),
        (b'{"events": {}}', 422),
        (json.dumps({"events": [CLICK] * 1001}).encode(), 422),
        (b'{"events": [' + b"[" * 100 + b"]" * 100 + b"]}", 413),
        (b'{"events": "' + b"x" * 3_000_000 + b'"}', 413),
        (b"\xff\xfe", 400),
    ],
)
def test_a_body_of_the_wrong_shape_is_a_problem_in_one_shape(site: Site, body: bytes, status: int) -> None:
    answer = site.call("POST", "/v1/events", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert set(told) == {"type", "title", "status", "code", "detail", "request_id"}
    assert TITLES[told["code"]][0] == told["status"] == status


def test_segments_libraries_can_send(site: Site) -> None:
    order = {
        "type": "track", "event": "Order Completed", "messageId": "m1", "userId": "u7", "timestamp": "2024-07-01T10:00:00Z",
        "properties": {"order_id": "o1", "products": [{"sku": "a", "price": "9.5", "quantity": 2}, {"sku": "b", "price": 1}]},
    }  # fmt: skip
    secret = site.key("events:write")
    basic = {"Authorization": "Basic " + base64.b64encode(f"{secret}:".encode()).decode()}
    answer = site.client.post("/v1/batch", json={"batch": [order, {"type": "identify", "userId": "u7"}]}, headers=basic)
    assert answer.json()["accepted"] == 2
    assert site.call("POST", "/v1/track", json=order).json()["duplicate"] == 2
    stored = site.service.shops["shop"].inbox.after("shop", 0, 10)
    assert [(e.fields["type"], e.fields["item_id"], e.fields["value"]) for e in stored] == [
        ("order", "a", 19.0),
        ("order", "b", 1.0),
    ]


def test_a_risk_read_now_is_that_of_the_list(site: Site) -> None:
    for row in site.shop.score().frame.head(5).iter_rows(named=True):
        told = site.call("GET", f"/v1/users/{row['user_id']}/risk", scope="risk:read").json()
        assert told["churn_probability"] == pytest.approx(row["churn_probability"], abs=1e-9)
        assert (told["band"], told["model"], told["computed"]) == (row["band"], row["model"], "now")
        assert [r["text"] for r in told["reasons"]] == [r["text"] for r in row["reasons"]]


def test_reasons_speak_the_callers_language(site: Site) -> None:
    user = site.shop.score().frame["user_id"][0]
    zh = site.call("GET", f"/v1/users/{user}/risk", headers={"Accept-Language": "fr, zh-CN;q=0.9, en;q=0.1"}).json()
    assert any("\u4e00" <= c <= "\u9fff" for c in zh["reasons"][0]["text"])
    problem = site.call("GET", "/v1/users/nobody/risk", headers={"Accept-Language": "zh"}).json()
    assert problem["title"] == "没有该名称的内容"


def test_an_event_changes_the_risk_at_once(site: Site) -> None:
    user = site.shop.score().frame["user_id"][0]
    before = site.call("GET", f"/v1/users/{user}/risk").json()
    site.send(
        {
            "user_id": user,
            "type": "order",
            "occurred_at": f"{UNTIL - timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}",
            "value": 30,
        }
    )
    after = site.call("GET", f"/v1/users/{user}/risk").json()
    assert after["churn_probability"] < before["churn_probability"]


def test_many_risks_come_in_the_order_of_the_question(site: Site) -> None:
    users = [*site.shop.score().frame["user_id"].head(3).to_list(), "nobody"]
    told = site.call("POST", "/v1/risk", json={"user_ids": users}).json()["risks"]
    assert [r["user_id"] for r in told] == users
    assert [r["eligible"] for r in told] == [True, True, True, False]
    assert site.call("POST", "/v1/risk", json={"user_ids": ["u"] * 1001}).status_code == 422


@pytest.mark.parametrize("way", ["failed", "not_finite"])
def test_a_customer_who_cannot_be_scored_is_told_with_the_reason_and_the_others_are_answered(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    users = site.shop.score().frame["user_id"].head(20).to_list()
    victim, asked = users[7], [*users, "nobody", users[7]]
    before = {r["user_id"]: r for r in site.call("POST", "/v1/risk", json={"user_ids": asked}).json()["risks"]}
    real = live_shop.scored_rows

    def rows(scored: Scored, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        if way == "failed" and victim in scored.user_id.to_list():
            raise ValueError(f"of {victim}")
        found = real(scored, *arguments, **options)
        return [{**row, "churn_probability": math.nan} if row["user_id"] == victim else row for row in found]

    monkeypatch.setattr(live_shop, "scored_rows", rows)
    for language, text in (("en", Cause(way).text.en), ("zh", Cause(way).text.zh)):
        answer = site.call("POST", "/v1/risk", json={"user_ids": asked}, headers={"Accept-Language": language})
        assert answer.status_code == 200
        told = Risks.model_validate(answer.json()).risks
        assert [r.user_id for r in told] == asked
        assert [r.model_dump(exclude={"set_aside"}) for r in told if r.user_id != victim] == [
            before[user] for user in asked if user != victim
        ]
        for alone in (told[7], told[-1]):
            assert alone.set_aside is not None
            assert (alone.set_aside.code, alone.set_aside.text) == (way, text)
            assert (alone.eligible, alone.churn_probability, alone.model) == (None, None, None)
        one = Risk.model_validate(
            site.call("GET", f"/v1/users/{victim}/risk", headers={"Accept-Language": language}).json()
        )
        assert (one.set_aside, one.eligible, one.churn_probability) == (told[7].set_aside, None, None)
    figures = site.client.get("/metrics").text
    assert f'ebbtide_users_set_aside_total{{reason="{way}",way="many"}} 2.0' in figures
    assert f'ebbtide_users_set_aside_total{{reason="{way}",way="one"}} 2.0' in figures
    assert f"a customer is set aside ({way})" in caplog.text
    assert victim not in " ".join(record.getMessage() for record in caplog.records)
    site.service.trail.close()
    read = [entry for _, entry in Audit(site.service.database).entries("shop", limit=1000)]
    assert len(read) == 3 * len(asked) + 2, "who could not be scored was asked about, too"
    monkeypatch.setattr(live_shop, "scored_rows", real)
    again = site.call("POST", "/v1/risk", json={"user_ids": asked}).json()["risks"]
    assert {r["user_id"]: r for r in again} == before


def test_a_model_that_fails_for_everybody_is_a_defect_and_no_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = site.shop.score().frame["user_id"].head(30).to_list()
    site.call("POST", "/v1/risk", json={"user_ids": users})

    def fails(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
        raise ValueError

    monkeypatch.setattr(live_shop, "scored_rows", fails)
    assert site.call("POST", "/v1/risk", json={"user_ids": [*users, "nobody"]}).status_code == 500


def test_the_stored_list_is_paged_without_gaps(site: Site) -> None:
    rescore_everybody(site.service.shops["shop"])
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = site.call("GET", "/v1/at-risk", params={"limit": 50, **({"cursor": cursor} if cursor else {})}).json()
        seen += page["risks"]
        cursor = page["next"]
        if cursor is None:
            break
    batch = site.shop.score().frame
    assert [r["user_id"] for r in seen] == batch["user_id"].to_list()
    np.testing.assert_allclose([r["churn_probability"] for r in seen], batch["churn_probability"], atol=1e-9)
    high = site.call("GET", "/v1/at-risk", params={"limit": 1000, "band": "high"}).json()["risks"]
    assert {r["band"] for r in high} <= {"high"}
    stored = site.call("GET", f"/v1/users/{seen[0]['user_id']}/risk", params={"stored": True}).json()
    assert stored["churn_probability"] == seen[0]["churn_probability"]
    forged = [b"[0.5]", b'[true, "u"]', b'["0.5", "u"]', b"[0.5, 7]", b'[0.5, "a\\u0000b"]', b'[1e999, "u"]', b"{}"]
    for cursor in ("!", *(base64.urlsafe_b64encode(told).decode() for told in forged)):
        assert site.call("GET", "/v1/at-risk", params={"cursor": cursor}).status_code == 400, cursor


def test_every_read_of_a_person_is_in_the_audit_and_the_person_is_not(site: Site) -> None:
    user = site.shop.score().frame["user_id"][0]
    site.call("GET", f"/v1/users/{user}/risk", scope="risk:read")
    site.service.trail.close()
    entries = [entry for _, entry in Audit(site.service.database).entries("shop")]
    assert [e.action for e in entries] == ["risk.read"]
    assert len(entries[0].subject) == 32
    assert user not in str(entries)


def test_models_are_promoted_and_rolled_back_over_the_api(site: Site) -> None:
    told = site.call("GET", "/v1/models").json()
    assert told["promoted"] == told["models"][-1]
    assert site.call("POST", "/v1/models/nothing/promote").status_code == 404
    assert site.call("POST", f"/v1/models/{told['models'][-1]}/promote").json()["serving"] == told["models"][-1]
    assert site.call("POST", "/v1/models/rollback").status_code == 409


def test_too_fast_a_key_is_told_when_to_come_again(site: Site) -> None:
    site.service.gate._burst, site.service.gate._rate = 3, 0.1
    answers = [site.call("GET", "/v1/models", scope="risk:read") for _ in range(8)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_touched_users_get_a_new_stored_score(site: Site) -> None:
    shop = site.service.shops["shop"]
    user = site.shop.score().frame["user_id"][0]
    site.send({**CLICK, "user_id": user})
    assert rescore_touched(shop).users == 1
    assert site.call("GET", f"/v1/users/{user}/risk", params={"stored": True}).status_code == 200


def test_every_answer_carries_a_request_id_and_the_security_headers(site: Site) -> None:
    mine = site.call("GET", "/healthz", headers={"X-Request-Id": "abc-1"})
    assert mine.headers["x-request-id"] == "abc-1"
    strange = site.call("GET", "/nowhere", headers={"X-Request-Id": "a b<script>"})
    assert strange.status_code == 404
    assert strange.headers["x-request-id"] == strange.json()["request_id"] != "a b<script>"
    for answer in (mine, strange):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_the_operators_addresses_answer(site: Site) -> None:
    site.send(CLICK, {**CLICK, "event_id": "x", "valeu": 1})
    assert site.client.get("/healthz").json() == {"status": "ok"}
    assert site.client.get("/readyz").json() == {"status": "ready", "problems": []}
    assert site.call("GET", "/readyz").json()["shop"] == {"shop_id": "shop", "state": "ready"}
    figures = site.client.get("/metrics").text
    assert 'ebbtide_events_total{reason="unknown_field",result="rejected"} 1.0' in figures
    assert 'route="/v1/events"' in figures


def test_strangers_learn_no_shops_name_from_readiness(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: LiveShop) -> Served:
        raise MissingBundleError("none", "无")

    monkeypatch.setattr(LiveShop, "served", property(none))
    for headers in ({}, {"Authorization": "Bearer nothing"}, {"Authorization": f"Bearer {site.key('risk:read')}"}):
        answer = site.client.get("/readyz", headers=headers)
        assert (answer.status_code, answer.json()) == (
            503,
            {"status": "not ready", "problems": ["missing_bundle: 1 of 1 shops"]},
        )
    assert site.call("GET", "/readyz").json()["shop"] == {"shop_id": "shop", "state": "missing_bundle"}


def test_customer_service_sees_one_person_with_talking_points(site: Site) -> None:
    user = site.shop.score().frame["user_id"][0]
    told = site.call("GET", f"/v1/users/{user}", scope="risk:read").json()
    assert told["profile"]["churn_probability"] == pytest.approx(
        site.shop.score().frame["churn_probability"][0], abs=1e-9
    )
    assert any(f"{told['profile']['churn_probability']:.0%}" in point for point in told["talking_points"])
    assert told["reasons"][0]["text"] in told["talking_points"] or told["reasons"][0]["direction"] == "lowers"
    zh = site.call("GET", f"/v1/users/{user}", headers={"Accept-Language": "zh"}).json()
    assert zh["stage"] == told["stage"]
    assert zh["talking_points"] != told["talking_points"]
    assert site.call("GET", "/v1/users/nobody").status_code == 404


def test_alerts_are_listed_and_moved_over_the_api(site: Site) -> None:
    assert site.call("GET", "/v1/alerts").json() == {"alerts": [], "next": None}
    assert site.call("GET", "/v1/alerts", params={"state": "odd"}).status_code == 400
    nothing = "alr_" + "0" * 32
    assert site.call("GET", f"/v1/alerts/{nothing}").status_code == 404
    assert site.call("POST", f"/v1/alerts/{nothing}", json={"state": "acted"}).status_code == 404
    assert site.call("POST", f"/v1/alerts/{nothing}", json={"state": 3}).status_code == 422
    assert site.call("GET", "/v1/alerts/counts").status_code == 200


def test_campaigns_and_plans_answer(site: Site) -> None:
    assert site.call("GET", "/v1/campaigns").json() == {"campaigns": []}
    assert site.call("GET", "/v1/plan", params={"budget": "nan"}).status_code == 422
    assert site.call("GET", "/v1/plan", params={"budget": 100}).status_code == 400  # this shop declares no actions


def test_words_of_a_stranger_become_no_labels_and_no_memory(site: Site) -> None:
    """Methods and secrets may be any text: figures and what is remembered must not grow with them."""
    for number in range(3):
        site.client.request(f"ANA{number}", "/v1/models", headers={"Authorization": "Bearer " + "x" * 20_000})
    site.client.get("/v1/models", headers={"Authorization": "Bearer wrong-one"})
    assert "ANA" not in site.client.get("/metrics").text
    assert all(isinstance(name, bytes) and len(name) == 32 for name in site.service.gate._known)
    assert len(site.service.gate._known) == 1
