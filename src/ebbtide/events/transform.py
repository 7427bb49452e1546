"""One raw file through its mapping: canonical rows to the staging, counts of everything, positions of refused rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import duckdb
import polars as pl

from ebbtide.events.schema import TABLE_COLUMNS
from ebbtide.events.staging import Staging

CHUNK_ROWS = 500_000


@dataclass
class FileCounts:
    """What became of the rows of one file. `refused` holds row number (1 = first) and reason code."""

    read: int = 0
    filtered: int = 0
    staged: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    refused: list[pl.DataFrame] = field(default_factory=list)


def stage_rows(
    connection: duckdb.DuckDBPyConnection, query: str, staging: Staging, table: str, number: int
) -> FileCounts:
    """Run a mapping query and stage its good rows; `number` tells files of one unit apart."""
    counts = FileCounts()
    held: list[pl.DataFrame] = []
    for batch in connection.sql(query).to_arrow_reader(CHUNK_ROWS):
        frame = pl.from_arrow(batch)
        if not isinstance(frame, pl.DataFrame) or frame.is_empty():
            continue
        frame = frame.with_columns(pl.int_range(counts.read + 1, counts.read + 1 + pl.len()).alias("row"))
        counts.read += frame.height
        held.append(_keep(frame, counts, table, number))
        if sum(f.height for f in held) >= CHUNK_ROWS:
            staging.add(pl.concat(held))
            held.clear()
    if held:
        staging.add(pl.concat(held))
    return counts


def _keep(frame: pl.DataFrame, counts: FileCounts, table: str, number: int) -> pl.DataFrame:
    kept = frame.filter("kept")
    counts.filtered += frame.height - kept.height
    bad = kept.filter(pl.col("reason").is_not_null()).select("row", "reason")
    if bad.height:
        counts.refused.append(bad)
        counts.reasons.update(dict(bad["reason"].value_counts().iter_rows()))
    good = kept.filter(pl.col("reason").is_null()) if bad.height else kept
    counts.staged += good.height
    times = [n for n, t in TABLE_COLUMNS[table].items() if isinstance(t, pl.Datetime) and n in good.columns]
    return good.drop("kept", "reason").with_columns(
        *(pl.col(n).cast(pl.Datetime("us", "UTC")) for n in times), pl.lit(number, pl.Int32).alias("file")
    )
