"""Spells of silence and of custom, counted in whole days so that the counts of shards add up.

A spell either ended (the user came back, or left) or is still open at the end of what is known: an open spell says
only that it lasts at least so long. `survival.py` turns the counts into curves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US, to_us

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Spells:
    """ended (D,): spells that ended after 0, 1, 2, ... days; open (D,): spells that had lasted so long, unended."""

    ended: Counts
    open: Counts

    def __add__(self, other: Spells) -> Spells:
        """The counts of both, of disjoint users."""
        size = max(len(self.ended), len(other.ended))
        return Spells(*(_pad(a, size) + _pad(b, size) for a, b in zip(self._pair(), other._pair(), strict=True)))

    def quantile(self, share: float) -> float | None:
        """The length that `share` of the ended spells do not exceed, in days; null if none ended.

        >>> Spells(np.array([0, 3, 0, 1]), np.array([0, 0, 0, 0])).quantile(0.5)
        1.0
        """
        below = np.cumsum(self.ended)
        if not len(below) or not below[-1]:
            return None
        return float(np.searchsorted(below, share * below[-1]))

    def _pair(self) -> tuple[Counts, Counts]:
        return self.ended, self.open


def no_spells() -> Spells:
    """Counts of nobody: where adding up begins."""
    return Spells(np.zeros(0, np.int64), np.zeros(0, np.int64))


def count_gaps(events: pl.DataFrame, until: datetime) -> Spells:
    """Gaps between a user's active days, and the open gap from the last one to `until`.

    Several events on one UTC day are one active day, so a gap is at least one day.
    Columns in: user_id, occurred_at of the events that count; any order; events after `until` are left out.
    """
    days = _active_days(events, until)
    last = (days["user_id"] != days["user_id"].shift(-1)).fill_null(True).to_numpy()
    day = days["day"].to_numpy()
    end = to_us(until) // DAY_US
    gaps = np.diff(day)[~last[:-1]] if len(day) else day
    return _spells(gaps, end - day[last])


def count_lifetimes(events: pl.DataFrame, until: datetime, silence_days: float) -> Spells:
    """How long users stay: from their first active day until a silence has lasted `silence_days`.

    A user who comes back later has still left; a user whose silence is shorter so far is open.
    Columns in: as for `count_gaps`.
    """
    days = _active_days(events, until)
    end = to_us(until) // DAY_US
    silence = int(np.ceil(silence_days))
    following = pl.col("day").shift(-1).over("user_id").fill_null(end)
    left = days.with_columns(silent=following - pl.col("day") >= silence)
    users = left.group_by("user_id").agg(
        first=pl.col("day").min(), left=pl.col("day").filter(pl.col("silent")).min() + silence
    )
    gone = users.filter(pl.col("left").is_not_null())
    stays = users.filter(pl.col("left").is_null())
    return _spells((gone["left"] - gone["first"]).to_numpy(), end - stays["first"].to_numpy())


def _active_days(events: pl.DataFrame, until: datetime) -> pl.DataFrame:
    day = (pl.col("occurred_at").dt.epoch("us") // DAY_US).alias("day")
    known = events.filter(pl.col("occurred_at") <= until)
    return known.select("user_id", day).unique().sort("user_id", "day")


def _spells(ended: Counts, open_: Counts) -> Spells:
    size = 1 + int(max(ended.max(initial=-1), open_.max(initial=-1)))
    return Spells(np.bincount(ended, minlength=size), np.bincount(open_, minlength=size))


def _pad(counts: Counts, size: int) -> Counts:
    return np.pad(counts, (0, size - len(counts)))
