"""Hashed n-grams of characters: texts of any language as sparse counts, with nothing to fit and nothing to store."""

from __future__ import annotations

import polars as pl
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer

HASHES = 1 << 18
_SHORTEST, _LONGEST = 2, 4


def hashed_ngrams(texts: pl.Series) -> csr_matrix:
    """Counts of the n-grams of two to four characters within words, lower case, (N, HASHES) float32.

    A word is set in blanks first, so that even one Chinese character makes n-grams. A null counts as the empty text.
    The hash is MurmurHash3 of the characters, the same on every machine.

    >>> counts = hashed_ngrams(pl.Series(["Mug", "mug", "杯", None]))
    >>> (counts[0] != counts[1]).nnz, counts[2].nnz > 0, counts[3].nnz
    (0, True, 0)
    """
    hasher = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=(_SHORTEST, _LONGEST),
        n_features=HASHES,
        norm=None,
        alternate_sign=False,
        dtype="float32",
    )
    return csr_matrix(hasher.transform(texts.fill_null("").to_list()))
