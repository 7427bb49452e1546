"""Past exposures with what came of them, for Thompson sampling: the context as it was known at the exposure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl

from ebbtide.actions.contacts import UNTREATED
from ebbtide.actions.thompson import History, context_of
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.windows import DAY_US, to_us

HISTORY_COLUMNS = {
    "action": pl.String(),
    "kept": pl.Float64(),
    "outcome_days": pl.Float64(),
    "days_since": pl.Float64(),
}


def outcomes_of_exposures(
    known: pl.DataFrame, exposures: pl.DataFrame, definition: ChurnDefinition, as_of: datetime
) -> pl.DataFrame:
    """One row for each exposure whose outcome window `(at + gap, at + gap + horizon]` had closed at `as_of`.

    `kept`: whether there was an outcome event in the window. The context counts outcome events that had occurred and
    were known at the exposure. Out: action (lower-case `nothing` for control), kept, outcome_days, days_since.
    """
    gap = to_us(as_of) - definition.horizon_us - definition.gap_us
    at = pl.col("occurred_at").dt.epoch("us")
    closed = exposures.filter((at <= gap) & (pl.col("ingested_at") <= as_of) & pl.col("action").is_not_null())
    asked = closed.select("user_id", "action", exposed=at).with_row_index("row")
    outcome = known.filter(definition.is_outcome()).select("user_id", at=at, told=pl.col("ingested_at").dt.epoch("us"))
    both = asked.join(outcome, on="user_id", how="left")
    start = pl.col("exposed") + definition.gap_us
    after = (pl.col("at") > start) & (pl.col("at") <= start + definition.horizon_us)
    before = (pl.col("at") <= pl.col("exposed")) & (pl.col("told") <= pl.col("exposed"))
    counted = both.group_by("row").agg(
        kept=after.any().fill_null(False).cast(pl.Float64),
        outcome_days=(pl.col("at") // DAY_US).filter(before).n_unique().cast(pl.Float64),
        last=pl.col("at").filter(before).max(),
    )
    untreated = pl.col("action").str.to_lowercase().is_in(UNTREATED)
    return asked.join(counted, on="row", maintain_order="left").select(
        pl.when(untreated).then(pl.lit("nothing")).otherwise("action").alias("action"),
        "kept",
        "outcome_days",
        ((pl.col("exposed") - pl.col("last")) / DAY_US).alias("days_since"),
    )


def history_of(rows: pl.DataFrame, names: Sequence[str]) -> History:
    """The rows of the declared actions and of control, as arrays."""
    codes = {"nothing": 0, **{name: place + 1 for place, name in enumerate(names)}}
    kept = rows.filter(pl.col("action").is_in(list(codes)))
    numbers = [kept[c].fill_null(float("nan")).to_numpy() for c in ("outcome_days", "days_since")]
    action = kept["action"].replace_strict(codes, return_dtype=pl.Int64).to_numpy()
    return History(context_of(*numbers), action.astype(np.int64), kept["kept"].to_numpy())
