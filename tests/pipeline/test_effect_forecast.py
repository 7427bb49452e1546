"""Forecasts of a campaign's customers: of what was known at the draw alone, and closer to what they do than a guess."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.pipeline.conftest import UNTIL, SmallShop

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.progress import silent
from ebbtide.pipeline.effect_forecast import FORECASTS, forecasts
from ebbtide.pipeline.outcomes import outcomes_of

DRAWN = UNTIL - timedelta(days=31)


class Until:
    """The shop's lake without what came after a moment."""

    def __init__(self, lake: Any) -> None:
        self._lake = lake

    def buckets(self) -> list[int]:
        return list(self._lake.buckets())

    def read_bucket(self, bucket: int, columns: Any = None) -> pl.DataFrame:
        shard: pl.DataFrame = self._lake.read_bucket(bucket, columns)
        return shard.filter((pl.col("occurred_at") <= DRAWN) & (pl.col("ingested_at") <= DRAWN))

    def read_table(self, name: str) -> pl.DataFrame:
        table: pl.DataFrame = self._lake.read_table(name)
        return table


class Changed(Until):
    """The shop's lake with columns of its events replaced."""

    def __init__(self, lake: Any, **columns: pl.Expr) -> None:
        super().__init__(lake)
        self._columns = columns

    def read_bucket(self, bucket: int, columns: Any = None) -> pl.DataFrame:
        shard = super().read_bucket(bucket, columns)
        return shard.with_columns(**{n: e for n, e in self._columns.items() if n in shard.columns})


@pytest.fixture(scope="module")
def drawn(small_shop: SmallShop) -> pl.DataFrame:
    lake = small_shop.lake
    ids = pl.concat(
        [lake.read_bucket(b).filter(pl.col("occurred_at") <= DRAWN)["user_id"].unique() for b in lake.buckets()]
    )
    return pl.DataFrame({"user_id": ids.sort(descending=True)}).select("user_id", at=pl.lit(DRAWN))


def told(shop: SmallShop, lake: Any, users: pl.DataFrame) -> pl.DataFrame:
    definition = ChurnDefinition.from_config(shop.config.churn)
    return forecasts(shop.config, shop.root, lake, definition, users, silent)


def test_nothing_after_the_draw_changes_a_forecast(small_shop: SmallShop, drawn: pl.DataFrame) -> None:
    lake = small_shop.lake
    assert told(small_shop, lake, drawn).equals(told(small_shop, Until(lake), drawn))


def test_forecasts_follow_what_customers_then_do(small_shop: SmallShop, drawn: pl.DataFrame) -> None:
    definition = ChurnDefinition.from_config(small_shop.config.churn)
    found = told(small_shop, small_shop.lake, drawn)
    assert found["user_id"].equals(drawn["user_id"])
    came = outcomes_of(small_shop.lake, drawn.with_columns(known_until=pl.lit(UNTIL)), definition)
    for column, name in FORECASTS.items():
        y, guess = came[name].cast(pl.Float64).to_numpy(), found[column].to_numpy()
        assert np.corrcoef(y, guess)[0, 1] > 0.3


def test_who_is_unknown_gets_a_forecast_too_and_a_young_log_gives_none(small_shop: SmallShop) -> None:
    stranger = pl.DataFrame({"user_id": ["nobody of this name"]}).with_columns(at=pl.lit(DRAWN))
    found = told(small_shop, small_shop.lake, stranger)
    assert found.select(pl.col(list(FORECASTS)).is_finite().all()).row(0) == (True, True)
    early = pl.lit(_first(small_shop) + timedelta(days=20))
    young = told(small_shop, small_shop.lake, stranger.with_columns(at=early))
    assert young.select(pl.col(list(FORECASTS)).is_null().all()).row(0) == (True, True)


def test_a_log_without_money_forecasts_orders_alone_and_one_without_outcomes_nothing(small_shop: SmallShop) -> None:
    lake, stranger = small_shop.lake, pl.DataFrame({"user_id": ["nobody"]}).with_columns(at=pl.lit(DRAWN))
    found = told(small_shop, Changed(lake, value=pl.lit(None, pl.Float64)), stranger)
    assert found["orders_forecast"].null_count() == 0
    assert found["value_forecast"].null_count() == 1
    silent_shop = told(small_shop, Changed(lake, type=pl.lit("page_view")), stranger)
    assert silent_shop.select(pl.col(list(FORECASTS)).is_null().all()).row(0) == (True, True)


def test_outcomes_of_one_customer_at_several_moments(small_shop: SmallShop, drawn: pl.DataFrame) -> None:
    definition = ChurnDefinition.from_config(small_shop.config.churn)
    before = drawn.with_columns(at=pl.lit(DRAWN - timedelta(days=31)))
    parts = [d.with_columns(known_until=pl.lit(UNTIL)) for d in (drawn, before)]
    both = outcomes_of(small_shop.lake, pl.concat(parts), definition)
    assert both.equals(pl.concat([outcomes_of(small_shop.lake, p, definition) for p in parts]))


def _first(shop: SmallShop) -> Any:
    return min(shop.lake.read_bucket(b)["occurred_at"].min() for b in shop.lake.buckets())  # type: ignore[type-var]
