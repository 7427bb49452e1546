"""Item vectors: what a shop's items look and read like, as numbers, at any moment.

An item may have several versions (rows of the items table), each from its `valid_from` on; a version of which the
encoder knows nothing changes nothing. The encoder is fitted on what was known at the end of training only.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.ids import hash_texts
from ebbtide.sequences.items.encoder import ItemEncoder, Vectors
from ebbtide.sequences.items.encoders import load_encoder

ALWAYS = np.iinfo(np.int64).min
"""The `valid_from` of a row that has none."""
_ARRAYS, _ABOUT, _ENCODER = "vectors.npz", "vectors.json", "encoder"


@dataclass(frozen=True)
class ItemVectors:
    """V versions of items, in the order (item, valid_from).

    item (V,) stable hashes (`core.ids.hash_texts`); valid_from (V,) UTC microseconds; vector (V, D), scaled by one
    number so that the mean square over the training items is 1; `problems` counts, by reason, the rows that gave no vector
    (`encoder.Encoded`).
    """

    encoder: ItemEncoder
    scale: float
    item: NDArray[np.uint64]
    valid_from: NDArray[np.int64]
    vector: Vectors
    problems: Counter[str]

    @classmethod
    def fit(cls, encoder: ItemEncoder, items: pl.DataFrame, until: datetime, *, seed: int) -> Self:
        """Fit the encoder on the rows of the items table that counted by `until`, and encode them.

        Raises DataError if they have nothing for this encoder.
        """
        known = known_items(items, until)
        fitted = encoder.fit(known, seed)
        vectors = fitted.encode(known).vectors
        square = float(np.nanmean(np.square(vectors, dtype=np.float64))) if np.isfinite(vectors).any() else 0.0
        return cls._encoded(fitted, 1 / np.sqrt(square) if square > 0 else 1.0, known)

    @classmethod
    def _encoded(cls, encoder: ItemEncoder, scale: float, known: pl.DataFrame) -> Self:
        vectors, problems = encoder.encode(known)
        item = hash_texts(known["item_id"])
        since = known["valid_from"].to_physical().fill_null(ALWAYS).to_numpy()
        told = np.flatnonzero(np.isfinite(vectors).all(axis=1))
        order = told[np.lexsort((since[told], item[told]))]
        kept = order[_changes(item[order], vectors[order])]
        return cls(encoder, scale, item[kept], since[kept], vectors[kept] * np.float32(scale), problems)

    @property
    def dims(self) -> int:
        """D, the length of a vector."""
        return int(self.vector.shape[1])

    def renewed(self, items: pl.DataFrame, until: datetime) -> Self:
        """The vectors of the rows that count by `until`, by the encoder as it was fitted: for scoring later, when there
        are new items and new versions."""
        return self._encoded(self.encoder, self.scale, known_items(items, until))

    def rows(self, items: NDArray[np.uint64], at_us: NDArray[np.int64] | int) -> NDArray[np.int32]:
        """The place in `vector` of each item's version in force at its moment, -1 where none is known by then.

        `items` are hashes of any shape, `at_us` moments that broadcast to it; hash 0 stands for no item.
        """
        return version_places(self.item, self.valid_from, items, at_us)

    def look_up(self, items: NDArray[np.uint64], at_us: NDArray[np.int64] | int) -> Vectors:
        """The vectors, (..., D); zeros where nothing is known (`rows` tells)."""
        row = self.rows(items, at_us)
        out = np.zeros((*items.shape, self.dims), np.float32)
        out[row >= 0] = self.vector[row[row >= 0]]
        return out

    def save(self, folder: Path) -> None:
        """Write `vectors.npz`, `vectors.json` and the folder `encoder`."""
        (folder / _ENCODER).mkdir()
        self.encoder.save(folder / _ENCODER)
        np.savez_compressed(folder / _ARRAYS, item=self.item, valid_from=self.valid_from, vector=self.vector)
        about = {"encoder": self.encoder.name, "scale": self.scale, "problems": dict(self.problems)}
        (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises MissingBundleError for an unknown encoder."""
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        encoder = load_encoder(about["encoder"], folder / _ENCODER)
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            return cls(encoder, about["scale"], **dict(arrays), problems=Counter(about["problems"]))


def version_places(
    item: NDArray[np.uint64],
    valid_from: NDArray[np.int64],
    asked: NDArray[np.uint64],
    at_us: NDArray[np.int64] | int,
) -> NDArray[np.int32]:
    """`ItemVectors.rows` by the hashes and moments of its versions alone."""
    at = np.ascontiguousarray(np.broadcast_to(np.asarray(at_us, np.int64), asked.shape)).ravel()
    flat = np.ascontiguousarray(asked).ravel()
    return np.asarray(_rows(item, valid_from, flat, at)).reshape(asked.shape)


def known_items(items: pl.DataFrame, until: datetime) -> pl.DataFrame:
    """The rows of the items table that counted by `until`, one for each item and `valid_from`; their order, and that of
    rows that contradict each other, does not matter."""
    known = items.filter(pl.col("valid_from").is_null() | (pl.col("valid_from") <= until))
    return known.sort(known.columns, nulls_last=False).unique(
        ["item_id", "valid_from"], keep="last", maintain_order=True
    )


def _changes(item: NDArray[np.uint64], vectors: Vectors) -> NDArray[np.bool_]:
    """Which versions, in order, are not just the one before them."""
    same = np.zeros(len(item), np.bool_)
    same[1:] = (item[1:] == item[:-1]) & (vectors[1:] == vectors[:-1]).all(axis=1)
    return ~same


@njit(cache=True, nogil=True)
def _rows(
    item: NDArray[np.uint64], since: NDArray[np.int64], asked: NDArray[np.uint64], at: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The last version in the order (item, since) that is not after (asked, at), if it is of the item asked for."""
    out = np.full(len(asked), -1, np.int32)
    for i in range(len(asked)):
        low, high = 0, len(item)
        while low < high:
            middle = (low + high) // 2
            if item[middle] < asked[i] or (item[middle] == asked[i] and since[middle] <= at[i]):
                low = middle + 1
            else:
                high = middle
        if asked[i] != 0 and low > 0 and item[low - 1] == asked[i]:
            out[i] = low - 1
    return out
