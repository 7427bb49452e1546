"""Use case: raw logs into the lake and the quarantine. Incremental, idempotent, every row accounted for."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from ebbtide.core.config import Config, SourceConfig
from ebbtide.core.errors import DefectError, InputError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.events.csv_files import open_csv
from ebbtide.events.files import find_files, fingerprint, format_of, read_head
from ebbtide.events.identity import with_event_ids
from ebbtide.events.lake import ORDER, DataFile, Lake
from ebbtide.events.mapping import Columns, mapped_query
from ebbtide.events.parquet_files import open_parquet, parquet_rows
from ebbtide.events.raw import RawTable
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.events.staging import Staging
from ebbtide.events.transform import stage_rows


@dataclass
class Counts:
    """Where the rows went: read = accepted + quarantined + filtered + duplicates, always."""

    read: int = 0
    accepted: int = 0
    quarantined: int = 0
    filtered: int = 0
    duplicates: int = 0

    def add(self, other: Counts) -> None:
        """Add another count to this one."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def check(self) -> None:
        """Raise DefectError if a row is unaccounted for."""
        if self.read != self.accepted + self.quarantined + self.filtered + self.duplicates:
            raise DefectError("rows do not add up: {counts}", "行数不符：{counts}", counts=asdict(self))


@dataclass
class IngestReport:
    """Counts by source and in total, and how often each reason for quarantine occurred."""

    sources: dict[str, Counts] = field(default_factory=dict)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def total(self) -> Counts:
        """The sum over the sources."""
        total = Counts()
        for counts in self.sources.values():
            total.add(counts)
        return total

    def to_json(self) -> dict[str, Any]:
        """`{"total": {...}, "sources": {name: {..., "reasons": {...}}}}`."""
        sources = {n: {**asdict(c), "reasons": dict(self.reasons.get(n, {}))} for n, c in self.sources.items()}
        return {"total": asdict(self.total), "sources": sources}


def lake_folder(root: Path) -> Path:
    """Where a workspace keeps its lake."""
    return root / ".ebbtide" / "lake"


def ingest(
    config: Config,
    root: Path,
    files: Sequence[Path] | None = None,
    *,
    source: str | None = None,
    progress: Progress = silent,
    now: datetime | None = None,
) -> IngestReport:
    """Read the sources of the config, or `files` with the mapping of `source`, into the lake of workspace `root`."""
    moment = now or datetime.now(UTC)
    report = IngestReport()
    work = [(s, _files(s, root, files)) for s in _chosen(config, source, files)]
    connection = _connect(config, root)
    lake = _open_or_create(config, root, connection, [f for _, fs in work for f in fs])
    for number, (chosen, found) in enumerate(work):
        counts = report.sources.setdefault(chosen.name, Counts())
        reasons = report.reasons.setdefault(chosen.name, Counter())
        for file in found:
            progress(Text(f"reading {file.name}", f"读取 {file.name}"), number, len(work))
            one, why = _ingest_file(config, root, connection, lake, chosen, file, moment)
            counts.add(one)
            reasons.update(why)
        counts.check()
    return report


def _chosen(config: Config, name: str | None, files: Sequence[Path] | None) -> list[SourceConfig]:
    sources = [s for s in config.sources() if name in (None, s.name)]
    if not sources:
        raise InputError("no source in ebbtide.toml", "ebbtide.toml 中没有来源")
    return sources[:1] if files else sources


def _files(source: SourceConfig, root: Path, files: Sequence[Path] | None) -> list[Path]:
    return list(files) if files else find_files(source.path, root)


def _connect(config: Config, root: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    spill = root / ".ebbtide" / "staging" / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    connection.execute(f"set memory_limit='{config.lake.memory_limit}'")
    connection.execute("set threads=2")
    connection.execute(f"set temp_directory='{spill}'")
    connection.execute(f"set TimeZone='{config.shop.timezone}'")
    return connection


def _open_or_create(config: Config, root: Path, connection: duckdb.DuckDBPyConnection, files: list[Path]) -> Lake:
    folder = lake_folder(root)
    if (folder / "events").exists():
        return Lake.open(folder)
    rows = sum(parquet_rows(connection, f) if format_of(f) == "parquet" else f.stat().st_size // 100 for f in files)
    return Lake.create(folder, config.lake.buckets or max(1, -(-rows // config.lake.rows_per_bucket)))


def _ingest_file(
    config: Config,
    root: Path,
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    source: SourceConfig,
    file: Path,
    now: datetime,
) -> tuple[Counts, Counter[str]]:
    raw = _open(connection, file, source)
    query = mapped_query(
        connection, raw, Columns(source.table, source.columns, source.where), source, config.shop, now=now
    )
    run = uuid.uuid4().hex
    folder = root / ".ebbtide" / "staging" / run
    staging = Staging(folder, lake.bucket_count)
    counts = stage_rows(connection, query, staging, source.table, 0)
    accepted = duplicates = 0
    written: list[DataFile] = []
    for bucket in staging.buckets():
        rows = with_event_ids(connection, staging.read_bucket(bucket), source.name)
        fresh = _new_rows(lake, bucket, rows)
        accepted, duplicates = accepted + fresh.height, duplicates + rows.height - fresh.height
        if fresh.height:
            written.append(_write(lake, bucket, run, fresh))
    shutil.rmtree(folder)
    if written:
        lake.append(written, transactions=[f"{source.name}:{fingerprint(file)}"], notes={"source": source.name})
    quarantined = sum(counts.reasons.values())
    return Counts(counts.read, accepted, quarantined, counts.filtered, duplicates), counts.reasons


def _open(connection: duckdb.DuckDBPyConnection, file: Path, source: SourceConfig) -> RawTable:
    if format_of(file) == "parquet":
        return open_parquet(connection, file)
    return open_csv(connection, file, read_head(file), source)


def _new_rows(lake: Lake, bucket: int, rows: pl.DataFrame) -> pl.DataFrame:
    if "copy" in rows.columns:
        rows = rows.unique(["user_id", "occurred_at", "copy"], keep="first", maintain_order=True)
    rows = rows.unique("event_id", keep="first", maintain_order=True)
    known = lake.read_bucket(bucket, ["event_id"])
    return rows.join(known, on="event_id", how="anti")


def _write(lake: Lake, bucket: int, run: str, rows: pl.DataFrame) -> DataFile:
    missing = [pl.lit(None, t).alias(n) for n, t in EVENT_COLUMNS.items() if n not in rows.columns]
    frame = rows.with_columns(*missing).select(list(EVENT_COLUMNS)).sort(ORDER)
    target = lake.data_path(bucket, run)
    frame.write_parquet(target, compression="zstd", compression_level=1)
    times = frame["occurred_at"].cast(pl.Int64)
    path = str(target.relative_to(lake.folder / "events"))
    return DataFile(path, bucket, frame.height, int(times.min()), int(times.max()))  # type: ignore[arg-type]
