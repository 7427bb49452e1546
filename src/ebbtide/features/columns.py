"""The arrays that the kernels read: a shard's events, and what a reference table says of its items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US

COMPUTED_CODES = 24
"""The most codes of the keys that the kernels compute themselves: weekdays and hours."""


@dataclass(frozen=True)
class Needs:
    """The numeric columns and the keys that a catalogue reads."""

    columns: frozenset[str]
    keys: frozenset[str]


class Columns(NamedTuple):
    """A shard of n events and U users, sorted by (user, time, event id).

    start (U + 1,) first event of each user; time, known (n,) occurred_at and ingested_at in UTC us; delayed (U,)
    whether any event of the user was ingested after it occurred; key (n,) type and conditions (`selectors.py`);
    values (rows, n) numeric columns, value_row (len(COLUMNS),) their row or -1 where the column is empty or not needed;
    codes (rows, n) identities, dense within each user, -1 for null, code_row (len(KEYS),) likewise; code_count the
    most codes of one user in any row; longest the most events of one user; span_days the days from the first event of
    the shard to its last.
    """

    start: NDArray[np.int64]
    time: NDArray[np.int64]
    known: NDArray[np.int64]
    delayed: NDArray[np.bool_]
    key: NDArray[np.uint16]
    values: NDArray[np.float64]
    value_row: NDArray[np.int32]
    codes: NDArray[np.int32]
    code_row: NDArray[np.int32]
    code_count: int
    longest: int
    span_days: int

    def of_user(self, place: int) -> Columns:
        """The columns of one user."""
        begin, end = int(self.start[place]), int(self.start[place + 1])
        own = slice(begin, end)
        time, codes = self.time[own], self.codes[:, own]
        return frozen(
            Columns(
                start=np.array([0, end - begin], np.int64),
                time=time,
                known=self.known[own],
                delayed=self.delayed[place : place + 1],
                key=self.key[own],
                values=self.values[:, own],
                value_row=self.value_row,
                codes=codes,
                code_row=self.code_row,
                code_count=max(COMPUTED_CODES, int(codes.max(initial=0)) + 1),
                longest=max(1, end - begin),
                span_days=span_days(time),
            )
        )


class Batch(NamedTuple):
    """Some rows, ordered by (user, moment): events `begin:end` occurred by `as_of`; `delayed` says that some of them
    may be known later. What is carried forward starts anew where `fresh` and goes on over `resume:end`; `walk` numbers
    these journeys."""

    as_of: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    resume: NDArray[np.int64]
    delayed: NDArray[np.bool_]
    fresh: NDArray[np.bool_]
    walk: NDArray[np.int64]


class ItemHistory(NamedTuple):
    """What the item table says of a shard's events, by week; `row` is empty without a table.

    row (n,) the item of each event or -1; start (items + 1,) spans of an item's weeks; week ascending in each span;
    events, priced, log_price (in millionths) running totals up to and including that week; known_week: weeks before it are complete.
    """

    row: NDArray[np.int32]
    start: NDArray[np.int64]
    week: NDArray[np.int32]
    events: NDArray[np.int64]
    priced: NDArray[np.int64]
    log_price: NDArray[np.int64]
    known_week: int


_Named = TypeVar("_Named", bound=tuple[Any, ...])


def span_days(time: NDArray[np.int64]) -> int:
    """As in `Columns`; 1 without events."""
    return int((time.max() - time.min()) // DAY_US) + 2 if len(time) else 1


def frozen(arrays: _Named) -> _Named:
    """The same named tuple with its arrays contiguous and read-only, so that the kernels see one type of each and are
    compiled once, whether an array was copied or shares a frame's memory."""
    return arrays._make(frozen_array(a) if isinstance(a, np.ndarray) else a for a in arrays)  # type: ignore[attr-defined, no-any-return]


def frozen_array(array: NDArray[Any]) -> NDArray[Any]:
    """A contiguous, read-only view of an array, or of a copy."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def no_items() -> ItemHistory:
    """The item history of a shard without a table."""
    nothing, numbers = np.zeros(0, np.int32), np.zeros(0, np.int64)
    return frozen(ItemHistory(nothing, np.zeros(1, np.int64), nothing, numbers, numbers, numbers, 0))
