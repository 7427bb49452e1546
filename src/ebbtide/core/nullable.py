"""NumPy arrays as table columns: what is not known becomes null, without a query for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

_TIME = pa.timestamp("us", tz="UTC")


def nullable(values: NDArray[Any], known: NDArray[np.bool_] | None = None) -> pl.Series:
    """A column; null where not `known` and where NaN or NaT. Times (datetime64) are UTC.

    >>> nullable(np.array([1.5, np.nan])).to_list(), nullable(np.array([1, 2]), np.array([False, True])).to_list()
    ([1.5, None], [None, 2])
    """
    return pl.Series(_arrow(values, known))


def table_of(columns: Mapping[str, NDArray[Any] | pl.Series]) -> pl.DataFrame:
    """A frame of such columns, and of those that are series already."""
    arrays = {name: c.to_arrow() if isinstance(c, pl.Series) else _arrow(c) for name, c in columns.items()}
    found = pl.from_arrow(pa.table(arrays))
    assert isinstance(found, pl.DataFrame)
    return found


def _arrow(values: NDArray[Any], known: NDArray[np.bool_] | None = None) -> pa.Array:
    kind = _TIME if values.dtype.kind == "M" else None
    return pa.array(values, type=kind, mask=None if known is None else ~known, from_pandas=True)
