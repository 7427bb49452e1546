"""The log as columns of numbers: codes instead of texts, -1 and NaN for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.events.schema import EVENT_TYPES

Columns = dict[str, NDArray[Any]]

KIND: dict[str, int] = {name: code for code, name in enumerate(EVENT_TYPES)}
DAY_SECONDS = 86_400
SECOND_US = 1_000_000

COLUMNS: dict[str, Any] = {
    "who": np.int32,  # position of the user in the chunk
    "kind": np.int8,
    "us": np.int64,
    "lag_us": np.int64,
    "visit": np.int32,
    "order": np.int32,
    "goods": np.int32,
    "category": np.int8,
    "quantity": np.float64,
    "unit_price": np.float64,
    "value": np.float64,
    "discount": np.float64,
    "coupon": np.int16,
    "campaign": np.int16,
    "channel": np.int8,
    "device": np.int8,
    "query": np.int16,
    "text": np.int16,
    "rating": np.float64,
    "note": np.int16,
}
"""Codes are positions in the lists of `settings`; `campaign` from NEWSLETTER on is a newsletter."""

NEWSLETTER = 1000


def stack(blocks: Sequence[Mapping[str, Any]]) -> Columns:
    """Put blocks of rows under each other. A block names the columns that it fills; one number fills a whole column.

    The length of a block is that of its `who`.
    """
    lengths = [len(block["who"]) for block in blocks]
    return {name: _column(name, kind, blocks, lengths) for name, kind in COLUMNS.items()}


def _column(name: str, kind: Any, blocks: Sequence[Mapping[str, Any]], lengths: Sequence[int]) -> NDArray[Any]:
    out = np.full(sum(lengths), np.nan if kind is np.float64 else -1, kind)
    start = 0
    for block, length in zip(blocks, lengths, strict=True):
        if name in block:
            out[start : start + length] = block[name]
        start += length
    return out
