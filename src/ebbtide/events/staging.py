"""Rows on their way into the lake: kept on disk by bucket, so that a log of any size passes through a small memory.

A chunk is one Arrow file holding up to some hundred thousand canonical rows of one raw file, one record batch a
bucket. `read_bucket` puts a bucket together again, in the order of the file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from ebbtide.core.ids import buckets_of


class Staging:
    """Chunks of canonical rows under `folder`, split by the bucket of `user_id`. Columns may differ between chunks."""

    def __init__(self, folder: Path, bucket_count: int) -> None:
        self._folder = folder
        self._bucket_count = bucket_count
        self._chunks: list[tuple[Path, np.ndarray[tuple[int], np.dtype[np.int64]]]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, rows: pl.DataFrame) -> None:
        """Write rows as one chunk."""
        if rows.is_empty():
            return
        buckets = pl.Series("bucket", buckets_of(rows["user_id"], self._bucket_count))
        counts = np.bincount(buckets.to_numpy(), minlength=self._bucket_count)
        order = pl.Series(np.argsort(buckets.to_numpy().astype(np.uint16), kind="stable"))
        sorted_rows = rows.select(pl.all().gather(order)) if self._bucket_count > 1 else rows
        file = self._folder / f"{len(self._chunks):06d}.arrow"
        _write_batches(file, sorted_rows.to_arrow(compat_level=pl.CompatLevel.oldest()), counts)
        self._chunks.append((file, counts))

    def mark(self) -> int:
        """A point to go back to with `drop_after`."""
        return len(self._chunks)

    def drop_after(self, mark: int) -> None:
        """Forget the chunks added since `mark`."""
        for file, _ in self._chunks[mark:]:
            file.unlink()
        del self._chunks[mark:]

    def buckets(self) -> list[int]:
        """Buckets with rows, ascending."""
        total = sum((counts for _, counts in self._chunks), np.zeros(self._bucket_count, np.int64))
        return [int(b) for b in np.flatnonzero(total)]

    def read_bucket(self, bucket: int) -> pl.DataFrame:
        """All rows of a bucket, in the order in which they were added."""
        frames = []
        for file, counts in self._chunks:
            if counts[bucket]:
                position = int(np.count_nonzero(counts[:bucket]))
                with pa.memory_map(str(file)) as handle:
                    frames.append(pl.DataFrame(pa.ipc.open_file(handle).get_batch(position)))
        return pl.concat(frames, how="diagonal")


def _write_batches(file: Path, table: pa.Table, counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    whole = table.combine_chunks().to_batches()[0]
    start = 0
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for count in counts:
            if count:
                writer.write_batch(whole.slice(start, int(count)))
            start += int(count)
