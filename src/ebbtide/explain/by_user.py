"""Counting a shard's events user by user: how many, which first, which last, how much.

Everywhere `which` (n,) says which events are meant; results are (U,), row numbers -1 where a user has no such event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.nullable import table_of
from ebbtide.features.cohort import types_are
from ebbtide.features.columns import Needs
from ebbtide.features.encode import EncodedShard
from ebbtide.features.primitives import COLUMNS, KEYS
from ebbtide.features.selectors import CONDITIONS

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ByUser:
    """A shard of n events and U users; user (n,) is each event's, in the order of time within a user."""

    shard: EncodedShard
    user: Ints

    @classmethod
    def of(cls, shard: EncodedShard) -> Self:
        """Ready to count."""
        return cls(shard, np.repeat(np.arange(len(shard)), np.diff(shard.start)))

    def type_is(self, *types: str) -> Flags:
        """Which events are of one of these types; `any` is every event."""
        return types_are(self.shard, types)

    def meets(self, condition: str) -> Flags:
        """Which events meet a condition of the selectors."""
        mask, bits = CONDITIONS[condition]
        return np.asarray((self.shard.key & mask) == bits, np.bool_)

    def numbers(self, column: str) -> Floats:
        """A numeric column, NaN = unknown."""
        found = self.shard.columns(_NEEDS)
        row = found.value_row[COLUMNS.index(column)]
        return found.values[row] if row >= 0 else np.full(len(self.user), np.nan)

    def order_codes(self) -> NDArray[np.int32]:
        """The order that each event belongs to, dense within each user; -1 for none."""
        found = self.shard.columns(_NEEDS)
        return np.asarray(found.codes[found.code_row[KEYS.index("order_id")]], np.int32)

    def count(self, which: Flags) -> Ints:
        """How many."""
        return np.bincount(self.user[which], minlength=len(self.shard))

    def distinct(self, which: Flags, code: NDArray[np.integer[Any]]) -> Ints:
        """How many different codes; -1 is none."""
        rows = np.flatnonzero(which & (code >= 0))
        width = int(code.max(initial=0)) + 1
        different = np.unique(self.user[rows] * width + code[rows]) // width
        return np.bincount(different, minlength=len(self.shard))

    def first(self, which: Flags) -> Ints:
        """The row of the earliest."""
        return self._row(np.flatnonzero(which)[::-1])

    def last(self, which: Flags) -> Ints:
        """The row of the latest."""
        return self._row(np.flatnonzero(which))

    def total(self, values: Floats, which: Flags) -> Floats:
        """The sum of the known values, NaN where none is known."""
        rows = np.flatnonzero(which & ~np.isnan(values))
        sums = np.bincount(self.user[rows], weights=values[rows], minlength=len(self.shard))
        return np.where(np.bincount(self.user[rows], minlength=len(self.shard)) > 0, sums, np.nan)

    def times(self, rows: Ints) -> NDArray[np.datetime64]:
        """When the events in these rows occurred, NaT for -1."""
        if not len(self.user):
            return np.full(len(rows), "NaT", "datetime64[us]")
        return np.where(rows >= 0, self.shard.time[rows].view("datetime64[us]"), np.datetime64("NaT"))

    def frame(self, columns: dict[str, Any]) -> pl.DataFrame:
        """A row a user: user_id, then the columns; NaN and NaT become null, times are UTC."""
        return table_of({"user_id": self.shard.user_ids, **columns})

    def _row(self, rows: Ints) -> Ints:
        found = np.full(len(self.shard), -1, np.int64)
        found[self.user[rows]] = rows  # of several rows of a user the last one stays
        return found


_NEEDS = Needs(frozenset({"value", "rating"}), frozenset({"order_id"}))
