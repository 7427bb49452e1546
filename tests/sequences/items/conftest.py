"""Small shops whose items have texts, pictures and vectors of known kinds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.sequences.items.made import CHINESE, KINDS, TEXTS, items_of, write_pictures


@pytest.fixture
def goods() -> pl.DataFrame:
    """15 items of three kinds (in `category`), with English texts and ready vectors of length 4."""
    rng = np.random.default_rng(0)
    kinds = [kind for kind in KINDS for _ in TEXTS[kind]]
    vectors = [json.dumps((np.eye(4)[KINDS.index(k)] + 0.1 * rng.normal(size=4)).tolist()) for k in kinds]
    return items_of(text=[t for k in KINDS for t in TEXTS[k]], vector=vectors, category=kinds)


@pytest.fixture
def chinese_goods(goods: pl.DataFrame) -> pl.DataFrame:
    return goods.with_columns(text=pl.Series([t for k in KINDS for t in CHINESE[k]]))


@pytest.fixture
def pictures(tmp_path: Path) -> pl.DataFrame:
    return write_pictures(tmp_path)
