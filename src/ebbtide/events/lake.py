"""The lake: canonical events as a Delta table partitioned by user bucket, and the smaller tables beside it.

A bucket holds all events of its users. Every append is one atomic Delta commit; data files are written before it and
count only from it on. Column statistics stay out of the Delta log, for they would show ids in clear; row counts and
the range of times are kept.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction

from ebbtide.core.errors import MissingError
from ebbtide.core.ids import buckets_of
from ebbtide.core.windows import to_us
from ebbtide.events.schema import EVENT_COLUMNS, TABLE_COLUMNS

ORDER = ("user_id", "occurred_at", "event_id")
_BUCKETS = "ebbtide.buckets"


@dataclass(frozen=True)
class LakeSummary:
    """What the lake holds. Times are UTC microseconds, None in an empty lake."""

    rows: int
    users: int
    first_occurred_us: int | None
    last_occurred_us: int | None
    last_ingested_us: int | None


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of one bucket, in the table's folder; times of its events in UTC microseconds."""

    path: str
    bucket: int
    rows: int
    first_us: int
    last_us: int


class Lake:
    """The events (and other tables) under one folder, normally `.ebbtide/lake` of a workspace."""

    def __init__(self, folder: Path, table: DeltaTable) -> None:
        self.folder = folder
        self._table = table
        self._files: dict[int, list[DataFile]] = {}
        self._load()

    @staticmethod
    def open(folder: Path) -> Lake:
        """Open the lake in `folder`.

        Raises MissingError if nothing was ingested yet.
        """
        try:
            table = DeltaTable(str(folder / "events"))
        except TableNotFoundError:
            raise MissingError(
                "nothing ingested yet: run `ebbtide ingest`", "尚未导入数据：请运行 `ebbtide ingest`"
            ) from None
        return Lake(folder, table)

    @staticmethod
    def create(folder: Path, bucket_count: int) -> Lake:
        """Make an empty lake. The number of buckets stays."""
        (folder / "events").mkdir(parents=True, exist_ok=True)
        table = DeltaTable.create(
            str(folder / "events"),
            schema=_arrow_schema(),
            partition_by=["bucket"],
            name="events",
            configuration={_BUCKETS: str(bucket_count), "delta.dataSkippingStatsColumns": "occurred_at"},
            raise_if_key_not_exists=False,
        )
        return Lake(folder, table)

    @property
    def bucket_count(self) -> int:
        """Number of buckets over which users are spread."""
        return int(self._table.metadata().configuration[_BUCKETS])

    def buckets(self) -> list[int]:
        """Buckets that hold events, ascending."""
        return sorted(self._files)

    def bucket_of(self, user_id: str) -> int:
        """The bucket of a user."""
        return int(buckets_of(pl.Series([user_id]), self.bucket_count)[0])

    def files(self, bucket: int) -> list[DataFile]:
        """The data files of a bucket."""
        return self._files.get(bucket, [])

    def read_bucket(self, bucket: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The events of a bucket, sorted by user, time and event_id; an empty frame for a bucket without events."""
        wanted = list(EVENT_COLUMNS) if columns is None else list(columns)
        return self._read(self.files(bucket), wanted, None)

    def read_user(self, user_id: str) -> pl.DataFrame:
        """All events of one user, sorted by time and event_id; an empty frame for an unknown user."""
        files = self.files(self.bucket_of(user_id))
        return self._read(files, list(EVENT_COLUMNS), pl.col("user_id") == user_id)

    def read_table(self, name: str) -> pl.DataFrame:
        """The rows of items, users, consents or exposures; an empty frame if there are none."""
        try:
            table = DeltaTable(str(self.folder / name))
        except TableNotFoundError:
            return pl.DataFrame(schema=TABLE_COLUMNS[name])
        files = [str(self.folder / name / p) for p in _paths(table)]
        if not files:
            return pl.DataFrame(schema=TABLE_COLUMNS[name])
        return pl.read_parquet(files, hive_partitioning=False).select(list(TABLE_COLUMNS[name]))

    def summary(self) -> LakeSummary:
        """Rows, users and the range of times, from a scan of three columns."""
        rows = users = 0
        spans: list[tuple[int, int, int]] = []
        for bucket in self.buckets():
            frame = self._scan(self.files(bucket)).select(
                pl.len().alias("rows"),
                pl.col("user_id").n_unique().alias("users"),
                pl.col("occurred_at").min().alias("first").cast(pl.Int64),
                pl.col("occurred_at").max().alias("last").cast(pl.Int64),
                pl.col("ingested_at").max().alias("known").cast(pl.Int64),
            )
            count, distinct, first, last, known = frame.collect().row(0)
            rows, users = rows + count, users + distinct
            spans.append((first, last, known))
        if not spans:
            return LakeSummary(0, 0, None, None, None)
        firsts, lasts, knowns = zip(*spans, strict=True)
        return LakeSummary(rows, users, min(firsts), max(lasts), max(knowns))

    def fingerprint(self) -> str:
        """Changes if and only if the set of data files changes."""
        listed = sorted(f"{f.path}:{f.rows}" for files in self._files.values() for f in files)
        return hashlib.sha256("\n".join(listed).encode()).hexdigest()[:32]

    def has_transaction(self, key: str) -> bool:
        """Whether an append under this key was committed."""
        return self._table.transaction_version(key) is not None

    def append(self, files: Sequence[DataFile], *, transactions: Sequence[str], notes: Mapping[str, Any]) -> None:
        """Commit data files that were written under the table's folder, all or none."""
        actions = [self._action(f) for f in files]
        moment = int(time.time() * 1000)
        properties = CommitProperties(
            custom_metadata={"ebbtide": json.dumps(notes, sort_keys=True)},
            app_transactions=[Transaction(key, 1, moment) for key in transactions],
        )
        self._table.create_write_transaction(
            actions, "append", _arrow_schema(), partition_by=["bucket"], commit_properties=properties
        )
        self._table.update_incremental()
        self._load()

    def data_path(self, bucket: int, name: str) -> Path:
        """Where a new data file of a bucket belongs; its folder is made."""
        file = self.folder / "events" / f"bucket={bucket}" / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _action(self, file: DataFile) -> AddAction:
        stats = {"numRecords": file.rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
        stats["minValues"] = {"occurred_at": _stamp(file.first_us, up=False)}
        stats["maxValues"] = {"occurred_at": _stamp(file.last_us, up=True)}
        path = self.folder / "events" / file.path
        size, changed = path.stat().st_size, int(path.stat().st_mtime * 1000)
        return AddAction(file.path, size, {"bucket": str(file.bucket)}, changed, True, json.dumps(stats))

    def _load(self) -> None:
        self._files = {}
        found = pl.DataFrame(self._table.get_add_actions(flatten=True))
        if found.is_empty():
            return
        for row in found.iter_rows(named=True):
            first, last = row["min.occurred_at"], row["max.occurred_at"]
            file = DataFile(row["path"], int(row["partition.bucket"]), row["num_records"], to_us(first), to_us(last))
            self._files.setdefault(file.bucket, []).append(file)
        for files in self._files.values():
            files.sort(key=lambda f: f.path)

    def _scan(self, files: Sequence[DataFile]) -> pl.LazyFrame:
        paths = [str(self.folder / "events" / f.path) for f in files]
        return pl.scan_parquet(paths, hive_partitioning=False)

    def _read(self, files: Sequence[DataFile], wanted: list[str], only: pl.Expr | None) -> pl.DataFrame:
        if not files:
            return pl.DataFrame(schema={c: EVENT_COLUMNS[c] for c in wanted})
        needs_order = len(files) > 1
        read = list(dict.fromkeys([*wanted, *(ORDER if needs_order else ())]))
        scan = self._scan(files)
        frame = (scan if only is None else scan.filter(only)).select(read).collect()
        return frame.sort(ORDER).select(wanted) if needs_order else frame


def _paths(table: DeltaTable) -> list[str]:
    return sorted(pl.DataFrame(table.get_add_actions(flatten=True))["path"].to_list())


def _stamp(us: int, *, up: bool) -> str:
    """A time as Delta statistics hold it, in whole milliseconds that enclose it."""
    milliseconds = -(-us // 1000) if up else us // 1000
    whole = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def _arrow_schema() -> Any:
    frame = pl.DataFrame(schema={**EVENT_COLUMNS, "bucket": pl.Int32()})
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
