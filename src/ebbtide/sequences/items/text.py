"""Texts by hashed n-grams: weighted by how rare they are (TF-IDF), projected on the main directions (SVD).

Needs no download and no word list, and reads Chinese as well as English. Latent semantic analysis: Deerwester et al.,
"Indexing by latent semantic analysis", JASIS 1990.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd

from ebbtide.core.errors import DataError
from ebbtide.core.ngrams import hashed_ngrams
from ebbtide.sequences.items.encoder import Encoded, placed, unknown

_LEAST_TEXTS = 2
"""An n-gram of one text only says nothing of what texts share."""
_MOST_NGRAMS = 20_000
_CHUNK = 20_000
_FILE = "text.npz"


@dataclass(frozen=True)
class TextEncoder:
    """Item texts in `dims` numbers, or fewer if the texts differ in fewer.

    kept (K,): the n-grams that count, ascending hashes; rarity (K,): their weight, log((1 + texts) / (1 + texts with
    it)) + 1; axes (D, K): the directions. Empty before `fit`.
    """

    name: ClassVar[str] = "text"
    column: ClassVar[str] = "text"
    dims: int = 64
    kept: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rarity: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    axes: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def fit(self, items: pl.DataFrame, seed: int) -> Self:
        """Learn from the distinct texts of the items."""
        texts = items["text"].drop_nulls().unique().sort()
        if not len(texts):
            raise DataError(
                "no item has a text yet: map a column to `text` in the items source, or choose another items.encoder",
                "还没有商品带有文本：请在商品来源中把一列映射到 `text`，或选择其他 items.encoder",
            )
        counts = hashed_ngrams(texts)
        having = np.asarray((counts > 0).sum(axis=0)).ravel()
        least = min(_LEAST_TEXTS, len(texts))
        kept = np.sort(np.argsort(-having, kind="stable")[: min(_MOST_NGRAMS, int((having >= least).sum()))])
        rarity = (np.log((1 + len(texts)) / (1 + having[kept])) + 1).astype(np.float32)
        fitted = replace(self, kept=kept, rarity=rarity)
        weighted = fitted._weighted(texts)
        most = min(self.dims, *weighted.shape)
        _, _, axes = randomized_svd(weighted, n_components=most, random_state=seed)
        return replace(fitted, axes=np.ascontiguousarray(axes, np.float32))

    def encode(self, items: pl.DataFrame) -> Encoded:
        """Unknown: no text, or one that shares no n-gram with those of training."""
        texts = items["text"].drop_nulls().unique().sort()
        vectors = unknown(len(texts), len(self.axes))
        for start in range(0, len(texts), _CHUNK):
            weighted = self._weighted(texts[start : start + _CHUNK])
            told = np.diff(weighted.indptr) > 0
            vectors[start : start + _CHUNK][told] = (weighted @ self.axes.T)[told]
        found = placed(vectors, texts, items["text"])
        empty = items["text"].null_count()
        strange = int(np.isnan(found).any(axis=1).sum()) - empty
        return Encoded(found, +Counter(empty=empty, unreadable=strange))

    def save(self, folder: Path) -> None:
        """Write `text.npz`."""
        np.savez_compressed(folder / _FILE, dims=self.dims, kept=self.kept, rarity=self.rarity, axes=self.axes)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / _FILE, allow_pickle=False) as arrays:
            return cls(int(arrays["dims"]), arrays["kept"], arrays["rarity"], arrays["axes"])

    def _weighted(self, texts: pl.Series) -> csr_matrix:
        """(N, K), rows of length 1, or 0 where no n-gram counts."""
        counts = csr_matrix(hashed_ngrams(texts)[:, self.kept])
        counts.data = np.log1p(counts.data) * self.rarity[counts.indices]
        return csr_matrix(normalize(counts, copy=False))
