"""One raw file through its mapping: canonical rows to the staging, counts of everything, places of refused rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from ebbtide.events.schema import TABLE_COLUMNS


class ReadFailedError(Exception):
    """DuckDB could not read the file to its end; the message is DuckDB's and may hold values."""


CHUNK_ROWS = 250_000
"""Rows that are held in memory before they go to the staging."""


@dataclass
class FileOutcome:
    """What became of the rows of one file, before duplicates are known. `refused` are Parquet files with the columns
    `position` (0-based, in the order of the relation), `number` (of the row, null: as the position) and `reason`."""

    read: int = 0
    filtered: int = 0
    staged: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    refused: list[Path] = field(default_factory=list)
    currencies: set[str] = field(default_factory=set)

    def refuse(self, rows: pl.DataFrame, folder: Path) -> None:
        """Note rows that go to the quarantine: `position`, `number` and `reason` of each."""
        file = folder / f"refused-{len(self.refused)}.parquet"
        folder.mkdir(parents=True, exist_ok=True)
        rows.select(pl.col("position", "number").cast(pl.Int64), "reason").write_parquet(file)
        self.refused.append(file)
        self.reasons.update(dict(rows["reason"].value_counts().iter_rows()))


def transform_file(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    table: str,
    folder: Path,
    accept: Callable[[pl.DataFrame], None],
    report: Callable[[int], None],
) -> FileOutcome:
    """Run a mapping query; hand its good rows to `accept` in chunks, with their `position`; tell `report` rows read.

    Times come out as UTC moments. Raises ReadFailedError if the file does not read to its end.
    """
    outcome = FileOutcome()
    held: list[pl.DataFrame] = []
    height = 0
    for batch in _batches(connection, query):
        frame = pl.DataFrame(batch)
        if frame.is_empty():
            continue
        positions = pl.int_range(outcome.read, outcome.read + frame.height, eager=True).alias("position")
        outcome.read += frame.height
        good = _good_rows(frame.with_columns(positions), outcome, table, folder)
        held.append(good)
        height += good.height
        if height >= CHUNK_ROWS:
            accept(pl.concat(held))
            held, height = [], 0
            report(outcome.read)
    if height:
        accept(pl.concat(held))
    report(outcome.read)
    return outcome


def _batches(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    try:
        yield from connection.sql(query).to_arrow_reader(CHUNK_ROWS)
    except (duckdb.Error, pa.ArrowException, OSError) as fault:
        raise ReadFailedError(str(fault)) from fault


def _good_rows(frame: pl.DataFrame, outcome: FileOutcome, table: str, folder: Path) -> pl.DataFrame:
    kept = frame if frame["kept"].all() else frame.filter("kept")
    outcome.filtered += frame.height - kept.height
    if kept["reason"].null_count() < kept.height:
        number = pl.col("number") if "number" in kept.columns else pl.lit(None, pl.Int64).alias("number")
        outcome.refuse(kept.filter(pl.col("reason").is_not_null()).with_columns(number), folder)
        kept = kept.filter(pl.col("reason").is_null())
    outcome.staged += kept.height
    if "currency" in kept.columns:
        outcome.currencies.update(kept["currency"].drop_nulls().unique().to_list())
    schema = TABLE_COLUMNS[table]
    casts = [pl.col(n).cast(t) for n, t in schema.items() if n in kept.columns and kept.schema[n] != t]
    return kept.drop("kept", "reason").with_columns(casts)
