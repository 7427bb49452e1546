"""What each customer of a campaign would have ordered and spent without it: forecast from what was known at the draw.

The covariates of CUPAC. Trees learn orders and money of the outcome window from the shop's own past moments, all of
which had closed before the draw, and forecast them from the columns of that moment. Arms and outcomes of the campaign
have no part in it, so the expected difference between the arms stays what it is.
Source: Tang, Huang, Kastelman, Bauman 2020 (CUPAC).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from ebbtide.actions.boosters import TreeSizes, boost
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError
from ebbtide.core.ids import hash_texts
from ebbtide.core.progress import Progress
from ebbtide.core.windows import from_us
from ebbtide.events.lake import Lake
from ebbtide.events.schema import TIME
from ebbtide.models.base import Matrix, Vector
from ebbtide.pipeline.dataset import collect, label, sample_cohorts, survey
from ebbtide.pipeline.outcomes import outcomes_of
from ebbtide.pipeline.rehearsal import training_moments
from ebbtide.pipeline.train import shop_catalogue

FORECASTS = {"orders_forecast": "orders", "value_forecast": "value"}
"""Column, and the outcome that it forecasts."""
_MOMENTS = 6
_LEAST_ROWS, _MOST_ROWS = 200, 100_000
_SIZES = TreeSizes(rounds=200, seeds=1)


def forecasts(
    config: Config, root: Path, lake: Lake, definition: ChurnDefinition, drawn: pl.DataFrame, progress: Progress
) -> pl.DataFrame:
    """In: user_id (each once), at. Out, in that order: user_id and the columns `FORECASTS`, null where the log cannot tell:
    in one without money, with fewer than 200 past rows, or with nothing of the outcome kind before the draw.

    Everything is known at the first draw of the campaign.
    """
    until = drawn["at"].min()
    nothing = drawn.select("user_id", *(pl.lit(None, pl.Float64).alias(c) for c in FORECASTS))
    if drawn.is_empty():
        return nothing
    try:
        seen = survey(lake, definition, until, progress)  # type: ignore[arg-type]
    except DataError:  # nobody had done anything of the outcome kind: there is no past to learn from
        return nothing
    moments = training_moments(seen.first_outcome_us, seen.until_us, definition, _MOMENTS)
    if not moments:
        return nothing
    known = from_us(seen.until_us)
    labelled = label(lake, definition, moments, known, progress)
    past, _ = sample_cohorts(labelled, _MOST_ROWS, config.train.seed)
    if past.height < _LEAST_ROWS:
        return nothing
    asked = past.select("user_id", at="as_of", known_until=pl.lit(known, TIME))
    outcomes = _in_row_order(outcomes_of(lake, asked, definition, progress))
    now = _in_row_order(drawn.select("user_id", "at"))
    rows = [
        collect(
            lake, definition, shop_catalogue(config, root, definition, seen), _as_cohort(part), seen.items, progress
        )
        for part in (outcomes, now)
    ]
    told = {
        column: _forecast(rows[0].X, outcomes[name].cast(pl.Float64), rows[1].X, config.train.seed)
        for column, name in FORECASTS.items()
    }
    columns = [pl.lit(None, pl.Float64).alias(c) if v is None else pl.lit(pl.Series(c, v)) for c, v in told.items()]
    found = now.select("user_id").with_columns(*columns)
    return drawn.select("user_id").join(found, on="user_id", how="left", maintain_order="left")


def _forecast(X: Matrix, y: pl.Series, asked: Matrix, seed: int) -> Vector | None:
    if y.null_count() or y.n_unique() < 2:
        return None
    return boost(X, y.to_numpy(), sizes=_SIZES, seed=seed, binary=False).predict(asked)


def _in_row_order(users: pl.DataFrame) -> pl.DataFrame:
    """By moment, then user, as `collect` orders its rows."""
    return users[np.lexsort((hash_texts(users["user_id"]), users["at"].dt.epoch("us").to_numpy()))]


def _as_cohort(users: pl.DataFrame) -> pl.DataFrame:
    return users.select("user_id", as_of="at", churned=pl.lit(False), stayed_at=pl.lit(None, TIME))
