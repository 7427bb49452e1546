"""What callers are told: in words, in their language, and nothing that is not theirs to know."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from tests.pipeline.conftest import UNTIL
from tests.serve.conftest import Site

from ebbtide.core.errors import RetryError
from ebbtide.pipeline.profiles import profile_everybody

CLICK = {"event_id": "c1", "user_id": "u1", "type": "product_view", "occurred_at": "2024-07-01T10:00:00Z"}


@pytest.mark.parametrize(
    "path",
    ["/v1/users/a%00b/risk", "/v1/users/a%00b/risk?stored=true", "/v1/users/a%00b", "/v1/alerts?user_id=a%00b",
     "/v1/alerts?rule=a%00b", "/v1/users/%00", "/v1/alerts?state=%00"],
)  # fmt: skip
def test_a_text_that_no_store_can_hold_is_refused_before_it_is_asked(site: Site, path: str) -> None:
    """PostgreSQL fails at a NUL; the embedded store, which these tests run on, would not show it."""
    assert site.call("GET", path).status_code in (400, 422)


def test_the_shape_of_a_call_is_told_in_words_and_in_the_callers_language(site: Site) -> None:
    def told(path: str, language: str) -> str:
        return str(site.call("GET", path, headers={"Accept-Language": language}).json()["detail"])

    bad = "/v1/at-risk?limit=0&band=odd"
    assert (
        told(bad, "en")
        == "query.limit: 1 or more was expected; query.band.0: one of these was expected: 'high', 'medium', 'low'"
    )
    assert told(bad, "zh") == "query.limit：应不小于 1；query.band.0：应为以下之一：'high', 'medium', 'low'"
    for path in ("/v1/plan", "/v1/plan?budget=nan", "/v1/plan?budget=x", "/v1/plan?budget=1e13", "/v1/at-risk?limit=x",
                 "/v1/at-risk?limit=" + "9" * 5000, "/v1/users/x/risk?stored=perhaps", "/v1/users/" + "x" * 300,
                 "/v1/users/a%00", "/v1/alerts/odd"):  # fmt: skip
        english, chinese = told(path, "en"), told(path, "zh")
        assert "expected" in english or "given" in english
        assert "应" in chinese or "必须" in chinese
        assert "xxx" not in english + chinese


@pytest.mark.parametrize(
    ("header", "first"),
    [("zh; q=0.2, en; q=0.9", "en"), ("en ;q=0.2 , zh ; q=0.9", "zh"), ("ZH-tw", "zh"), ("de, zh;q=0.1", "zh"), ("fr", "en"),
     ("zh;q=0", "en"), ("zh;q=odd, en", "en"), (",;,", "en")],
)  # fmt: skip
def test_the_language_with_the_largest_weight_answers(site: Site, header: str, first: str) -> None:
    detail = site.call("GET", "/v1/users/nobody/risk", headers={"Accept-Language": header}).json()["detail"]
    assert detail == {"en": "no event of this user is known", "zh": "没有该用户的任何事件"}[first]


def test_a_customer_whose_id_holds_slashes_can_be_asked_about(site: Site) -> None:
    for user in ("a/b", "a/risk", "/", "ä ß?/#"):
        site.send({**CLICK, "event_id": f"s-{user}", "user_id": user})
        named = quote(user, safe="")
        assert site.call("GET", f"/v1/users/{named}/risk").json()["user_id"] == user
        if not user.endswith("/risk"):
            assert site.call("GET", f"/v1/users/{named}").json()["user_id"] == user
    told = site.client.get("/metrics").text
    assert 'route="/v1/users/{user_id}/risk",status="200"' in told
    assert "a/b" not in told
    assert site.call("GET", "/v1/users//risk").status_code == 422


def test_what_does_not_answer_is_told_to_the_operator_and_not_to_the_caller(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise RetryError("server at {where}: password of user {where} is wrong", "{where}", where="db-7.inside")

    monkeypatch.setattr(type(site.service.shops["shop"].scores), "at_risk", away)
    monkeypatch.setattr(logging.getLogger("ebbtide"), "propagate", True)
    answer = site.call("GET", "/v1/at-risk")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "db-7" not in answer.text
    assert "db-7.inside" in caplog.text


def test_the_age_of_events_is_in_the_figures(site: Site) -> None:
    old = {**CLICK, "event_id": "age-1", "occurred_at": (site.now - timedelta(seconds=20)).isoformat()}
    site.send(old, {**old, "event_id": "age-2"}, {"user_id": "x"}, headers={"Idempotency-Key": "age"})
    site.send(old, {**old, "event_id": "age-2"}, {"user_id": "x"}, headers={"Idempotency-Key": "age"})
    told = site.client.get("/metrics").text
    assert "ebbtide_event_lag_seconds_count 2.0" in told
    assert 'ebbtide_event_lag_seconds_bucket{le="5.0"} 0.0' in told
    assert 'ebbtide_event_lag_seconds_bucket{le="30.0"} 2.0' in told


def test_a_risk_computed_now_says_the_stage_that_the_profile_says(site: Site) -> None:
    """Of customers of every kind, also of those who are not eligible and so have no risk."""
    bundle = site.shop.shelf.load()
    everybody = profile_everybody(site.shop.lake, UNTIL, bundle, site.shop.config)
    some = everybody.group_by("stage", maintain_order=True).head(2)
    assert some["stage"].n_unique() >= 4
    eligible = set()
    for user, stage in some.select("user_id", "stage").iter_rows():
        told = site.call("GET", f"/v1/users/{user}/risk").json()
        assert told["stage"] == stage
        assert site.call("GET", f"/v1/users/{user}").json()["stage"] == stage
        eligible.add(told["eligible"])
    assert eligible == {True, False}
