"""The arrays that the kernels read: a shard's events, and what a reference table says of its items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray


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
