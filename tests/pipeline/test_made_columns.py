"""Optional families end to end: label-free columns and a tone that ratings taught, from config to reasons."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import Config
from ebbtide.core.windows import to_us
from ebbtide.events.capabilities import FEEDBACK_TYPES
from ebbtide.events.sentiment.scorer import SHIPPED_SENTIMENT
from ebbtide.pipeline.dataset import survey
from ebbtide.pipeline.score import score_members
from ebbtide.pipeline.tone import sentiment_for


def with_features(shop, **changes):
    features = shop.config.features.model_copy(update=changes)
    return replace(shop, config=shop.config.model_copy(update={"features": features}))


def rated(events: pl.DataFrame) -> pl.DataFrame:
    """The same log, with a review of made-up words after every order: ratings of even users 5, of odd ones 1."""
    orders = events.filter(pl.col("type") == "order")
    odd = pl.col("user_id").hash(seed=1) % 2 == 1
    number = pl.col("event_id").hash(seed=2) % 9973
    text = pl.when(odd).then(pl.format("quux snarf {}", number)).otherwise(pl.format("zork blimp {}", number))
    reviews = orders.with_columns(
        event_id=pl.lit("review-") + pl.col("event_id"),
        type=pl.lit("review"),
        text=text,
        rating=pl.when(odd).then(1.0).otherwise(5.0),
    )
    return pl.concat([events, reviews])


@pytest.fixture(scope="module")
def shop(sim_log, open_shop):
    """Two thirds of the users, so that one training is enough and quick."""
    log = sim_log.filter(pl.col("user_id").hash(seed=3) % 3 > 0)
    return open_shop(rated(log)).with_train(max_cutoffs=4)


@pytest.fixture(scope="module")
def bundle(shop):
    """Its models read all three label-free families, and texts by what ratings taught."""
    made = with_features(shop, unsupervised=["pca", "segments", "factors"])
    return shop.shelf.load(made.train(model="lightgbm").bundle)


def test_label_free_families_stand_in_the_bundle_and_in_words(bundle):
    assert [m.name for m in bundle.makers] == ["pca", "segments", "factors"]
    names = [c.name for c in bundle.columns]
    assert {"pca_1", "segment", "segment_1_distance", "factors_1"} <= set(names)
    assert len(set(names)) == len(names)
    assert bundle.columns[names.index("segment")].description.zh.startswith("行为分群")


def test_a_user_scored_alone_gets_the_same(shop, bundle):
    """Batch and one user at a time, to 1e-9."""
    events = shop.lake.read_bucket(shop.lake.buckets()[0])
    whole = score_members(events, shop.until, bundle)
    first = str(whole.user_id[0])
    alone = score_members(events.filter(pl.col("user_id") == first), shop.until, bundle)
    assert alone.probability[0] == pytest.approx(whole.probability[0], abs=1e-9)
    assert np.array_equal(alone.X, whole.X[:1], equal_nan=True)


def test_none_by_default():
    assert Config().features.unsupervised == []


def test_ratings_teach_the_tone_and_the_bundle_keeps_it(shop, bundle):
    assert bundle.sentiment.learnt is not None
    praise, blame = bundle.sentiment.score(pl.Series(["zork blimp 1", "quux snarf 1"]))
    assert praise > 0.5
    assert blame < -0.5
    names = [c.name for c in bundle.columns]
    scored = score_members(shop.lake.read_bucket(shop.lake.buckets()[0]), shop.until, bundle)
    tone = scored.X[:, names.index("tone_mean_of_last_3")]
    assert (np.abs(tone[np.isfinite(tone)]) > 0.3).mean() > 0.5


def test_the_tone_is_learnt_from_what_the_oldest_rehearsal_knew(shop):
    """Later reviews, whatever they say, teach nothing."""
    definition = ChurnDefinition.from_config(shop.config.churn)
    seen = survey(shop.lake, definition, shop.until)
    early, late = (shop.until - timedelta(days=d) for d in (90, 30))
    known = sentiment_for(shop.lake, seen, [to_us(late), to_us(early)])
    log = pl.concat([shop.lake.read_bucket(b) for b in shop.lake.buckets()])
    told = log.filter((pl.col("type").is_in(FEEDBACK_TYPES)) & (pl.col("rating") != 3) & pl.col("text").is_not_null())
    before = told.filter((pl.col("occurred_at") <= early) & (pl.col("ingested_at") <= early))
    assert 0 < before["text"].n_unique() < told["text"].n_unique()
    assert abs(known.rated - before["text"].n_unique()) <= 10  # texts whose mean rating is between praise and blame


def test_without_ratings_the_word_lists_read(shop):
    seen = survey(shop.lake, ChurnDefinition.from_config(shop.config.churn), shop.until)
    unrated = replace(seen, facts=Counter({k: n for k, n in seen.facts.items() if k != "column:rating"}))
    assert sentiment_for(shop.lake, unrated, []) == SHIPPED_SENTIMENT
