"""What changed lately: a user's last window against the same user's own past.

Of each kind of event the count in `(as_of - window, as_of]` stands against the usual count of such a window, from the
first event on until the window begins. It is told where chance alone would hardly do it: given both counts, the recent
one is binomial with the window's share of the time (the conditional test of two Poisson rates, Przyborowski and
Wilenski 1940), two-sided at 5 %. Who is known for less than two windows has no past to compare with.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc

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
    kinds, recent, both = _counts(known, to_us(begin))
    share = window_days / (window_days + past_days)
    tails = np.minimum(bdtr(recent, both, share), bdtrc(recent - 1, both, share))
    usual = (both - recent) * window_days / past_days
    found = [
        Change(kind, int(r), float(u), float(min(2 * t, 1.0)), window_days)
        for kind, r, u, t in zip(kinds, recent, usual, tails, strict=True)
        if 2 * t <= _LEVEL
    ]
    return tuple(sorted(found, key=lambda c: (c.p, c.type)))


def _counts(known: pl.DataFrame, begin_us: int) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The watched kinds that there are; of each how many after `begin_us`, and in all. The lines of an order count once."""
    recent, both = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    times = known["occurred_at"].to_numpy().view(np.int64).tolist()
    for at_us, kind, order, event in zip(times, known["type"], known["order_id"], known["event_id"], strict=True):
        if kind in _WATCHED:
            single = event if kind != "order" or order is None else order
            both[kind].add(single)
            if at_us > begin_us:
                recent[kind].add(single)
    kinds = sorted(both)
    sizes = [[len(found[kind]) for kind in kinds] for found in (recent, both)]
    return kinds, np.array(sizes[0], np.int64), np.array(sizes[1], np.int64)
