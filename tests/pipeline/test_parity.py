"""One user alone, the shard, the batch and `explain` say the same; reasons add up to the score."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ebbtide.explain.reasons import reasons
from ebbtide.pipeline.explain import explain
from ebbtide.pipeline.score import score_members, score_shard
from ebbtide.pipeline.scored_rows import scored_rows


@pytest.fixture(scope="module")
def listed(trained):
    return trained.shop.score().frame


@pytest.fixture(scope="module")
def everybody(trained):
    lake = trained.shop.lake
    return pl.concat([lake.read_bucket(b) for b in lake.buckets()])


def contributions(rows):
    """The log-odds of all reasons of all users, in order, with the words."""
    entries = rows.select("user_id", "reasons").explode("reasons", empty_as_null=True, keep_nulls=True)
    return entries.unnest("reasons")


def assert_same(row, batch):
    for name in ("churn_probability", "expected_orders", "value_at_risk"):
        np.testing.assert_allclose(
            row[name].to_numpy().astype(float), batch[name].to_numpy().astype(float), rtol=0, atol=1e-9, err_msg=name
        )
    assert row.select("user_id", "as_of", "band", "model").equals(batch.select("user_id", "as_of", "band", "model"))
    one, other = contributions(row), contributions(batch)
    np.testing.assert_allclose(
        one["contribution"].to_numpy().astype(float), other["contribution"].to_numpy().astype(float), rtol=0, atol=1e-9
    )
    assert one.drop("contribution").equals(other.drop("contribution"))


def test_one_user_alone_gets_the_row_of_the_batch(trained, listed):
    """What a service says of one user is what the nightly list says."""
    for user in listed["user_id"].sort()[::15]:
        alone = score_shard(trained.shop.lake.read_user(user), trained.shop.until, trained.bundle, reasons="all")
        assert_same(alone, listed.filter(pl.col("user_id") == user))


def test_plain_rows_are_the_rows_of_the_table(trained, everybody):
    """For all users together and for one alone, with reasons and without, in both languages."""
    until, bundle = trained.shop.until, trained.bundle
    one = everybody.filter(pl.col("user_id") == everybody["user_id"].min())
    for events, told, language in ((everybody, True, "en"), (everybody, False, "en"), (one, True, "zh")):
        table = score_shard(events, until, bundle, reasons="all" if told else "none", language=language)
        rows = scored_rows(score_members(events, until, bundle), bundle, reasons=told, language=language)
        assert rows == table.drop("as_of").select(list(rows[0])).to_dicts()


def test_any_grouping_of_users_into_shards_gives_the_same_rows(trained, listed, everybody):
    until, bundle = trained.shop.until, trained.bundle
    users = everybody["user_id"].unique().sort()
    parts = [users.gather_every(3, offset=i).implode() for i in range(3)]
    shards = [everybody.filter(pl.col("user_id").is_in(part)) for part in parts]
    together = pl.concat([score_shard(s, until, bundle, reasons="all") for s in shards])
    assert_same(together.sort("user_id"), listed.sort("user_id"))


def test_the_order_of_rows_in_a_shard_does_not_matter(trained, everybody):
    until, bundle = trained.shop.until, trained.bundle
    shuffled = everybody.sample(fraction=1.0, shuffle=True, seed=4)
    sorted_ = score_shard(everybody.sort("user_id", "occurred_at", "event_id"), until, bundle, reasons="all")
    assert sorted_.equals(score_shard(shuffled, until, bundle, reasons="all"))


def test_scoring_does_not_change_its_input(trained, everybody):
    before = everybody.clone()
    score_shard(everybody, trained.shop.until, trained.bundle)
    assert before.equals(everybody)


def test_explain_gives_the_row_of_the_batch(trained, listed):
    for user in listed["user_id"][[0, len(listed) // 2, -1]]:
        shop = trained.shop
        told = explain(shop.config, shop.root, user, as_of=shop.until).score
        row = listed.filter(pl.col("user_id") == user).drop("as_of", "percentile").to_dicts()[0]
        assert told["churn_probability"] == pytest.approx(row["churn_probability"], abs=1e-9)
        assert [r["text"] for r in told["reasons"]] == [r["text"] for r in row["reasons"]]


def test_whom_reasons_are_given_to_changes_no_other_column(trained, everybody):
    until, bundle = trained.shop.until, trained.bundle
    for_all, at_risk, none = (
        score_shard(everybody, until, bundle, reasons=who) for who in ("all", "at_risk", "none")
    )  # fmt: skip
    assert for_all.drop("reasons").equals(at_risk.drop("reasons"))
    assert for_all.drop("reasons").equals(none.drop("reasons"))
    assert none["reasons"].null_count() == len(none)
    assert (at_risk["reasons"].is_null() == (at_risk["band"] == "low")).all()
    above = at_risk["band"] != "low"
    assert at_risk.filter(above)["reasons"].equals(for_all.filter(above)["reasons"])


def test_base_and_families_add_up_to_the_log_odds(trained, everybody):
    """Through trees, lines, the stack and the calibration: base + reasons + the unnamed rest = log-odds within 1e-6."""
    bundle = trained.bundle
    scored = score_members(everybody, trained.shop.until, bundle)
    assert len(bundle.stack.members) > 1
    terms = bundle.calibration.apply_to_contributions(bundle.stack.contributions(scored.X))
    np.testing.assert_allclose(terms.sum(axis=1), scored.log_odds, rtol=0, atol=1e-6)
    said = reasons(terms, scored.X, bundle.columns, bundle.usual)
    named = [sum(reason.contribution for reason in said[i]) for i in range(len(said))]
    np.testing.assert_allclose(said.base + named + said.remainder, scored.log_odds, rtol=0, atol=1e-6)


def test_reasons_are_few_signed_and_strongest_first(listed):
    for told in listed["reasons"].to_list():
        sizes = [abs(r["contribution"]) for r in told]
        assert 1 <= len(told) <= 5
        assert sizes == sorted(sizes, reverse=True)
        assert len({r["feature"] for r in told}) == len(told)
        for r in told:
            assert r["direction"] == ("raises" if r["contribution"] > 0 else "lowers")
            assert r["text"]


def test_the_probability_is_the_sigmoid_of_the_log_odds(trained, everybody):
    scored = score_members(everybody, trained.shop.until, trained.bundle)
    np.testing.assert_allclose(np.log(scored.probability / (1 - scored.probability)), scored.log_odds, atol=1e-9)


def test_both_languages_tell_the_same_reasons(trained, everybody):
    few = everybody.filter(pl.col("user_id").is_in(everybody["user_id"].unique().sort()[:40].implode()))
    en, zh = (
        contributions(score_shard(few, trained.shop.until, trained.bundle, reasons="all", language=language))
        for language in ("en", "zh")
    )
    assert en.drop("text").equals(zh.drop("text"))
    assert (en["text"] != zh["text"]).all()
