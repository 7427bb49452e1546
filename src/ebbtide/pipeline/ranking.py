"""The ranked list: scored shards of any number, put in the order of risk.

Up to `AT_ONCE` rows stay in memory. A longer list is sorted on disk: the rows that came first give the edges of ranges
of probability, each range gathers its rows in files of its own, and in the end each range is sorted by itself. Memory
is that of one shard and one range, however many users there are, as long as not too many share one probability.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ebbtide.models.base import Vector

AT_ONCE = 40_000
RANGES = 64
_PREFIX = "ranking-"
_FORGET_AFTER_SECONDS = 86_400
_ORDER = ("user_id", "as_of", "churn_probability", "percentile", "band", "reasons", "expected_orders", "value_at_risk", "model")  # fmt: skip


class _Scratch:
    """A folder that is removed when nobody holds this object any more."""

    def __init__(self, home: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=home))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(frozen=True)
class RankedList:
    """Scored users, most at risk first: one frame, or files that follow one another.

    `value_at_risk` is their sum, None where it is unknown for everybody; `mean_probability` is None for nobody.
    """

    pieces: tuple[pl.DataFrame | Path, ...]
    users: int
    bands: dict[str, int]
    mean_probability: float | None
    value_at_risk: float | None
    scratch: _Scratch | None = None

    def scan(self) -> pl.LazyFrame:
        """The list, to be read piece by piece."""
        return pl.concat([p.lazy() if isinstance(p, pl.DataFrame) else pl.scan_parquet(p) for p in self.pieces])

    def frame(self) -> pl.DataFrame:
        """The whole list in memory."""
        return pl.concat(list(self._read()), rechunk=True)

    def head(self, count: int) -> pl.DataFrame:
        """The first `count` users."""
        found: list[pl.DataFrame] = []
        for piece in self._read():
            found.append(piece.head(count - sum(map(len, found))))
            if sum(map(len, found)) >= count:
                break
        return pl.concat(found)

    def _read(self) -> Iterator[pl.DataFrame]:
        for piece in self.pieces:
            yield piece if isinstance(piece, pl.DataFrame) else pl.read_parquet(piece)


class Ranking:
    """Gathers scored shards (the columns of `score_shard`); `finish` puts them in order. Scratch files lie in `home`."""

    def __init__(self, home: Path, at_once: int = AT_ONCE) -> None:
        self._home, self._at_once = home, at_once
        self._waiting: list[pl.DataFrame] = []
        self._scratch: _Scratch | None = None
        self._edges: Vector = np.empty(0)
        self._sizes: Counter[int] = Counter()
        self._spills = 0
        self._bands: Counter[str] = Counter()
        self._sums: list[tuple[int, float, int, float]] = []

    def add(self, scored: pl.DataFrame) -> None:
        """Take a shard's rows; each user once."""
        self._bands.update(dict(scored["band"].value_counts().iter_rows()))
        worth = scored["value_at_risk"]
        known = len(worth) - worth.null_count()
        self._sums.append((len(scored), float(scored["churn_probability"].sum()), known, float(worth.sum())))
        self._waiting.append(scored)
        if sum(map(len, self._waiting)) > self._at_once:
            self._spill()

    def finish(self) -> RankedList:
        """The list in order. At least one shard must have been added, be it empty."""
        users, total, known, worth = (sum(column) for column in zip(*self._sums, strict=True))
        return RankedList(
            pieces=self._pieces(int(users)),
            users=int(users),
            bands=dict(self._bands),
            mean_probability=total / users if users else None,
            value_at_risk=worth if known else None,
            scratch=self._scratch,
        )

    def _pieces(self, users: int) -> tuple[pl.DataFrame | Path, ...]:
        if self._scratch is None:
            return (rank(pl.concat(self._waiting)),)
        if self._waiting:
            self._spill()
        below, files = users, []
        for part in sorted(self._sizes, reverse=True):
            below -= self._sizes[part]
            spilt = sorted(self._scratch.folder.glob(f"{part}-*.parquet"))
            files.append(self._scratch.folder / f"ranked-{part}.parquet")
            rank(pl.read_parquet(spilt), below=below, users=users).write_parquet(files[-1])
            for file in spilt:
                file.unlink()
        return tuple(files)

    def _spill(self) -> None:
        """Write what waits to the files of its ranges; the first time decides the ranges."""
        rows, self._waiting = pl.concat(self._waiting), []
        p = rows["churn_probability"].to_numpy()
        if self._scratch is None:
            _forget_killed(self._home)
            self._scratch = _Scratch(self._home)
            self._edges = np.unique(np.quantile(p, np.linspace(0, 1, RANGES + 1)[1:-1]))
        place = pl.Series(np.searchsorted(self._edges, p, side="right"))
        for part in place.unique():
            own = rows.filter(place == part)
            own.write_parquet(self._scratch.folder / f"{part}-{self._spills:06}.parquet")
            self._sizes[part] += len(own)
        self._spills += 1


def rank(scored: pl.DataFrame, *, below: int = 0, users: int | None = None) -> pl.DataFrame:
    """Most at risk first, with the percentile: the share of the cohort at the same or a lower probability, in %.

    `scored` may be a part of a cohort of `users`, `below` of whom have a lower probability than anybody here.
    """
    place = scored["churn_probability"].rank("max").to_numpy() + below
    # in NumPy: Polars divides by multiplying with the reciprocal, and the top would be at 99.99999999999999
    percentile = pl.Series(100.0 * place / max(len(scored) if users is None else users, 1), dtype=pl.Float64)
    ordered = scored.with_columns(percentile=percentile).select(_ORDER)
    return ordered.sort(["churn_probability", "user_id"], descending=[True, False])


def _forget_killed(home: Path) -> None:
    """Remove what rankings that were killed have left behind."""
    for folder in home.glob(f"{_PREFIX}*"):
        if folder.stat().st_mtime < time.time() - _FORGET_AFTER_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
