"""What changed lately: a user's last window against the same user's own past.

Of each kind of event the count in `(as_of - window, as_of]` stands against the usual count of such a window, from the
first event on until the window begins. It is told where chance alone would hardly do it: given both counts, the recent
one is binomial with the window's share of the time (the conditional test of two Poisson rates, Przyborowski and
Wilenski 1940), two-sided at 5 %. Who is known for less than two windows has no past to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import binom

from ebbtide.core.language import Text
from ebbtide.core.windows import DAY_US, to_us
from ebbtide.features.selectors import TYPE_WORDS

_WATCHED = (
    "order", "session_start", "product_view", "search", "cart_add", "cart_remove", "wishlist_add", "coupon", "refund",
    "support", "promo_click",
)  # fmt: skip
_LEVEL = 0.05
_TOLD = Text(
    "{noun}: {recent} in the last {days:g} days, usually {usual:.1f}",
    "{noun}：最近 {days:g} 天 {recent}，平时 {usual:.1f}",
)


@dataclass(frozen=True)
class Change:
    """A kind of event that came more or less often than usual; `usual` is what a window of the past held on average."""

    type: str
    recent: int
    usual: float
    p: float
    days: float

    @property
    def text(self) -> Text:
        """The change in words."""
        noun = TYPE_WORDS[self.type].noun
        return _TOLD.format(noun=noun, recent=self.recent, usual=self.usual, days=self.days)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {**vars(self), "direction": "more" if self.recent > self.usual else "less", "text": self.text.en}


def changes_of(known: pl.DataFrame, as_of: datetime, window_days: float) -> tuple[Change, ...]:
    """The changes of the one user whose known events these are, the least likely by chance first."""
    if not len(known):
        return ()
    begin = as_of - timedelta(days=window_days)
    first = known["occurred_at"].min()
    past_days = (to_us(begin) - to_us(first)) / DAY_US  # type: ignore[arg-type]
    if past_days < window_days:
        return ()
    single = pl.when(pl.col("type") == "order").then(pl.coalesce("order_id", "event_id")).otherwise(pl.col("event_id"))
    counts = (
        known.filter(pl.col("type").is_in(_WATCHED))
        .group_by("type")
        .agg(recent=single.filter(pl.col("occurred_at") > begin).n_unique(), all=single.n_unique())
        .sort("type")
    )
    recent, both = counts["recent"].to_numpy().astype(np.int64), counts["all"].to_numpy().astype(np.int64)
    share = window_days / (window_days + past_days)
    tails = np.minimum(binom.cdf(recent, both, share), binom.sf(recent - 1, both, share))
    usual = (both - recent) * window_days / past_days
    found = [
        Change(kind, int(r), float(u), float(min(2 * t, 1.0)), window_days)
        for kind, r, u, t in zip(counts["type"], recent, usual, tails, strict=True)
        if 2 * t <= _LEVEL
    ]
    return tuple(sorted(found, key=lambda c: (c.p, c.type)))
