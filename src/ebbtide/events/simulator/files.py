"""The simulated log as the files that a shop would hand over: with late rows, copies and, if wanted, dirt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from ebbtide.core.ids import hash_texts
from ebbtide.events.schema import EVENT_COLUMNS, TABLE_COLUMNS, TIME
from ebbtide.events.simulator.settings import SimulationConfig

FAULTS = 5
ACTIONS_TOML = """\
[[action]]
name = "message"
kind = "message"
channel = "email"
contact_cost = 0.05
assumed_effect = 0.02
consent = "marketing"

[[action]]
name = "coupon"
kind = "coupon"
channel = "email"
contact_cost = 0.05
value = 5.0
acceptance = 0.2
assumed_effect = 0.10
consent = "marketing"
cooldown = "7d"

[[action]]
name = "call"
kind = "call"
channel = "phone"
contact_cost = 4.0
assumed_effect = 0.20
who = "value_at_risk >= 20"
capacity = 50
quiet = "20:00-09:00"
deadline = { high = "2d" }
"""
"""The arms of the simulated campaigns as actions; the effects are a shop's guesses, not the simulator's truth."""


@dataclass(frozen=True)
class SimulationFiles:
    """What was written. `rows` counts event rows, copies and dirt included; truth lies apart, in `truth/`."""

    events: tuple[Path, ...]
    items: Path
    users: Path
    consents: Path
    exposures: Path
    truth: Path
    workspace_file: Path
    rows: int
    copies: int
    faults: int


class GrowingTables:
    """Parquet files that grow by a part at a time, so that memory is that of one part. Use it as a context."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths, self._writers = dict(paths), dict[str, pq.ParquetWriter]()

    def add(self, parts: Mapping[str, pl.DataFrame]) -> None:
        """Write the next part of each table."""
        for name, part in parts.items():
            table = part.to_arrow()
            if name not in self._writers:
                self._writers[name] = pq.ParquetWriter(self._paths[name], table.schema, compression="zstd")
            self._writers[name].write_table(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()


def raw_events(events: pl.DataFrame, config: SimulationConfig) -> tuple[pl.DataFrame, int, int]:
    """The export of a chunk: its events, a share of exact copies, a share of unusable rows; and how many of each.

    Which rows are copied or spoilt depends on their event_id alone.
    """
    luck = pl.Series(hash_texts(events["event_id"], seed=config.seed + 7).astype(np.float64) / 2.0**64)
    copies = events.filter(luck < config.duplicates)
    spoilt = events.filter((luck >= config.duplicates) & (luck < config.duplicates + config.dirt))
    dirt = _spoil(spoilt)
    return pl.concat([events, copies, dirt]).sort("occurred_at", nulls_last=True), copies.height, dirt.height


def _spoil(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that no shop could use: without user or time, from the future, with a negative price, in Monopoly money."""
    number = pl.int_range(pl.len()) % FAULTS
    return rows.with_columns(
        (pl.col("event_id") + "-x").alias("event_id"),
        pl.when(number != 0).then(pl.col("user_id")).alias("user_id"),
        pl.when(number == 1)
        .then(pl.lit(None, TIME))
        .when(number == 2)
        .then(pl.col("occurred_at").dt.offset_by("75y"))
        .otherwise(pl.col("occurred_at"))
        .alias("occurred_at"),
        pl.when(number == 3).then(-9.99).otherwise(pl.col("unit_price")).alias("unit_price"),
        pl.when(number == 4).then(pl.lit("MONOPOLY")).otherwise(pl.col("currency")).alias("currency"),
    ).select(EVENT_COLUMNS.keys())


def workspace_text(config: SimulationConfig) -> str:
    """The `ebbtide.toml` that reads the written files."""
    parts = [
        f'[shop]\nname = "Simulated shop"\ncurrency = "{config.currency}"\ntimezone = "UTC"\n',
        *(_source(table) for table in TABLE_COLUMNS),
        f'[churn]\noutcome = "order"\nhorizon = "30d"\neligible = "order in {config.eligible_days}d"\n',
        ACTIONS_TOML,
    ]
    return "\n".join(parts)


def _source(table: str) -> str:
    pattern = "events-*.parquet" if table == "events" else f"{table}.parquet"
    copies = "drop_exact_duplicates = true\n" if table == "events" else ""
    columns = "\n".join(f'{name} = "{name}"' for name in TABLE_COLUMNS[table])
    return f'[[source]]\ntable = "{table}"\npath = "data/{pattern}"\n{copies}[source.columns]\n{columns}\n'
