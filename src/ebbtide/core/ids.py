"""Stable hashes: the same text gives the same number on every machine and in every version.

The hash is 64-bit FNV-1a over the UTF-8 bytes (Fowler, Noll, Vo), finished with the mixer of MurmurHash3 so that
low bits are as good as high ones. It spreads users over buckets and samples; it protects nothing.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

_OFFSET = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)


@njit(cache=True)
def _hash_spans(offsets: NDArray[np.int64], data: NDArray[np.uint8], seed: np.uint64) -> NDArray[np.uint64]:
    out = np.empty(len(offsets) - 1, np.uint64)
    for i in range(len(out)):
        h = _OFFSET ^ seed
        for j in range(offsets[i], offsets[i + 1]):
            h = (h ^ np.uint64(data[j])) * _PRIME
        h = (h ^ (h >> _SHIFT)) * _MIX_1
        h = (h ^ (h >> _SHIFT)) * _MIX_2
        out[i] = h ^ (h >> _SHIFT)
    return out


def hash_texts(texts: pl.Series, *, seed: int = 0) -> NDArray[np.uint64]:
    """Hash a column of strings, (N,) -> (N,) unsigned 64-bit. A null hashes like the empty string.

    >>> hash_texts(pl.Series(["a", "b", "a"])).tolist()[0] == hash_texts(pl.Series(["a"])).tolist()[0]
    True
    """
    if texts.dtype != pl.String:
        texts = texts.cast(pl.String)
    array = (texts.fill_null("") if texts.null_count() else texts).to_arrow().cast(pa.large_string())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    _, offsets, data = array.buffers()
    spans = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    chars = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return np.asarray(_hash_spans(spans, chars, np.uint64(seed)))


def buckets_of(user_ids: pl.Series, bucket_count: int) -> NDArray[np.int32]:
    """The lake bucket of each user, in `[0, bucket_count)`."""
    return (hash_texts(user_ids) % np.uint64(bucket_count)).astype(np.int32)


def sampled_users(user_ids: pl.Series, share: float, *, seed: int) -> NDArray[np.bool_]:
    """Which users belong to a stable random sample of about `share` of all; independent of row order."""
    ceiling = np.uint64(min(int(share * 2.0**64), 2**64 - 1))
    return np.asarray(_luck(user_ids, seed) <= ceiling)


def share_that_fits(user_ids: pl.Series, most: int, *, seed: int) -> float:
    """The largest share whose `sampled_users` are at most `most` of these rows; 1.0 if all are."""
    if len(user_ids) <= most:
        return 1.0
    first_left_out = np.partition(_luck(user_ids, seed), most)[most]
    return float(np.nextafter(float(first_left_out) / 2.0**64, 0.0))


def _luck(user_ids: pl.Series, seed: int) -> NDArray[np.uint64]:
    return hash_texts(user_ids, seed=seed + 1)
