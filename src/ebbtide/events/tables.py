"""The smaller tables of the lake: items, users, consents, exposures. A row that is there already is not added again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import TableNotFoundError

from ebbtide.events.lake import Lake
from ebbtide.events.schema import TABLE_COLUMNS


def append_rows(lake: Lake, name: str, rows: pl.DataFrame, keys: list[str]) -> pl.Series:
    """Add the rows that the table lacks, as one commit; says of each row whether it was added.

    Two rows are the same if all their columns are, nulls included.
    """
    schema = TABLE_COLUMNS[name]
    missing = [pl.lit(None, t).alias(n) for n, t in schema.items() if n not in rows.columns]
    wanted = rows.with_columns(missing).select([pl.col(n).cast(t) for n, t in schema.items()])
    numbered = wanted.with_row_index("place")
    known = lake.read_table(name)
    fresh = numbered.unique(list(schema), keep="first", maintain_order=True)
    fresh = fresh.join(known, on=list(schema), how="anti", nulls_equal=True, maintain_order="left")
    _commit(lake.folder / name, fresh.drop("place"), keys)
    return numbered["place"].is_in(fresh["place"].implode())


def is_committed(lake: Lake, name: str, key: str) -> bool:
    """Whether an append to the table was committed under the key."""
    try:
        return DeltaTable(str(lake.folder / name)).transaction_version(key) is not None
    except TableNotFoundError:
        return False


def _commit(folder: Path, rows: pl.DataFrame, keys: list[str]) -> None:
    properties = CommitProperties(
        custom_metadata={"ebbtide": json.dumps({"rows": rows.height})},
        app_transactions=[Transaction(key, 1, int(time.time() * 1000)) for key in keys],
    )
    write_deltalake(
        str(folder),
        rows.to_arrow(compat_level=pl.CompatLevel.oldest()),
        mode="append",
        schema_mode="merge",
        configuration={"delta.dataSkippingNumIndexedCols": "0"},
        commit_properties=properties,
    )
