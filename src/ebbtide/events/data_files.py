"""The Parquet files of the lake: what is known of each without opening it, how it is written and announced to Delta."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from deltalake.transaction import AddAction

from ebbtide.events.schema import EVENT_COLUMNS

ORDER = ("user_id", "occurred_at", "event_id")
_ROW_GROUP = 16_384  # one user is found by reading one or two groups; smaller ones make files longer and win little
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class DataFile:
    """A file of one bucket. `path` is relative to the table; times in UTC microseconds, widened to milliseconds;
    `digest` is the sum of the hashes of its rows modulo 2^64, so that the digests of two files add up."""

    path: str
    bucket: int
    rows: int
    first_us: int
    last_us: int
    digest: int

    def meets(self, first_us: int, last_us: int) -> bool:
        """Whether it may hold events of this span, both ends included."""
        return self.first_us <= last_us and first_us <= self.last_us


def write_data_file(table: Path, bucket: int, run: str, events: pl.DataFrame) -> DataFile:
    """Sort the events of a bucket and write them; missing columns become null. Counts only once it is committed."""
    missing = [pl.lit(None, t).alias(n) for n, t in EVENT_COLUMNS.items() if n not in events.columns]
    frame = sorted_events(events.with_columns(missing).select(list(EVENT_COLUMNS)))
    digest = int(frame.hash_rows(seed=0).cast(pl.Int128).sum()) & _MASK
    path = f"bucket={bucket}/{run}-{digest:016x}.parquet"
    (table / path).parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(table / path, compression="zstd", compression_level=1, row_group_size=_ROW_GROUP)
    times = frame["occurred_at"].dt.timestamp("us")
    first, last = int(times.min() or 0), int(times.max() or 0)  # type: ignore[arg-type]
    return DataFile(path, bucket, frame.height, first, last, digest)


def sorted_events(events: pl.DataFrame) -> pl.DataFrame:
    """Sort by user, time and event_id: by whole numbers first, by the text of the ids only where times are equal.

    The same as `events.sort(ORDER)`, in less than half the time.
    """
    users = events["user_id"].unique().sort()
    ranks = pl.int_range(len(users), dtype=pl.UInt32, eager=True)
    codes = events["user_id"].replace_strict(users, ranks, return_dtype=pl.UInt32).to_numpy()
    times = events["occurred_at"].dt.timestamp("us").to_numpy()
    order = np.lexsort((times, codes))
    same = (np.diff(codes[order]) == 0) & (np.diff(times[order]) == 0)
    if same.any():
        tied = np.concatenate([same, [False]]) | np.concatenate([[False], same])
        places = order[tied]
        keys = {"code": codes[places], "time": times[places], "id": events["event_id"].gather(places)}
        order[tied] = places[pl.DataFrame(keys).select(pl.arg_sort_by("code", "time", "id")).to_series().to_numpy()]
    return events.select(pl.all().gather(pl.Series(order)))


def add_action(table: Path, file: DataFile, *, new_data: bool = True) -> AddAction:
    """What Delta is told of a file. Of the columns only the range of times is told: statistics of ids would show
    users in clear and outlive their erasure."""
    stats = {
        "numRecords": file.rows,
        "minValues": {"occurred_at": _milliseconds(file.first_us // 1000)},
        "maxValues": {"occurred_at": _milliseconds(-(-file.last_us // 1000))},
        "nullCount": {},
    }
    status = (table / file.path).stat()
    changed = int(status.st_mtime * 1000)
    return AddAction(file.path, status.st_size, {"bucket": str(file.bucket)}, changed, new_data, json.dumps(stats))


def digest_of(path: str) -> int:
    """The digest that stands in a file's name.

    >>> digest_of("bucket=0/ab12-00000000000000ff.parquet")
    255
    """
    return int(path.removesuffix(".parquet").rsplit("-", 1)[1], 16)


def _milliseconds(count: int) -> str:
    whole = datetime.fromtimestamp(count // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{count % 1000:03d}Z"
