"""Groups to judge a model by: only what was known, the latest value of each trait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from ebbtide.core.ids import hash_texts
from ebbtide.pipeline.traits import latest_traits, trait_groups

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def event(
    user: str, day: int, *, known: int | None = None, country: str | None = None, channel: str | None = None
) -> dict:
    return {
        "user_id": user,
        "occurred_at": START + day * DAY,
        "ingested_at": START + (day if known is None else known) * DAY,
        "event_id": f"{user}{day}{known}",
        "country": country,
        "channel": channel,
        "device": None,
    }


EVENTS = pl.DataFrame(
    [
        event("a", 1, country="GB", channel="web"),
        event("a", 2, country="FR"),
        event("a", 9, country="DE"),
        event("b", 3, known=9, country="GB"),
        event("b", 1),
    ],
    schema_overrides={"device": pl.String},
)


def test_the_latest_value_known_at_as_of_counts() -> None:
    groups = trait_groups(latest_traits([EVENTS], START + 5 * DAY), hash_texts(pl.Series(["b", "a"])))
    # a: FR on day 2 (DE lies after as_of), web on day 1; b: its GB is known on day 9 only
    assert groups["country"].tolist() == [None, "FR"]
    assert groups["channel"].tolist() == [None, "web"]


def test_a_trait_that_nobody_has_is_left_out() -> None:
    assert "device" not in trait_groups(latest_traits([EVENTS], START + 5 * DAY), hash_texts(pl.Series(["a"])))


def test_shards_and_row_order_change_nothing() -> None:
    asked = hash_texts(pl.Series(["a", "b"]))
    whole = trait_groups(latest_traits([EVENTS], START + 30 * DAY), asked)
    parts = [EVENTS.filter(pl.col("user_id") == u).reverse() for u in ("b", "a")]
    assert trait_groups(latest_traits(parts, START + 30 * DAY), asked)["country"].tolist() == whole["country"].tolist()
