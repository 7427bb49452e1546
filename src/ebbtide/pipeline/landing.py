"""Landing: accepted events go from the inbox into the lake, each exactly once, whatever is killed when.

The lake itself says how far it has come: the number of the last landed event is part of the commit that holds it.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ebbtide.core.ids import buckets_of
from ebbtide.core.settings import LakeConfig
from ebbtide.events.data_files import write_data_file
from ebbtide.events.lake import Lake, lake_folder, landing_key
from ebbtide.events.live_event import event_frame
from ebbtide.events.surroundings import one_writer, steady_disk
from ebbtide.store.inbox import Inbox

COMPACT_AT = 24
"""Data files of a bucket that are joined into one."""
_DEFAULT_BUCKETS = 16


@dataclass(frozen=True)
class Landed:
    """`rows` events were added; `repeated` were in the lake already; the inbox has been landed up to number `up_to`."""

    rows: int
    repeated: int
    up_to: int


def open_lake(root: Path, config: LakeConfig) -> Lake:
    """The lake of a workspace; an empty one is made where nothing was ingested yet."""
    folder = lake_folder(root)
    if (folder / "events" / "_delta_log").exists():
        return Lake.open(folder)
    with one_writer(folder.parent):
        return Lake.create(folder, config.buckets or _DEFAULT_BUCKETS)


def land(inbox: Inbox, shop_id: str, root: Path, config: LakeConfig, *, limit: int = 200_000) -> Landed:
    """Move the next events of a shop into its lake, at most `limit`, as one commit.

    Raises RetryError if another process writes to the workspace, or the disk refuses; then nothing was moved.
    """
    open_lake(root, config)
    with one_writer(root / ".ebbtide"), steady_disk():
        lake = Lake.open(lake_folder(root))
        start = lake.position(landing_key(shop_id))
        up_to, frames = start, list[pl.DataFrame]()
        for part in inbox.parts(shop_id, start, limit):
            frames.append(event_frame([event.fields for event in part]))
            up_to = part[-1].seq
        if not frames:
            return Landed(0, 0, start)
        frame = pl.concat(frames)
        run, files, added = f"live{uuid.uuid4().hex[:12]}", [], 0
        buckets = pl.Series("bucket", buckets_of(frame["user_id"], lake.bucket_count))
        for bucket in buckets.unique().sort():
            rows = frame.filter(buckets == bucket)
            new = _first_of_each(rows.filter(~_is_known(lake, bucket, rows)))
            if new.height:
                files.append(write_data_file(lake.events_folder, bucket, run, new))
                added += new.height
        lake.append(files, positions={landing_key(shop_id): up_to}, notes={"landed": added})
        _compact(lake)
    return Landed(added, frame.height - added, up_to)


def _is_known(lake: Lake, bucket: int, rows: pl.DataFrame) -> pl.Series:
    """Which rows the bucket holds already: they came with a file, too."""
    known = lake.read_span(bucket, -(1 << 62), 1 << 62, ["event_id"])["event_id"]
    return rows["event_id"].is_in(known.implode())


def _first_of_each(rows: pl.DataFrame) -> pl.DataFrame:
    """Each event once: the inbox recognises repeats, but only of its newest millions, and the lake holds what is true."""
    return rows.unique("event_id", keep="first", maintain_order=True)


def _compact(lake: Lake) -> None:
    for bucket in lake.buckets():
        if len(lake.files(bucket)) >= COMPACT_AT:
            lake.compact(bucket, f"compacted{time.time_ns():x}")
