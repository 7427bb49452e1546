"""Vectors that the shop has already: the `vector` column as it stands."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from ebbtide.core.errors import DataError
from ebbtide.sequences.items.encoder import Encoded, placed, unknown

_FILE = "ready.json"


@dataclass(frozen=True)
class ReadyEncoder:
    """Ready vectors of length `dims`, 0 before `fit`."""

    name: ClassVar[str] = "vector"
    column: ClassVar[str] = "vector"
    dims: int = 0

    def fit(self, items: pl.DataFrame, seed: int) -> Self:
        """Take the length of the vectors. Raises DataError if there are none, or of several lengths."""
        lengths = _read(items["vector"].drop_nulls().unique()).list.len().value_counts(sort=True)
        if len(lengths) != 1:
            raise DataError(
                "the vectors of the items must have one length; found: {lengths}. Map one embedding to `vector` in the "
                "items source",
                "商品向量必须长度一致；现有：{lengths}。请在商品来源中把同一种嵌入映射到 `vector`",
                lengths=", ".join(f"{count:,} × {length}" for length, count in lengths.iter_rows()) or "0",
            )
        return type(self)(int(lengths[0, 0]))

    def encode(self, items: pl.DataFrame) -> Encoded:
        """Unknown: no vector, or one of another length."""
        texts = items["vector"].drop_nulls().unique().sort()
        lists = _read(texts)
        fits = (lists.list.len() == self.dims).to_numpy()
        vectors = unknown(len(texts), self.dims)
        vectors[fits] = (
            lists.filter(pl.Series(fits)).to_frame("v").explode("v").to_series().to_numpy().reshape(-1, self.dims)
        )
        found = placed(vectors, texts, items["vector"])
        empty = items["vector"].null_count()
        return Encoded(found, +Counter(empty=empty, other_length=int(np.isnan(found[:, 0]).sum()) - empty))

    def save(self, folder: Path) -> None:
        """Write `ready.json`."""
        (folder / _FILE).write_text(json.dumps({"dims": self.dims}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**json.loads((folder / _FILE).read_text(encoding="utf-8")))


def _read(texts: pl.Series) -> pl.Series:
    """JSON lists as lists of float32; validated when they were ingested."""
    return texts.str.json_decode(pl.List(pl.Float32))
