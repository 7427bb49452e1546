"""Which event is which, and which of them are new: the dedupe key of the event contract.

`event_id` is the one given by the source, or the MD5 (32 hex digits) of source, user, time, type, item and order; the
second, third ... row of one file with the same key gets the suffix `-1`, `-2` .... So the same file twice adds
nothing, a grown file adds what is new, and a user's two equal clicks stay two.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl

from ebbtide.core.windows import DAY_US
from ebbtide.events.lake import Lake

_KEY = ("user_id", "occurred_at", "type", "item_id", "order_id")
_BETWEEN = "\x1f"
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Arrivals:
    """The rows of one bucket, parted: new events, repeated ones, and those whose id belongs to another event."""

    new: pl.DataFrame
    repeated: pl.DataFrame
    conflicting: pl.DataFrame


def find_arrivals(
    connection: duckdb.DuckDBPyConnection, lake: Lake, bucket: int, rows: pl.DataFrame, source: str
) -> Arrivals:
    """Give the rows of a bucket their ids and part them by what the lake already holds.

    `rows` come in the order of their files and carry `file`. With a column `copy` (hash of the raw row), later copies
    of a row are repeated ones. With a column `_quarantine_id`, the row replaces a quarantined one: it is new even if
    an event with the same key, but another row of the file, is in the lake already.
    """
    copies = rows.clear()
    if "copy" in rows.columns:
        first = rows.select(pl.struct("user_id", "occurred_at", "copy").is_first_distinct()).to_series()
        rows, copies = rows.filter(first), rows.filter(~first)
    known = _known(lake, bucket, rows)
    made = with_event_ids(connection, rows, source, known["event_id"])
    is_first = _firsts(made["event_id"])
    is_known = made["event_id"].is_in(known["event_id"].implode()) if known.height else ~is_first & is_first
    conflicts = _conflicts(made, known) if "event_id" in rows.columns else ~is_first & is_first
    repeated = (is_known | ~is_first) & ~conflicts
    return Arrivals(
        made.filter(~repeated & ~conflicts),
        pl.concat([made.filter(repeated).select("file"), copies.select("file")]),
        made.filter(conflicts),
    )


def with_event_ids(
    connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame, source: str, taken: pl.Series
) -> pl.DataFrame:
    """The rows with `event_id` filled where it is null or absent. `taken`: ids in the lake, for corrected rows."""
    parts = [pl.lit(source), *(_key_text(rows, name) for name in _KEY)]
    keys = rows.select(pl.concat_str(parts, separator=_BETWEEN).alias("key"))
    made = _md5(connection, keys)
    ordinals = _ordinals(made, rows, taken)
    if ordinals is not None:
        suffix = pl.when(ordinals > 0).then(pl.concat_str(pl.lit("-"), ordinals)).otherwise(pl.lit(""))
        made = pl.select(pl.concat_str(made, suffix)).to_series()
    given = pl.col("event_id") if "event_id" in rows.columns else pl.lit(None, pl.String)
    return rows.with_columns(pl.coalesce(given, made).alias("event_id"))


def _ordinals(made: pl.Series, rows: pl.DataFrame, taken: pl.Series) -> pl.Series | None:
    """Position of each row among those of its file with the same key; None if all are 0.

    A corrected row counts from the number of events with its key that the lake holds.
    """
    corrected = "_quarantine_id" in rows.columns and rows["_quarantine_id"].null_count() < rows.height
    if are_distinct(made) and not corrected:
        return None
    frame = pl.DataFrame({"id": made, "file": rows["file"]})
    ordinal = pl.int_range(pl.len()).over("file", "id")
    counted = frame.with_columns(pl.when(pl.col("id").is_duplicated()).then(ordinal).otherwise(0).alias("n"))
    if corrected:
        counts = taken.str.slice(0, 32).value_counts(name="held").rename({taken.name: "id"})
        held = frame.with_columns(fixed=rows["_quarantine_id"].is_not_null()).join(
            counts, on="id", how="left", maintain_order="left"
        )
        extra = held.select(pl.when("fixed").then(pl.col("held").fill_null(0)).otherwise(0)).to_series()
        counted = counted.with_columns(pl.col("n") + extra.cast(pl.Int64))
    return counted["n"]


def are_distinct(digests: pl.Series) -> bool:
    """Whether texts of 32 hex digits are all different; once in ages False although they are.

    Compares the first 16 digits as whole numbers, which is several times as fast as comparing texts.
    """
    array = digests.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, _, data = array.buffers()
    if data is None or array.offset or data.size != 32 * len(array):
        return digests.n_unique() == len(digests)
    halves = np.frombuffer(data, np.uint64).reshape(-1, 4)
    return pl.Series(halves[:, 0] * _MIX ^ halves[:, 1]).n_unique() == len(digests)


def _firsts(ids: pl.Series) -> pl.Series:
    return pl.repeat(True, len(ids), eager=True) if are_distinct(ids) else ids.is_first_distinct()


def _known(lake: Lake, bucket: int, rows: pl.DataFrame) -> pl.DataFrame:
    """The events of the lake that the rows could repeat: with ids of the source any, else those of the same time."""
    if "event_id" in rows.columns:
        return lake.read_span(bucket, -(1 << 62), 1 << 62, ["event_id", "user_id", "occurred_at"])
    times = rows["occurred_at"].dt.timestamp("us")
    first, last = times.min(), times.max()
    return lake.read_span(bucket, int(first or 0), int(last or 0), ["event_id"])  # type: ignore[arg-type]


def _conflicts(made: pl.DataFrame, known: pl.DataFrame) -> pl.Series:
    """Rows whose id belongs to an event of another user, or of another time (a day apart: zones may have changed)."""
    here = made.select("event_id", "user_id", "occurred_at")
    owners = pl.concat([known, here.filter(here["event_id"].is_first_distinct())]).unique(
        "event_id", keep="first", maintain_order=True
    )
    joined = here.join(owners, on="event_id", how="left", maintain_order="left", suffix="_owner")
    apart = (pl.col("occurred_at") - pl.col("occurred_at_owner")).dt.total_microseconds().abs() > DAY_US
    return joined.select(((pl.col("user_id") != pl.col("user_id_owner")) | apart).fill_null(False)).to_series()


def _key_text(rows: pl.DataFrame, name: str) -> pl.Expr:
    if name not in rows.columns:
        return pl.lit("")
    if name == "occurred_at":
        return pl.col(name).dt.timestamp("us").cast(pl.String)
    return pl.col(name).fill_null("")


def _md5(connection: duckdb.DuckDBPyConnection, frame: pl.DataFrame) -> pl.Series:
    keys = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    connection.register("ebbtide_keys", keys)
    try:
        found = connection.sql("select md5(key) as event_id from ebbtide_keys").to_arrow_table()
    finally:
        connection.unregister("ebbtide_keys")
    return pl.DataFrame(found).to_series()
