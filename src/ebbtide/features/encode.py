"""Encoding: a shard's event frame becomes NumPy columns sorted by (user, time, event id).

Identities (orders, sessions, items, ...) become codes that are dense within each user, 0, 1, 2, ... in order of first
appearance; a feature never sees the code's value. Ties in time are ordered by event id, so that sums add up in one
order whatever the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.events.schema import EVENT_TYPES
from ebbtide.features.primitives import COLUMNS, KEYS
from ebbtide.features.selectors import TYPE_CODES

HOUR_US = 3_600_000_000


class Columns(NamedTuple):
    """The arrays of a shard that the kernels read. n events, U users.

    start (U + 1,) first event of each user; time, known (n,) occurred_at and ingested_at in us; delayed (U,) whether
    any event of the user was ingested after it occurred; key (n,) type and conditions (`selectors.py`);
    values (rows, n) numeric columns, value_row (len(COLUMNS),) their row or -1 where the column is empty;
    codes (rows, n) dense codes, -1 for null, code_row (len(KEYS),) likewise; codes_max the most codes of one user.
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
    codes_max: int


@dataclass(frozen=True)
class EncodedShard:
    """A shard ready for `engine.compute`; user i of `at_user` is `user_ids[i]`. Users ascend."""

    user_ids: pl.Series
    columns: Columns
    outcome: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.user_ids)


def encode(shard: pl.DataFrame, definition: ChurnDefinition) -> EncodedShard:
    """Encode an event frame with the columns of `EVENT_COLUMNS`, in any row order."""
    frame = _sorted(shard)
    users, start = _users(frame["user_id"])
    time = frame["occurred_at"].cast(pl.Int64).to_numpy()
    known = frame["ingested_at"].cast(pl.Int64).to_numpy()
    type_code = _types(frame["type"])
    values, value_row = _values(frame, type_code)
    key = _keys(type_code, time, values, value_row, frame["coupon"].is_not_null().to_numpy())
    codes, code_row, codes_max = _codes(frame, start, type_code, time)
    columns = Columns(
        start, time, known, _delayed(start, time, known), key, values, value_row, codes, code_row, codes_max
    )
    return EncodedShard(users, columns, definition.outcome)


def _sorted(shard: pl.DataFrame) -> pl.DataFrame:
    order = ["user_id", "occurred_at", "event_id"]
    return shard.sort(order)


def _users(user_id: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
    run = user_id.rle_id().to_numpy()
    first = np.flatnonzero(np.diff(run, prepend=np.array([-1], np.int64)) != 0) if len(run) else np.zeros(0, np.int64)
    return user_id.gather(first), np.append(first, len(run)).astype(np.int64)


def _types(type_: pl.Series) -> NDArray[np.uint8]:
    codes = type_.cast(pl.Enum(EVENT_TYPES), strict=False).to_physical().cast(pl.UInt8)
    return codes.fill_null(TYPE_CODES["custom"]).to_numpy()


def _values(frame: pl.DataFrame, type_code: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    found = [c for c in COLUMNS[:-1] if frame[c].null_count() < len(frame)]
    late = _days_late(frame, type_code)
    values = np.empty((len(found) + (late is not None), len(frame)), np.float64)
    row = np.full(len(COLUMNS), -1, np.int32)
    for i, name in enumerate(found):
        row[COLUMNS.index(name)] = i
        values[i] = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    if late is not None:
        row[COLUMNS.index("days_late")] = len(found)
        values[-1] = late
    return values, row


def _days_late(frame: pl.DataFrame, type_code: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """`properties.days_late` of deliveries; None if there is none."""
    index = np.flatnonzero(type_code == TYPE_CODES["delivery"])
    if not len(index):
        return None
    text = frame["properties"].gather(index)
    late = text.str.json_path_match("$.days_late").cast(pl.Float64, strict=False)
    out = np.full(len(frame), np.nan)
    out[index] = late.fill_null(np.nan).to_numpy()
    return out


def _keys(
    type_code: NDArray[np.uint8],
    time: NDArray[np.int64],
    values: NDArray[np.float64],
    value_row: NDArray[np.int32],
    coupon: NDArray[np.bool_],
) -> NDArray[np.uint16]:
    def column(name: str) -> NDArray[np.float64]:
        row = value_row[COLUMNS.index(name)]
        return values[row] if row >= 0 else np.full(1, np.nan)

    hour = time // HOUR_US
    key = type_code.astype(np.uint16)
    key |= ((hour % 24 // 6) << 5).astype(np.uint16)
    key |= (((hour // 24 + 3) % 7 >= 5).astype(np.uint16)) << 7  # 1970-01-01 was a Thursday: 3 with Monday = 0
    key |= (column("days_late") > 0).astype(np.uint16) << 8
    key |= (column("rating") <= 2).astype(np.uint16) << 9
    key |= (column("discount") > 0).astype(np.uint16) << 10
    key |= coupon.astype(np.uint16) << 11
    return key


def _codes(
    frame: pl.DataFrame, start: NDArray[np.int64], type_code: NDArray[np.uint8], time: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    found = [k for k in KEYS[:-2] if k == "order_id" or frame[k].null_count() < len(frame)]
    codes = np.empty((len(found), len(frame)), np.int32)
    row = np.full(len(KEYS), -1, np.int32)
    most = 1
    for i, name in enumerate(found):
        row[KEYS.index(name)] = i
        hashed, null = frame[name].hash().to_numpy(), frame[name].is_null().to_numpy()
        if name == "order_id":
            # an order line without an order id belongs to the order of its moment
            alone = null & (type_code == TYPE_CODES["order"])
            hashed = np.where(
                alone, (time.astype(np.uint64) ^ np.uint64(1 << 63)) * np.uint64(0x9E3779B97F4A7C15), hashed
            )
            null = null & ~alone
        most = max(most, _local_codes(start, hashed, null, codes[i]))
    return codes, row, int(most)


@njit(cache=True, nogil=True)
def _local_codes(
    start: NDArray[np.int64], hashed: NDArray[np.uint64], null: NDArray[np.bool_], out: NDArray[np.int32]
) -> int:
    """Dense codes within each user, by a small open-addressing table that one stamp a user empties."""
    longest = 1
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
            if null[e]:
                out[e] = -1
                continue
            h = hashed[e]
            if e > start[u] and not null[e - 1] and hashed[e - 1] == h:
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
