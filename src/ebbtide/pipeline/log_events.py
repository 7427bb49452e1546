"""A log as it was lived: its canonical events in the order in which they became known, to be sent anew."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from ebbtide.core.config import Config
from ebbtide.core.progress import Progress, silent
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.pipeline.ingest import ingest

_CHUNK_ROWS = 10_000
_ISO = "%Y-%m-%dT%H:%M:%S%.6fZ"


class EventLog:
    """The events of a lake by `ingested_at`, then `event_id`: the same order at each reading."""

    def __init__(self, lake: Lake, memory_limit: str) -> None:
        files = [lake.events_folder / file.path for bucket in lake.buckets() for file in lake.files(bucket)]
        self._files, self._memory = [str(file) for file in files], memory_limit
        self.rows = sum(file.rows for bucket in lake.buckets() for file in lake.files(bucket))
        self.fingerprint = lake.fingerprint()

    def chunks(self, skip: int = 0) -> Iterator[pl.DataFrame]:
        """The events behind the first `skip`, a few thousand at a time; sorting spills to disk where memory is short."""
        if skip >= self.rows:
            return
        with tempfile.TemporaryDirectory(prefix="ebbtide-replay-") as folder, duckdb.connect() as connection:
            for name, value in (("memory_limit", self._memory), ("temp_directory", folder), ("TimeZone", "UTC")):
                connection.execute(f"set {name}='{value}'").fetchall()
            columns = ", ".join(f'"{name}"' for name in EVENT_COLUMNS)
            wanted = connection.sql(
                f"select {columns} from read_parquet($files, hive_partitioning = false)"
                " order by ingested_at, event_id offset $skip",
                params={"files": self._files, "skip": skip},
            )
            for batch in wanted.to_arrow_reader(_CHUNK_ROWS):
                yield pl.DataFrame(batch)


@contextmanager
def open_log(
    config: Config, files: Sequence[Path], *, source: str | None = None, progress: Progress = silent,
    now: datetime | None = None,
) -> Iterator[EventLog]:  # fmt: skip
    """The events of raw files by the mapping of a workspace, whose lake stays as it is. Raises as `ingest`."""
    with tempfile.TemporaryDirectory(prefix="ebbtide-replay-") as folder:
        root = Path(folder)
        ingest(config, root, [file.resolve() for file in files], source=source, progress=progress, now=now)
        yield EventLog(Lake.open(lake_folder(root)), config.lake.memory_limit)


def log_of_workspace(config: Config, root: Path) -> EventLog:
    """The events that a workspace has ingested. Raises MissingError if it has none."""
    return EventLog(Lake.open(lake_folder(root)), config.lake.memory_limit)


def as_sent(events: pl.DataFrame) -> list[dict[str, object]]:
    """Events as the API and the stream take them: no nulls, times as ISO texts, no `ingested_at`."""
    told = events.drop("ingested_at").with_columns(pl.col("occurred_at").dt.strftime(_ISO))
    return [{k: v for k, v in row.items() if v is not None} for row in told.iter_rows(named=True)]
