"""Encoding: a shard's event frame becomes NumPy columns sorted by (user, time, event id).

Identities (orders, sessions, items, ...) become codes that are dense within each user, 0, 1, 2, ... in order of first
appearance; a feature never sees the code's value. Ties in time are ordered by event id, so that sums add up in one
order whatever the order of the rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.events.schema import EVENT_TYPES
from ebbtide.events.sentiment.scorer import SHIPPED_SENTIMENT, Sentiment
from ebbtide.features.columns import COMPUTED_CODES, Columns, Needs, frozen, frozen_array, span_days
from ebbtide.features.primitives import COLUMNS, KEYS
from ebbtide.features.selectors import TYPE_BITS, TYPE_CODES

_HOUR_US = 3_600_000_000
_COMPUTED_KEYS = ("weekday", "hour")
_ORDER, _CUSTOM = TYPE_CODES["order"], TYPE_CODES["custom"]
_SMALL_SHARD = 200_000  # events below which starting threads costs more than it saves
_Runner = Callable[[Callable[[int], None], int], None]
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class EncodedShard:
    """A shard ready for `engine.compute`; user i of `at_user` is `user_ids[i]`. Users ascend.

    What is always needed is encoded at once, the rest when a catalogue asks for it, and kept (of a large shard: for the
    latest catalogue only). `events` (n,) are the
    frame's rows in the order of the arrays; the arrays as in `columns.Columns`.
    """

    user_ids: pl.Series
    outcome: tuple[str, ...]
    events: pl.DataFrame
    start: NDArray[np.int64]
    time: NDArray[np.int64]
    known: NDArray[np.int64]
    delayed: NDArray[np.bool_]
    key: NDArray[np.uint16]
    sentiment: Sentiment
    _encoded: dict[Needs, Columns] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.user_ids)

    def columns(self, needs: Needs) -> Columns:
        """The arrays with at least the columns and keys that are needed."""
        found = next(
            (c for had, c in self._encoded.items() if needs.columns <= had.columns and needs.keys <= had.keys), None
        )
        if found is None:
            if len(self.events) >= _SMALL_SHARD:
                self._encoded.clear()
            found = self._encoded[needs] = _columns(self, needs)
        return found

    def of_user(self, place: int) -> EncodedShard:
        """User number `place` alone, with the columns that are there already: what encoding that user's events gives."""
        begin, end = int(self.start[place]), int(self.start[place + 1])
        own = slice(begin, end)
        return EncodedShard(
            user_ids=self.user_ids.slice(place, 1),
            outcome=self.outcome,
            events=self.events.slice(begin, end - begin),
            start=frozen_array(np.array([0, end - begin], np.int64)),
            time=self.time[own],
            known=self.known[own],
            delayed=self.delayed[place : place + 1],
            key=self.key[own],
            sentiment=self.sentiment,
            _encoded={needs: columns.of_user(place) for needs, columns in self._encoded.items()},
        )


def encode(shard: pl.DataFrame, definition: ChurnDefinition, sentiment: Sentiment = SHIPPED_SENTIMENT) -> EncodedShard:
    """Encode an event frame with the columns of `EVENT_COLUMNS`, in any row order; sorted by (user_id, occurred_at,
    event_id) it goes fastest. `sentiment` reads the texts, if a catalogue asks for it."""
    facts = _facts(shard)
    start, time = _user_starts(_array(facts["user_id"])), _microseconds(shard["occurred_at"])
    users = _first_of_each(shard["user_id"], start)
    if not _is_sorted(users, shard["event_id"], start, time):
        shard = shard.sort("user_id", "occurred_at", "event_id")
        facts = _facts(shard)
        start, time = _user_starts(_array(facts["user_id"])), _microseconds(shard["occurred_at"])
        users = _first_of_each(shard["user_id"], start)
    known = _microseconds(shard["ingested_at"])
    return EncodedShard(
        user_ids=users,
        outcome=definition.outcome,
        events=shard,
        start=start,
        time=time,
        known=known,
        delayed=_delayed(start, time, known),
        key=_keys(shard, _array(facts["type"]), time, _array(facts["coupon"])),
        sentiment=sentiment,
    )


def _facts(shard: pl.DataFrame) -> pl.DataFrame:
    """In one query: a hash of the user, the type's code, whether a coupon was used. Hashes only tell equal from
    unequal."""
    return _query(
        shard,
        [
            pl.col("user_id").hash(),
            pl.col("type").cast(pl.Enum(EVENT_TYPES), strict=False).to_physical().fill_null(_CUSTOM).cast(pl.UInt8),
            pl.col("coupon").is_not_null(),
        ],
    )


def _query(shard: pl.DataFrame, columns: Sequence[pl.Expr]) -> pl.DataFrame:
    """Columns of a shard, worked out side by side where that pays."""
    return shard.select_seq(columns) if len(shard) < _SMALL_SHARD else shard.select(columns)


def _first_of_each(series: pl.Series, start: NDArray[np.int64]) -> pl.Series:
    """The value in each user's first row."""
    return series.head(1) if len(start) == 2 else series.gather(start[:-1])


def _columns(shard: EncodedShard, needs: Needs) -> Columns:
    run = _in_turn if len(shard.events) < _SMALL_SHARD else _in_threads
    values, value_row = _values(shard, sorted(needs.columns), run)
    codes, code_row, code_count = _codes(shard, sorted(needs.keys), run)
    time = shard.time
    return frozen(
        Columns(
            start=shard.start,
            time=time,
            known=shard.known,
            delayed=shard.delayed,
            key=shard.key,
            values=values,
            value_row=value_row,
            codes=codes,
            code_row=code_row,
            code_count=code_count,
            longest=int(np.diff(shard.start).max(initial=1)),
            span_days=span_days(time),
        )
    )


def _microseconds(moments: pl.Series) -> NDArray[np.int64]:
    return frozen_array(moments.to_numpy().view(np.int64))


def _array(series: pl.Series) -> NDArray[Any]:
    return frozen_array(series.to_numpy())


def _in_turn(job: Callable[[int], None], count: int) -> None:
    for i in range(count):
        job(i)


def _in_threads(job: Callable[[int], None], count: int) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(job, range(count)))


def _user_starts(hashed: NDArray[np.uint64]) -> NDArray[np.int64]:
    """First row of each run of one user, and the number of rows."""
    new = np.flatnonzero(hashed[1:] != hashed[:-1]) + 1
    return np.concatenate([[0], new, [len(hashed)]]) if len(hashed) else np.zeros(1, np.int64)


def _is_sorted(users: pl.Series, event_id: pl.Series, start: NDArray[np.int64], time: NDArray[np.int64]) -> bool:
    if len(users) > 1 and not (users.is_sorted() and users.n_unique() == len(users)):
        return False
    fits, ties = _time_order(start, time)
    if not fits:
        return False
    return bool((event_id.gather(ties) <= event_id.gather(ties + 1)).all()) if len(ties) else True


@njit(cache=True, nogil=True)
def _time_order(start: NDArray[np.int64], time: NDArray[np.int64]) -> tuple[bool, NDArray[np.int64]]:
    """Whether times ascend within each user, and the rows whose next row is of the same user and time."""
    ties = 0
    for u in range(len(start) - 1):
        for e in range(start[u], start[u + 1] - 1):
            if time[e] > time[e + 1]:
                return False, np.zeros(0, np.int64)
            ties += time[e] == time[e + 1]
    out = np.empty(ties, np.int64)
    ties = 0
    for u in range(len(start) - 1):
        for e in range(start[u], start[u + 1] - 1):
            if time[e] == time[e + 1]:
                out[ties] = e
                ties += 1
    return True, out


def _values(shard: EncodedShard, wanted: list[str], run: _Runner) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    type_code = shard.key & TYPE_BITS
    series = {c: _sentiments(shard) if c == "sentiment" else _numbers(shard.events, type_code, c) for c in wanted}
    found = [c for c, s in series.items() if s is not None]
    values = np.empty((len(found), len(shard.events)), np.float64)
    row = np.full(len(COLUMNS), -1, np.int32)

    def fill(i: int) -> None:
        numbers = series[found[i]]
        values[i] = numbers.to_numpy() if isinstance(numbers, pl.Series) else numbers

    row[[COLUMNS.index(name) for name in found]] = np.arange(len(found))
    run(fill, len(found))
    return values, row


def _numbers(
    events: pl.DataFrame, type_code: NDArray[np.integer[Any]], column: str
) -> pl.Series | NDArray[np.float64] | None:
    """A numeric column; None where it is empty. `days_late` stands in the properties of deliveries."""
    if column != "days_late":
        return events[column] if events[column].null_count() < len(events) else None
    late = np.flatnonzero(type_code == TYPE_CODES["delivery"])
    if not len(late):
        return None
    text = events["properties"].gather(late).str.json_path_match("$.days_late")
    out = np.full(len(events), np.nan)
    out[late] = text.cast(pl.Float64, strict=False).to_numpy()
    return out


def _sentiments(shard: EncodedShard) -> NDArray[np.float64] | None:
    """How each event's text sounds; None where no event has any."""
    found = shard.sentiment.of_events(shard.events)
    return None if np.isnan(found).all() else found


def _keys(
    events: pl.DataFrame, type_code: NDArray[np.uint8], time: NDArray[np.int64], coupon: NDArray[np.bool_]
) -> NDArray[np.uint16]:
    def numbers(column: str) -> NDArray[np.float64]:
        found = _numbers(events, type_code, column)
        found = found.to_numpy() if isinstance(found, pl.Series) else found
        return np.asarray(frozen_array(np.zeros(0) if found is None else found))

    late, rating, discount = (numbers(c) for c in ("days_late", "rating", "discount"))
    return np.asarray(_pack_keys(type_code, time, late, rating, discount, coupon))


@njit(cache=True, nogil=True)
def _pack_keys(
    type_code: NDArray[np.uint8],
    time: NDArray[np.int64],
    late: NDArray[np.float64],
    rating: NDArray[np.float64],
    discount: NDArray[np.float64],
    coupon: NDArray[np.bool_],
) -> NDArray[np.uint16]:
    """Type and conditions in one number, the bits of `selectors.CONDITIONS`; a column without values is empty."""
    out = np.empty(len(type_code), np.uint16)
    for e in range(len(out)):
        hour = time[e] // _HOUR_US
        key = np.int64(type_code[e]) | (hour % 24 // 6) << 5
        if (hour // 24 + 3) % 7 >= 5:  # 1970-01-01 was a Thursday: 3 with Monday = 0
            key |= 1 << 7
        if len(late) and late[e] > 0:
            key |= 1 << 8
        if len(rating) and rating[e] <= 2:
            key |= 1 << 9
        if len(discount) and discount[e] > 0:
            key |= 1 << 10
        if coupon[e]:
            key |= 1 << 11
        out[e] = key
    return out


def _codes(shard: EncodedShard, wanted: list[str], run: _Runner) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    nulls = {k: shard.events[k].null_count() for k in wanted if k not in _COMPUTED_KEYS}
    found = [k for k, n in nulls.items() if n < len(shard.events) or k == "order_id"]
    # one query for all; a hash only tells equal from unequal
    facts = _query(
        shard.events,
        [
            *(pl.col(k).hash() for k in found),
            *(pl.col(k).is_null().alias(f"{k}:null") for k in found if nulls[k]),
        ],
    )
    codes = np.empty((len(found), len(shard.events)), np.int32)
    most = np.full(len(found), COMPUTED_CODES, np.int64)
    row = np.full(len(KEYS), -1, np.int32)

    def fill(i: int) -> None:
        key = found[i]
        hashed = _array(facts[key])
        null = _array(facts[f"{key}:null"]) if nulls[key] else frozen_array(np.zeros(0, np.bool_))
        if key == "order_id":
            most[i] = _order_codes(shard.start, hashed, null, shard.time, shard.key, codes[i])
        else:
            most[i] = _local_codes(shard.start, hashed, null, codes[i])

    row[[KEYS.index(key) for key in found]] = np.arange(len(found))
    run(fill, len(found))
    return codes, row, int(most.max(initial=COMPUTED_CODES))


@njit(cache=True, nogil=True)
def _order_codes(
    start: NDArray[np.int64],
    hashed: NDArray[np.uint64],
    null: NDArray[np.bool_],
    time: NDArray[np.int64],
    key: NDArray[np.uint16],
    out: NDArray[np.int32],
) -> int:
    """Codes of orders: an order line without an order id belongs to the order of its moment."""
    if len(null) == 0:
        return int(_local_codes(start, hashed, null, out))
    full, missing = np.empty(len(null), np.uint64), np.empty(len(null), np.bool_)
    for e in range(len(null)):
        moment = null[e] and key[e] & TYPE_BITS == _ORDER
        full[e] = (np.uint64(time[e]) ^ _MIX) * _MIX if moment else hashed[e]
        missing[e] = null[e] and not moment
    return int(_local_codes(start, full, missing, out))


@njit(cache=True, nogil=True)
def _local_codes(
    start: NDArray[np.int64], hashed: NDArray[np.uint64], null: NDArray[np.bool_], out: NDArray[np.int32]
) -> int:
    """Dense codes within each user, by a small open-addressing table that one stamp a user empties; returns the most
    codes of one user. `null` (n,), or (0,) for none."""
    some, longest = len(null) > 0, 1
    for u in range(len(start) - 1):
        longest = max(longest, start[u + 1] - start[u])
    size = 2
    while size < 2 * longest:
        size *= 2
    slot_hash = np.zeros(size, np.uint64)
    slot_user = np.full(size, -1, np.int64)
    slot_code = np.zeros(size, np.int32)
    most = 1
    for u in range(len(start) - 1):
        count = 0
        mask = 2
        while mask < 2 * (start[u + 1] - start[u]):
            mask *= 2
        mask -= 1
        for e in range(start[u], start[u + 1]):
            if some and null[e]:
                out[e] = -1
                continue
            h = hashed[e]
            if e > start[u] and not (some and null[e - 1]) and hashed[e - 1] == h:
                out[e] = out[e - 1]
                continue
            i = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(mask))
            while slot_user[i] == u and slot_hash[i] != h:
                i = (i + 1) & mask
            if slot_user[i] != u:
                slot_user[i], slot_hash[i], slot_code[i] = u, h, count
                count += 1
            out[e] = slot_code[i]
        most = max(most, count)
    return most


@njit(cache=True, nogil=True)
def _delayed(start: NDArray[np.int64], time: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    out = np.zeros(len(start) - 1, np.bool_)
    for u in range(len(out)):
        for e in range(start[u], start[u + 1]):
            if known[e] > time[e]:
                out[u] = True
                break
    return out
