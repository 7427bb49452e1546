"""The lake: canonical events as a Delta table partitioned by user bucket, and the smaller tables beside it.

A bucket holds all events of its users. Every append is one atomic Delta commit; data files are written before it and
count only from it on.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake._internal import RemoveAction
from deltalake.exceptions import TableNotFoundError

from ebbtide.core.errors import MissingError
from ebbtide.core.ids import buckets_of
from ebbtide.core.windows import to_us
from ebbtide.events.data_files import (
    ORDER,
    DataFile,
    add_action,
    digest_of,
    sorted_events,
    write_data_file,
)
from ebbtide.events.schema import EVENT_COLUMNS, TABLE_COLUMNS

_BUCKETS = "ebbtide.buckets"
_ALWAYS = 1
_INGESTS = "ebbtide.ingests"


@dataclass(frozen=True)
class LakeSummary:
    """What the lake holds. Times are UTC microseconds, None in an empty lake."""

    rows: int
    users: int
    first_occurred_us: int | None
    last_occurred_us: int | None
    last_ingested_us: int | None


class Lake:
    """The events (and other tables) under one folder, normally `.ebbtide/lake` of a workspace.

    What it shows is the state at `open`, plus the appends made through it.
    """

    def __init__(self, folder: Path, table: DeltaTable) -> None:
        self.folder = folder
        self.events_folder = folder / "events"
        self._table = table
        self._files: dict[int, list[DataFile]] = {}
        self._load()

    @staticmethod
    def open(folder: Path) -> Lake:
        """Open the lake in `folder`.

        Raises MissingError if nothing was ingested yet.
        """
        try:
            return Lake(folder, DeltaTable(str(folder / "events")))
        except TableNotFoundError:
            raise MissingError(
                "nothing ingested yet: run `ebbtide ingest`", "尚未导入数据：请运行 `ebbtide ingest`"
            ) from None

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

    def read_files(self, files: Sequence[DataFile]) -> pl.DataFrame:
        """The events of some files of one bucket, sorted."""
        return self._read(files, list(EVENT_COLUMNS), None)

    def read_span(self, bucket: int, first_us: int, last_us: int, columns: Sequence[str]) -> pl.DataFrame:
        """At least the events of a bucket in this span (files are taken or left whole), in no particular order."""
        files = [f for f in self.files(bucket) if f.meets(first_us, last_us)]
        if not files:
            return pl.DataFrame(schema={c: EVENT_COLUMNS[c] for c in columns})
        return self._scan(files).select(list(columns)).collect()

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
        whole = pl.scan_parquet(files, hive_partitioning=False, schema=TABLE_COLUMNS[name], missing_columns="insert")
        return whole.select(list(TABLE_COLUMNS[name])).collect()

    def summary(self) -> LakeSummary:
        """Rows, users and the range of times, from a scan of three columns, bucket by bucket."""
        spans = [self._span(bucket) for bucket in self.buckets()]
        if not spans:
            return LakeSummary(0, 0, None, None, None)
        rows, users, firsts, lasts, knowns = zip(*spans, strict=True)
        return LakeSummary(sum(rows), sum(users), min(firsts), max(lasts), max(knowns))

    def fingerprint(self) -> str:
        """Changes when the events change; does not depend on the number of buckets or on the order of arrival."""
        files = [f for files in self._files.values() for f in files]
        rows, digest = sum(f.rows for f in files), sum(f.digest for f in files) % (1 << 64)
        return hashlib.sha256(f"{rows}:{digest}".encode()).hexdigest()[:32]

    def has_transaction(self, key: str) -> bool:
        """Whether an append under this key was committed."""
        return self._table.transaction_version(key) is not None

    def position(self, key: str) -> int:
        """The number that the newest append under this key carried; 0 if there was none."""
        return self._table.transaction_version(key) or 0

    @property
    def ingests(self) -> int:
        """How many appends came from files."""
        return self.position(_INGESTS)

    def append(
        self,
        files: Sequence[DataFile],
        *,
        transactions: Sequence[str] = (),
        positions: Mapping[str, int] | None = None,
        notes: Mapping[str, Any],
    ) -> None:
        """Commit data files that were written under the table's folder, all or none.

        `transactions` are marked as done (`has_transaction`), `positions` as reached (`position`), by the same commit.
        """
        ingests = {_INGESTS: self.ingests + 1} if transactions else {}
        reached = {**dict.fromkeys(transactions, _ALWAYS), **ingests, **(positions or {})}
        self._commit([add_action(self.events_folder, f) for f in files], reached, notes)

    def refresh(self) -> None:
        """See what others have appended since `open`."""
        before = self._table.version()
        self._table.update_incremental()
        if self._table.version() != before:
            self._load()

    def compact(self, bucket: int, run: str) -> None:
        """Replace the files of a bucket by one. Its events stay what they are."""
        old = self.files(bucket)
        new = write_data_file(self.events_folder, bucket, run, self.read_bucket(bucket))
        moment = int(time.time() * 1000)
        removed = [
            RemoveAction(f.path, False, moment, partition_values={"bucket": str(bucket)}) for f in old if f != new
        ]
        self._commit([add_action(self.events_folder, new, new_data=False), *removed], {}, {"compacted": bucket})

    def unused_files(self) -> list[Path]:
        """Parquet files in the table's folder that no commit refers to any more, or yet."""
        used = {f.path for files in self._files.values() for f in files}
        found = sorted(self.events_folder.glob("bucket=*/*.parquet"))
        return [p for p in found if str(p.relative_to(self.events_folder)) not in used]

    def _commit(self, actions: list[Any], reached: Mapping[str, int], notes: Mapping[str, Any]) -> None:
        moment = int(time.time() * 1000)
        properties = CommitProperties(
            custom_metadata={"ebbtide": json.dumps(notes, sort_keys=True)},
            app_transactions=[Transaction(key, number, moment) for key, number in reached.items()],
        )
        self._table.create_write_transaction(
            actions, "append", _arrow_schema(), partition_by=["bucket"], commit_properties=properties
        )
        self._table.update_incremental()
        self._load()

    def _load(self) -> None:
        self._files = {}
        found = pl.DataFrame(self._table.get_add_actions(flatten=True))
        for row in found.iter_rows(named=True):
            first, last = to_us(row["min.occurred_at"]), to_us(row["max.occurred_at"])
            bucket = int(row["partition.bucket"])
            file = DataFile(row["path"], bucket, row["num_records"], first, last, digest_of(row["path"]))
            self._files.setdefault(bucket, []).append(file)
        for files in self._files.values():
            files.sort(key=lambda f: f.path)

    def _scan(self, files: Sequence[DataFile]) -> pl.LazyFrame:
        return pl.scan_parquet([self.events_folder / f.path for f in files], hive_partitioning=False)

    def _span(self, bucket: int) -> tuple[int, int, int, int, int]:
        wanted = (
            pl.len(),
            pl.col("user_id").n_unique(),
            pl.col("occurred_at").min().dt.timestamp("us").alias("first"),
            pl.col("occurred_at").max().dt.timestamp("us").alias("last"),
            pl.col("ingested_at").max().dt.timestamp("us").alias("known"),
        )
        rows, users, first, last, known = self._scan(self.files(bucket)).select(wanted).collect().row(0)
        return rows, users, first, last, known

    def _read(self, files: Sequence[DataFile], wanted: list[str], only: pl.Expr | None) -> pl.DataFrame:
        if not files:
            return pl.DataFrame(schema={c: EVENT_COLUMNS[c] for c in wanted})
        several = len(files) > 1
        empty = set() if only is not None else _empty_columns([self.events_folder / f.path for f in files])
        needed = [c for c in dict.fromkeys([*wanted, *(ORDER if several else ())]) if c not in empty] or [ORDER[0]]
        scan = self._scan(files)
        frame = (scan if only is None else scan.filter(only)).select(needed).collect()
        absent = [pl.lit(None, EVENT_COLUMNS[c]).alias(c) for c in wanted if c in empty]
        return (sorted_events(frame) if several else frame).with_columns(absent).select(wanted)


def landing_key(shop_id: str) -> str:
    """Under what name the lake keeps its position in the inbox."""
    return f"inbox:{shop_id}"


def lake_folder(root: Path) -> Path:
    """Where a workspace keeps its lake."""
    return root / ".ebbtide" / "lake"


def _empty_columns(files: Sequence[Path]) -> set[str]:
    """Columns in which nothing stands, by the files' own counts. Most shops leave most columns empty: as one null that counts
    for all rows such a column takes no memory."""
    found = set(EVENT_COLUMNS)
    for file in files:
        meta = pq.read_metadata(file)
        for group in map(meta.row_group, range(meta.num_row_groups)):
            columns = map(group.column, range(group.num_columns))
            told = {
                c.path_in_schema: c.statistics.null_count for c in columns if c.path_in_schema in found and c.statistics
            }
            found = {name for name in found if told.get(name) == group.num_rows}
    return found


def _paths(table: DeltaTable) -> list[str]:
    found = pl.DataFrame(table.get_add_actions(flatten=True))
    return sorted(found["path"].to_list()) if found.height else []


def _arrow_schema() -> Any:
    frame = pl.DataFrame(schema={**EVENT_COLUMNS, "bucket": pl.Int32()})
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
