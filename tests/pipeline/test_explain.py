"""`explain`: one user at one moment, as known then."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ebbtide.core.errors import InputError, MissingBundleError
from ebbtide.pipeline.explain import explain


def told(shop, user, **options):
    return explain(shop.config, shop.root, user, **{"as_of": shop.until, **options})


@pytest.fixture(scope="module")
def member(trained):
    return trained.shop.score().frame["user_id"][0]


def test_a_member_gets_score_reasons_and_history(trained, member):
    found = told(trained.shop, member)
    assert (found.user_id, found.as_of) == (member, trained.shop.until)
    assert 0 < found.score["churn_probability"] < 1
    assert 1 <= len(found.score["reasons"]) <= 5
    assert len(found.history.recent) > 0
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["user_id"] == member


def test_someone_who_is_not_eligible_gets_a_history_but_no_score(trained, sim_log):
    """A visitor who has not ordered within the eligibility window."""
    until = trained.shop.until
    known = sim_log.filter((pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until))
    members = set(trained.shop.score().frame["user_id"])
    visitor = next(u for u in known["user_id"].unique().sort() if u not in members)
    found = told(trained.shop, visitor)
    assert found.score is None
    assert len(found.history.recent) > 0
    assert found.to_json()["score"] is None


def test_nothing_later_than_as_of_is_told(trained, member):
    early = trained.shop.until - timedelta(days=60)
    found = told(trained.shop, member, as_of=early)
    assert found.history.recent["occurred_at"].max() <= early
    assert found.to_json()["as_of"] == early.isoformat()


@pytest.mark.parametrize("as_of", [None, datetime(2020, 1, 1, tzinfo=UTC)])
def test_an_unknown_user_is_refused_without_repeating_the_id(trained, as_of):
    """The id is personal data: it stands in the command, not in the message or the log."""
    with pytest.raises(InputError, match="no event of this user was known") as fault:
        told(trained.shop, "nobody@example.com", as_of=as_of)
    assert "nobody" not in fault.value.text.en + fault.value.text.zh


def test_a_user_before_the_first_event_is_unknown(trained, member):
    with pytest.raises(InputError, match=r"known at 2020-01-01 00:00 UTC"):
        told(trained.shop, member, as_of=datetime(2020, 1, 1, tzinfo=UTC))


def test_far_in_the_future_there_is_a_history_and_no_score(trained, member):
    found = told(trained.shop, member, as_of=datetime(2040, 1, 1, tzinfo=UTC))
    assert found.score is None
    assert len(found.history.recent) > 0


def test_the_words_are_in_the_language_asked_for(trained, member):
    en, zh = (told(trained.shop, member, language=language).score["reasons"] for language in ("en", "zh"))
    assert [r["contribution"] for r in en] == [r["contribution"] for r in zh]
    assert all(r["text"].isascii() or "€" in r["text"] for r in en)
    assert not any(r["text"].isascii() for r in zh)


def test_without_a_bundle_it_says_what_to_do(small_shop):
    with pytest.raises(MissingBundleError, match="run `ebbtide train` first"):
        told(small_shop, "anybody")
