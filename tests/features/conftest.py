"""A made-up log with everything that makes features hard: ties in time, orders of several lines, gaps in every column,
events known late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.windows import DAY_US
from ebbtide.events.schema import EVENT_COLUMNS, TIME
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.encode import EncodedShard, encode
from ebbtide.features.engine import compute
from ebbtide.features.feature import Feature

START_US = int(datetime(2023, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
TYPES = (
    "session_start", "page_view", "search", "product_view", "cart_add", "cart_remove", "wishlist_add",
    "checkout_start", "order", "order_cancel", "refund", "delivery", "coupon", "review", "support", "promo_view",
    "promo_click", "message",
)  # fmt: skip
TEXTS = ("love it", "not good, broken and late", "it is a mug", "质量很好", "太差了，不推荐", "great, great, great")
MakeLog = Callable[..., pl.DataFrame]
ComputeAll = Callable[..., NDArray[np.float32]]


@pytest.fixture
def definition() -> ChurnDefinition:
    """No order in the 30 days after."""
    return ChurnDefinition()


@pytest.fixture(scope="session")
def make_log() -> MakeLog:
    """`make_log(seed, events=..., users=..., days=..., late=share)` -> an event frame in random row order."""

    def make(seed: int, *, events: int = 1500, users: int = 12, days: int = 200, late: float = 0.0) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        # half-hours, so that many events tie and many fall on a window's edge
        half_hours = np.minimum(rng.integers(0, days * 48, events), rng.integers(0, days * 48, events))
        occurred = START_US + half_hours * (DAY_US // 48)
        kind = rng.choice(len(TYPES), events, p=_weights())
        is_late = rng.random(events) < late
        lag = np.where(is_late, rng.integers(0, 40 * 48, events) * (DAY_US // 48), 0)
        item = rng.integers(0, 15, events)
        maybe = _Maybe(rng, events)
        order = np.array(TYPES)[kind] == "order"
        frame = pl.DataFrame(
            {
                "event_id": [f"e{i:05d}" for i in rng.permutation(events)],
                "user_id": [f"u{i:02d}" for i in rng.integers(0, users, events)],
                "occurred_at": occurred,
                "ingested_at": occurred + lag,
                "type": np.array(TYPES)[kind],
                "session_id": maybe([f"s{i}" for i in half_hours // 3], 0.8),
                "order_id": maybe([f"o{i}" for i in half_hours // 2], 0.7, order),
                "item_id": maybe([f"i{i}" for i in item], 0.9),
                "category": maybe([f"c{i % 4}" for i in item], 0.8),
                "brand": maybe([f"b{i % 6}" for i in item], 0.7),
                "channel": maybe([("web", "app", "email")[i] for i in rng.integers(0, 3, events)], 0.9),
                "quantity": maybe(rng.integers(1, 4, events).astype(float), 0.9),
                "unit_price": maybe(np.round(rng.uniform(1, 50, events), 2), 0.8),
                "value": maybe(np.round(rng.normal(20, 15, events), 2), 0.8),
                "discount": maybe(np.where(rng.random(events) < 0.4, np.round(rng.uniform(0, 9, events), 2), 0.0), 0.7),
                "coupon": maybe(["SAVE"] * events, 0.3),
                "rating": maybe(rng.integers(1, 6, events).astype(float), 0.7),
                "properties": maybe([f'{{"days_late": {d}}}' for d in rng.integers(-3, 6, events)], 0.8),
            },
            strict=False,
        )
        spoken = np.isin(np.array(TYPES)[kind], ["review", "support", "message", "order"])
        said = maybe([TEXTS[i] for i in rng.integers(0, len(TEXTS), events)], 0.8, spoken)
        asked = maybe([("red mug", "cancel my order")[i] for i in rng.integers(0, 2, events)], 0.5)
        frame = frame.with_columns(text=said, query=asked)
        for name, dtype in EVENT_COLUMNS.items():
            if name not in frame.columns:
                frame = frame.with_columns(pl.lit(None, dtype).alias(name))
        return frame.select(pl.col(n).cast(TIME if n.endswith("_at") else t) for n, t in EVENT_COLUMNS.items())

    return make


class _Maybe:
    """Blanks out a random part of a column."""

    def __init__(self, rng: np.random.Generator, events: int) -> None:
        self._rng, self._events = rng, events

    def __call__(self, values: object, share: float, only: NDArray[np.bool_] | None = None) -> pl.Series:
        kept = self._rng.random(self._events) < share
        if only is not None:
            kept &= only
        return pl.select(pl.when(pl.Series(kept)).then(pl.Series(values))).to_series()


def _weights() -> NDArray[np.float64]:
    weights = np.where(np.isin(TYPES, ["order"]), 6.0, np.where(np.isin(TYPES, ["product_view", "search"]), 3.0, 1.0))
    return weights / weights.sum()


@pytest.fixture(scope="session")
def rows() -> Callable[[EncodedShard], tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Every user at four moments, one of them between half-hours, one before any event."""

    def make(shard: EncodedShard) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        moments = START_US + np.array([-1.0, 60, 121.01, 185]) * DAY_US
        at_user = np.repeat(np.arange(len(shard), dtype=np.int32), len(moments))
        return at_user, np.tile(moments.astype(np.int64), len(shard))

    return make


@pytest.fixture
def column(definition: ChurnDefinition) -> Callable[..., NDArray[np.float32]]:
    """`column(feature, events, as_of_us)` -> the feature of each user at one moment."""

    def make(feature: Feature, events: pl.DataFrame, as_of_us: int, **options: object) -> NDArray[np.float32]:
        shard = encode(events, definition)
        at_user = np.arange(len(shard), dtype=np.int32)
        moments = np.full(len(shard), as_of_us, np.int64)
        return compute(shard, at_user, moments, Catalogue((feature,), definition.outcome), **options)[:, 0]  # type: ignore[arg-type]

    return make
