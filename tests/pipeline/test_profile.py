"""One user's profile is that user's row of the frame, with the reasons of the list."""

from __future__ import annotations

import json

import polars as pl
import pytest

from ebbtide.core.errors import InputError
from ebbtide.core.sections import html_of
from ebbtide.pipeline.profile import profile
from ebbtide.pipeline.profiles import profile_frame


@pytest.fixture(scope="module")
def frame(trained):
    return profile_frame(trained.shop.config, trained.shop.root, as_of=trained.shop.until)


def ask(trained, user, **options):
    return profile(trained.shop.config, trained.shop.root, user, as_of=trained.shop.until, **options)


def test_one_user_alone_is_the_row_of_the_frame(trained, frame):
    """But for the percentile, which takes the whole cohort."""
    for row in frame.sample(12, seed=1).iter_rows(named=True):
        found = ask(trained, row["user_id"]).row
        assert found.keys() == row.keys()
        for name, value in row.items():
            if name != "percentile":
                assert found[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name


def test_the_reasons_are_those_of_the_list(trained):
    listed = trained.shop.score().frame
    user, reasons = listed.row(0, named=True)["user_id"], listed["reasons"][0].to_list()
    assert [r["text"] for r in ask(trained, user).reasons] == [r["text"] for r in reasons]


def test_it_is_told_in_both_languages_and_as_json(trained, frame):
    lapsed = frame.filter(pl.col("stage") == "lapsed")["user_id"][0]
    for user in (lapsed, frame.filter("eligible")["user_id"][0]):
        found = ask(trained, user)
        assert user in html_of(found.sections(), "en")
        assert "事实" in html_of(found.sections(), "zh")
        assert json.loads(json.dumps(found.to_json()))["profile"]["stage"] in frame["stage"]
    assert ask(trained, lapsed).reasons == ()


def test_facts_are_words_in_the_language_and_none_is_told_twice(trained, frame):
    """Here the outcome is an order, so its first, its latest and its age are those of orders."""
    row = frame.filter(pl.col("band") == "high", pl.col("favourite_weekday").is_not_null()).row(0, named=True)
    facts = ask(trained, row["user_id"]).sections()[1]
    english, chinese = ([text[language] for text, _ in facts.rows] for language in ("en", "zh"))
    assert "latest order" in english
    assert "latest event of the churn outcome" not in english
    assert len(set(english)) == len(english)
    assert len(set(chinese)) == len(chinese)
    said = {text.en: value for text, value in facts.rows}
    assert said["low, medium or high risk"].zh == "高"
    days = "一二三四五六日"
    assert said["weekday of most orders, 1 Monday, shop time"].zh == f"星期{days[row['favourite_weekday'] - 1]}"


def test_an_unknown_user_is_an_input_error(trained):
    with pytest.raises(InputError, match="no event of this user was known"):
        ask(trained, "nobody")
