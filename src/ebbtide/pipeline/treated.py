"""Rows whose outcome an action may have changed: who was treated inside the outcome window.

A risk means what happens if nothing is done. A treated customer who stayed says less about that, and who was treated is
no accident once plans follow the risk. So training can leave such rows out, and figures are told for the untreated.
Exposures are looked at to mark rows only; they are never a feature.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.action_settings import NOTHING
from ebbtide.core.errors import DataError
from ebbtide.events.lake import Lake


@dataclass
class Treatments:
    """The exposures to real actions that were known at one moment; counts the rows that `without` left out."""

    shown: pl.DataFrame
    definition: ChurnDefinition
    left_out: int = 0

    @classmethod
    def known_at(cls, lake: Lake, definition: ChurnDefinition, until: datetime) -> Treatments:
        """Read them from the lake; an exposure without `ingested_at` was known when it happened."""
        exposures = lake.read_table("exposures")
        known = pl.coalesce("ingested_at", "occurred_at") <= until
        real = (pl.col("occurred_at") <= until) & known & (pl.col("action") != NOTHING)
        return cls(exposures.filter(real).select("user_id", treated_at="occurred_at").unique(), definition)

    def __bool__(self) -> bool:
        return self.shown.height > 0

    def marked(self, cohorts: pl.DataFrame) -> pl.DataFrame:
        """The cohort rows, in their order, with `treated`: an action fell into `(as_of, as_of + gap + horizon]`."""
        at, end = pl.col("treated_at"), pl.col("as_of") + pl.duration(microseconds=self.definition.closing_us)
        inside = (
            cohorts.select("user_id", "as_of")
            .join(self.shown, on="user_id")
            .filter((at > pl.col("as_of")) & (at <= end))
        )
        hit = inside.select("user_id", "as_of", treated=pl.lit(True)).unique()
        joined = cohorts.join(hit, on=["user_id", "as_of"], how="left", maintain_order="left")
        return joined.with_columns(pl.col("treated").fill_null(False))

    def without(self, parts: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The rows that no action touched, part by part; raises DataError at the end if none is left."""
        kept = 0
        for part in parts:
            untouched = self.marked(part).filter(~pl.col("treated")).drop("treated")
            self.left_out += part.height - untouched.height
            kept += untouched.height
            yield untouched
        if self.left_out and not kept:
            raise DataError(
                "every customer was treated inside the outcome window, so nothing is known of what happens without an "
                "action: set [train] treated to keep, and keep a control group from now on",
                "每位顾客在结果窗口内都被触达，无从得知不采取动作时的情况：请将 [train] treated 设为 keep，并从此保留对照组",
            )
