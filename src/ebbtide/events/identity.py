"""Which event is which: the dedupe key of design section 5.2.

`event_id` is the one given by the source, or the MD5 (as 32 hex digits) of source, user, time, type, item and order;
the second, third ... row of one file with the same key gets the suffix `-1`, `-2` .... So the same file twice adds
nothing, a grown file adds what is new, and a user's two equal clicks stay two.
"""

from __future__ import annotations

import duckdb
import polars as pl
import pyarrow as pa

_KEY = ("user_id", "occurred_at", "type", "item_id", "order_id")
_BETWEEN = "\x1f"


def with_event_ids(connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame, source: str) -> pl.DataFrame:
    """Rows of one bucket, in the order of their files, with `event_id` filled where it is null or absent.

    `file` tells the file of a row: ordinals are counted within it. `occurred_at` is UTC microseconds or a time.
    """
    given = rows["event_id"] if "event_id" in rows.columns else pl.Series("event_id", [None] * rows.height, pl.String)
    keys = rows.select(
        pl.concat_str(
            pl.lit(source),
            *(_key_text(rows, name) for name in _KEY),
            separator=_BETWEEN,
        ).alias("key")
    ).to_arrow(compat_level=pl.CompatLevel.oldest())
    made = _md5(connection, keys)
    if made.n_unique() < rows.height:
        numbered = pl.DataFrame({"id": made, "file": rows["file"]}).select(
            pl.when(pl.col("id").is_duplicated())
            .then(pl.int_range(pl.len()).over("file", "id"))
            .otherwise(0)
            .alias("ordinal"),
            "id",
        )
        suffix = pl.concat_str(pl.lit("-"), pl.col("ordinal").cast(pl.String))
        made = numbered.select(
            pl.concat_str("id", pl.when(pl.col("ordinal") > 0).then(suffix).otherwise(pl.lit(""))).alias("event_id")
        ).to_series()
    return rows.with_columns(pl.coalesce(given, made.alias("made")).alias("event_id"))


def _key_text(rows: pl.DataFrame, name: str) -> pl.Expr:
    if name not in rows.columns:
        return pl.lit("")
    if name == "occurred_at":
        return pl.col(name).cast(pl.Int64).cast(pl.String)
    return pl.col(name).fill_null("")


def _md5(connection: duckdb.DuckDBPyConnection, keys: pa.Table) -> pl.Series:
    found = pl.from_arrow(connection.sql("select md5(key) as event_id from keys").to_arrow_table())
    assert isinstance(found, pl.DataFrame)
    return found.to_series()
