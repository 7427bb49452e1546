"""What every item encoder is: a fitted thing that turns rows of the items table into vectors."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Encoded(NamedTuple):
    """vectors (I, D): NaN in the rows of items of which the encoder knows nothing. `problems`: why, counted: `empty`
    (the column is null), `unreadable`, `missing_file`, `broken_file`, `link`, `other_length`."""

    vectors: Vectors
    problems: Counter[str]


class ItemEncoder(Protocol):
    """A map from rows of the items table (`events.schema.ITEM_COLUMNS`) to vectors.

    `fit` learns from the rows given and returns the fitted encoder; `encode` gives a row the same vector in any
    company. The same rows in another order, and the same seed, give the same encoder. Saved as JSON, npz or
    safetensors in a folder of its own, never pickled.
    """

    name: ClassVar[str]
    column: ClassVar[str]
    """The column of the items table that it reads."""

    def fit(self, items: pl.DataFrame, seed: int) -> Self:
        """Learn from these items. Raises DataError if they have nothing to learn from."""
        ...

    def encode(self, items: pl.DataFrame) -> Encoded:
        """Their vectors, in their order."""
        ...

    def save(self, folder: Path) -> None:
        """Write files into the folder, which exists."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...


def unknown(rows: int, dims: int) -> Vectors:
    """The vectors of items of which nothing is known."""
    return np.full((rows, dims), np.nan, np.float32)


def placed(vectors: Vectors, distinct: pl.Series, asked: pl.Series) -> Vectors:
    """The vector of each asked value; `vectors` (K, D) are those of the `distinct` ones, NaN for null.

    Each text or picture that many rows share is so encoded once.
    """
    places = pl.DataFrame({"value": distinct, "place": np.arange(len(distinct), dtype=np.int64)})
    found = asked.to_frame("value").join(places, on="value", how="left", maintain_order="left")["place"]
    at = found.fill_null(-1).to_numpy()
    out = unknown(len(asked), vectors.shape[1])
    out[at >= 0] = vectors[at[at >= 0]]
    return out
