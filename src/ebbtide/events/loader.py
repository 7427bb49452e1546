"""Loading files into the lake: a unit of files is one atomic commit, or nothing.

A unit passes through the staging (rows by bucket, on disk), each bucket is parted into new, repeated and conflicting
events, new ones are written as data files, refused ones as quarantine files, and only then is the commit made. A
process killed before it leaves files that count for nothing; killed after it, all.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import duckdb
import polars as pl

from ebbtide.core.errors import DefectError, SourceError
from ebbtide.core.settings import ShopConfig
from ebbtide.events.binding import WHERE, Bound, bind_mapping, kind_of
from ebbtide.events.data_files import DataFile, write_data_file
from ebbtide.events.day_order import decide_order, needs_order
from ebbtide.events.identity import find_arrivals
from ebbtide.events.lake import Lake
from ebbtide.events.ledger import Counts, Entry
from ebbtide.events.mapping import mapped_query
from ebbtide.events.open_raw import QUARANTINE_ID, RawInput, open_raw
from ebbtide.events.parquet_files import damaged_parquet
from ebbtide.events.quarantine import Quarantine
from ebbtide.events.raw import RawTable
from ebbtide.events.schema import TABLE_COLUMNS
from ebbtide.events.source import Source
from ebbtide.events.staging import Staging
from ebbtide.events.surroundings import surroundings_error
from ebbtide.events.tables import append_rows
from ebbtide.events.times import DayOrder
from ebbtide.events.transform import FileOutcome, ReadFailedError, transform_file
from ebbtide.events.validate import Reason

AT_ONCE = 2
"""Buckets that are worked on at the same time: memory is bounded by that many of the largest ones."""


@dataclass
class LoadedFile:
    """One file on its way: its raw table, what became of its rows so far, and the key of its commit."""

    given: RawInput
    key: str
    raw: RawTable
    outcome: FileOutcome
    duplicates: int = 0
    accepted: int = 0

    def entry(self, source: str, mapping: str) -> Entry:
        """What the ledger is told of it.

        Raises DefectError if a row is unaccounted for.
        """
        broken = len(self.raw.screened.broken) if self.raw.screened else 0
        quarantined = sum(self.outcome.reasons.values())
        counts = Counts(self.outcome.read + broken, self.accepted, quarantined, self.outcome.filtered, self.duplicates)
        if not counts.balanced:
            raise DefectError("rows do not add up: {counts}", "行数不符：{counts}", counts=counts)
        return Entry(source, mapping, counts, dict(self.outcome.reasons), sorted(self.outcome.currencies))


@dataclass(frozen=True)
class _Bucket:
    """A bucket that is done: the file number of each new and repeated row, the conflicting rows, the entries that
    were corrected, the data file."""

    new: pl.Series
    repeated: pl.Series
    conflicting: pl.DataFrame
    corrected: pl.Series | None
    file: DataFile | None


@dataclass
class LoadResult:
    """The ledger entries of the files that were loaded, by key, and the errors of those that were not."""

    entries: list[tuple[str, Entry]] = field(default_factory=list)
    errors: list[SourceError] = field(default_factory=list)


class _Shelf:
    """Where the good rows of one file go: the staging of events, or a list for the smaller tables.

    `resolved`: ids of quarantine entries that need no correction any more; rows that come back with one of them, or
    with one for the second time, are counted in `again` and left out.
    """

    def __init__(self, staging: Staging | None, rows: list[pl.DataFrame], number: int) -> None:
        self._staging, self._rows, self._number = staging, rows, number
        self._mark = staging.mark() if staging is not None else len(rows)
        self._met: list[pl.Series] = []
        self.resolved: pl.Series | None = None
        self.again = 0

    def put(self, rows: pl.DataFrame) -> None:
        """Add good rows."""
        if self.resolved is not None:
            ids = rows[QUARANTINE_ID]
            done = pl.concat([self.resolved, *self._met])
            again = ids.is_not_null() & (ids.is_in(done.implode()) | ~ids.is_first_distinct())
            self.again += int(again.sum())
            self._met.append(ids.drop_nulls())
            rows = rows.filter(~again)
        rows = rows.with_columns(pl.lit(self._number, pl.Int32).alias("file"))
        if self._staging is not None:
            self._staging.add(rows)
        else:
            self._rows.append(rows)

    def empty(self) -> None:
        """Take the rows of this file back."""
        self.again = 0
        self._met.clear()
        if self._staging is not None:
            self._staging.drop_after(self._mark)
        else:
            del self._rows[self._mark :]


@dataclass
class Loader:
    """Loads units of files of one source. `scratch` is the folder for temporary files, `seen` the currencies met
    before, `report` hears the rows read of a file."""

    connection: duckdb.DuckDBPyConnection
    lake: Lake
    quarantine: Quarantine
    shop: ShopConfig
    scratch: Path
    now: datetime
    report: Callable[[Path, int], None]
    seen: frozenset[str] = frozenset()

    def load(self, source: Source, unit: Sequence[RawInput]) -> LoadResult:
        """Load a unit. Files that cannot be read are left out whole; their errors are in the result."""
        run = uuid.uuid4().hex[:16]
        folder = self.scratch / run
        staging = Staging(folder, self.lake.bucket_count)
        result = LoadResult()
        files: list[LoadedFile] = []
        rows: list[pl.DataFrame] = []
        mapping = source.mapping_hash(self.shop)
        for given in unit:
            shelf = _Shelf(staging if source.table == "events" else None, rows, len(files))
            key = f"{source.name}:{given.fingerprint}:{mapping}"
            try:
                files.append(self._read(source, given, key, folder / f"file-{len(files)}", shelf))
            except SourceError as fault:
                shelf.empty()
                result.errors.append(fault)
        if files and source.table == "events":
            self._finish_events(source, files, staging, run)
        elif files:
            self._finish_table(source, files, rows)
        result.entries = [(f.key, f.entry(source.name, mapping)) for f in files]
        shutil.rmtree(folder)
        return result

    def _read(self, source: Source, given: RawInput, key: str, folder: Path, shelf: _Shelf) -> LoadedFile:
        """Pass one file through its mapping onto the shelf.

        Times like `1/2/2024` are looked for in the first rows; if others could not be read, in the whole file, and
        the file is read again.
        """
        try:
            raw = open_raw(self.connection, given, source, folder)
            bound = bind_mapping(self.connection, raw, source)
            if raw.find(QUARANTINE_ID) is not None:
                shelf.resolved = self.quarantine.resolved()
            orders = self._orders(raw, bound, source, whole=False)
            outcome = self._transform(source, given, raw, bound, orders, folder, shelf)
            if outcome.reasons[Reason.BAD_TIME.value]:
                late = self._orders(raw, bound, source, whole=True)
                if late != orders:
                    shelf.empty()
                    outcome = self._transform(source, given, raw, bound, late, folder, shelf)
        except (duckdb.Error, ReadFailedError) as fault:
            raise surroundings_error(fault) or _unreadable(given, fault) from None
        loaded = LoadedFile(given, key, raw, outcome, shelf.again)
        _check_rows(loaded)
        self._check_currencies(loaded)
        return loaded

    def _transform(
        self,
        source: Source,
        given: RawInput,
        raw: RawTable,
        bound: dict[str, Bound],
        orders: dict[str, DayOrder],
        folder: Path,
        shelf: _Shelf,
    ) -> FileOutcome:
        query = mapped_query(raw, bound, source, self.shop, now=self.now, orders=orders)
        tell = partial(self.report, given.file)
        return transform_file(self.connection, query, source.table, folder, shelf.put, tell)

    def _orders(self, raw: RawTable, bound: dict[str, Bound], source: Source, *, whole: bool) -> dict[str, DayOrder]:
        if source.config.time_format:
            return {}
        times = {n: b for n, b in bound.items() if n != WHERE and kind_of(source.table, n) == "time"}
        unclear = {n: b for n, b in times.items() if needs_order(self.connection, raw, b, whole=whole)}
        return {n: decide_order(self.connection, raw, b, n) for n, b in unclear.items()}

    def _check_currencies(self, loaded: LoadedFile) -> None:
        """Without a currency of the shop, a second currency is an error: amounts of two must not be added up."""
        found = sorted(loaded.outcome.currencies | self.seen)
        if self.shop.currency or len(found) < 2:
            return
        codes = [c for c in found if len(c) == 3 and c.isascii() and c.isalpha()]
        raise SourceError(
            "{file}: amounts are in {count} currencies ({codes}): set `shop.currency` to keep one (rows of others go "
            "to quarantine), or convert them in the mapping",
            "{file}：金额使用了 {count} 种货币（{codes}）：请设置 `shop.currency` 只保留一种（其他行进入隔离区），"
            "或在映射中换算",
            file=loaded.given.file.name,
            count=len(found),
            codes=", ".join(codes[:10]),
        )

    def _finish_events(self, source: Source, files: list[LoadedFile], staging: Staging, run: str) -> None:
        written: list[DataFile] = []
        corrected: list[pl.Series] = []
        for done in self._buckets(source, staging, run):
            _count(files, done.new, done.repeated)
            _refuse_conflicts(files, done.conflicting, self.scratch / run)
            corrected += [done.corrected] if done.corrected is not None else []
            written += [done.file] if done.file is not None else []
        keys = [f.key for f in files if not self.lake.has_transaction(f.key)]
        self._quarantine(source, files, corrected, "events")
        if written or keys:
            notes = {"source": source.name, "files": [f.given.file.name for f in files]}
            self.lake.append(written, transactions=keys, notes=notes)

    def _buckets(self, source: Source, staging: Staging, run: str) -> Iterator[_Bucket]:
        """Part and write the buckets, AT_ONCE at a time."""

        def work(bucket: int) -> _Bucket:
            rows = staging.read_bucket(bucket)
            with self.connection.cursor() as cursor:
                found = find_arrivals(cursor, self.lake, bucket, rows, source.name)
            new = found.new
            file = write_data_file(self.lake.events_folder, bucket, run, new) if new.height else None
            corrected = new[QUARANTINE_ID].drop_nulls() if QUARANTINE_ID in new.columns else None
            return _Bucket(new["file"], found.repeated["file"], found.conflicting, corrected, file)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(work, staging.buckets())

    def _finish_table(self, source: Source, files: list[LoadedFile], rows: list[pl.DataFrame]) -> None:
        whole = (
            pl.concat(rows, how="diagonal")
            if rows
            else pl.DataFrame(schema={**TABLE_COLUMNS[source.table], "file": pl.Int32})
        )
        corrected = [whole[QUARANTINE_ID].drop_nulls()] if QUARANTINE_ID in whole.columns else []
        self._quarantine(source, files, corrected, source.table)
        added = append_rows(self.lake, source.table, whole, [f.key for f in files])
        _count(files, whole["file"].filter(added), whole["file"].filter(~added))

    def _quarantine(self, source: Source, files: list[LoadedFile], corrected: list[pl.Series], table: str) -> None:
        for file in files:
            if file.raw.screened is not None and len(file.raw.screened.broken):
                file.outcome.reasons[Reason.BAD_ROW.value] += len(file.raw.screened.broken)
            refused = [_with_numbers(part, file.raw) for part in file.outcome.refused]
            self.quarantine.write(
                self.connection, file.raw, refused, source=source.name, fingerprint=file.given.fingerprint
            )
        if corrected:
            self.quarantine.write_resolved(f"{table}/{files[0].key}", pl.concat(corrected))


def _check_rows(loaded: LoadedFile) -> None:
    """The reader must give as many rows as the screening counted."""
    screened = loaded.raw.screened
    if screened is None or loaded.raw.numbered:
        return
    expected = screened.rows - (1 if loaded.raw.header else 0)
    if loaded.outcome.read != expected:
        raise SourceError(
            "{file}: {read:,} of {expected:,} rows could be read: check its quotes and line ends; nothing was taken",
            "{file}：{expected:,} 行中只能读取 {read:,} 行：请检查引号和换行；其中内容均未导入",
            file=loaded.given.file.name,
            read=loaded.outcome.read,
            expected=expected,
        )


def _unreadable(given: RawInput, fault: Exception) -> SourceError:
    """The error for a file that fails while it is read."""
    if given.parts or given.file.suffix.lower() in (".parquet", ".pq"):
        return damaged_parquet(given.file)
    return SourceError(
        "{file} cannot be read to its end ({kind}); nothing of it was taken",
        "无法将 {file} 读到结尾（{kind}）；其中内容均未导入",
        file=given.file.name,
        kind=str(fault).split(":")[0][:40],
    )


def _with_numbers(part: Path, raw: RawTable) -> Path:
    """Fill the row numbers of a list of refused rows that has positions only."""
    rows = pl.read_parquet(part)
    numbers = pl.Series("found", raw.row_numbers(rows["position"].to_numpy()))
    rows.with_columns(pl.coalesce("number", numbers).alias("number")).write_parquet(part)
    return part


def _count(files: list[LoadedFile], new: pl.Series, repeated: pl.Series) -> None:
    for number, count in new.value_counts().iter_rows():
        files[number].accepted += count
    for number, count in repeated.value_counts().iter_rows():
        files[number].duplicates += count


def _refuse_conflicts(files: list[LoadedFile], rows: pl.DataFrame, folder: Path) -> None:
    if rows.is_empty():
        return
    number = pl.col("number") if "number" in rows.columns else pl.lit(None, pl.Int64).alias("number")
    reason = pl.lit(Reason.CONFLICTING_ID.value).alias("reason")
    for (file,), part in rows.with_columns(number, reason).group_by("file"):
        files[int(file)].outcome.refuse(part, folder / f"file-{file}")
