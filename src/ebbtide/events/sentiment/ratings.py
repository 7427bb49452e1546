"""Sentiment learnt from a shop's own rated reviews: the ratings say which n-grams please."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from ebbtide.core.ngrams import hashed_ngrams

GOOD, BAD = 4.0, 2.0
"""Ratings from 4 on praise, up to 2 they blame; what lies between says neither."""
_CHUNK = 20_000


@dataclass(frozen=True)
class RatedWords:
    """Logistic regression on hashed n-grams, both sides weighted alike: `weight` (HASHES,), `bias`.

    The score of a text is 2 p - 1, p the probability of praise: 0 is as likely blame as praise, however rare blame is.
    """

    weight: NDArray[np.float32]
    bias: float

    @classmethod
    def fit(cls, counts: csr_matrix, praises: NDArray[np.bool_]) -> Self:
        """Learn from `weighted_ngrams` (N, HASHES) of texts that praise or do not; both kinds must be there."""
        model = LogisticRegression(C=10.0, class_weight="balanced", solver="liblinear", random_state=0)
        model.fit(counts, praises)
        return cls(model.coef_[0].astype(np.float32), float(model.intercept_[0]))

    def score(self, texts: pl.Series) -> NDArray[np.float64]:
        """Of each text, (N,), from -1 to 1; NaN for null."""
        parts = [np.zeros(0)]
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            found = self.score_counts(weighted_ngrams(chunk))
            parts.append(np.where(chunk.is_null().to_numpy(), np.nan, found))
        return np.concatenate(parts)

    def score_counts(self, counts: csr_matrix) -> NDArray[np.float64]:
        """Of `weighted_ngrams` (N, HASHES): tanh(x / 2), which is 2 sigmoid(x) - 1."""
        return np.asarray(np.tanh((counts @ self.weight.astype(np.float64) + self.bias) / 2))


def weighted_ngrams(texts: pl.Series) -> csr_matrix:
    """(N, HASHES), log(1 + count), rows of length 1."""
    counts = hashed_ngrams(texts)
    counts.data = np.log1p(counts.data)
    return csr_matrix(normalize(counts, copy=False))
