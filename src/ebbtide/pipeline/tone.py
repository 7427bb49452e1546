"""Who reads the texts: word lists, or what the shop's rated reviews teach, with what was known at a moment."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ebbtide.core.windows import from_us
from ebbtide.events.capabilities import FEEDBACK_TYPES
from ebbtide.events.sentiment.scorer import SHIPPED_SENTIMENT, Sentiment, learn_sentiment
from ebbtide.pipeline.dataset import Shards, Survey, known_events

_COLUMNS = ("type", "text", "rating", "occurred_at", "ingested_at")


def sentiment_for(lake: Shards, seen: Survey, rehearsed: Sequence[int]) -> Sentiment:
    """Learnt from the reviews known at the oldest rehearsed moment (without one: at the end), so that no rehearsal reads
    texts with what came later. The word lists where the log has no rated texts."""
    if not {"feedback", "ratings"} <= seen.capabilities:
        return SHIPPED_SENTIMENT
    known_at = from_us(min(rehearsed, default=seen.until_us))
    parts = []
    for bucket in lake.buckets():
        known = known_events(lake.read_bucket(bucket, _COLUMNS), known_at)
        parts.append(known.filter(pl.col("type").is_in(FEEDBACK_TYPES)).select("text", "rating").drop_nulls())
    return learn_sentiment(pl.concat(parts))
