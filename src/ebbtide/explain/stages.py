"""Lifecycle stages: where each known user stands at a moment. Every known user has exactly one.

With horizon and eligibility window from the churn definition, and outcome events known at as_of, the first rule that
holds decides:

    prospect   no outcome event yet
    lapsed     the last outcome event lies outside the eligibility window (as_of - eligible, as_of]
    new        the first outcome event lies within one horizon, (as_of - horizon, as_of]
    won_back   an outcome event within one horizon came after a silence as long as the eligibility window or longer
    at_risk    the band is high, or the silence is longer than `factor` times the user's own usual gap
    active     everybody else

Edges: an outcome event exactly `eligible` before as_of is outside, one exactly `horizon` before as_of too, because
windows are half-open. Where the horizon is longer than the eligibility window, lapsed goes before new. The usual gap is
the median between outcome days and needs two gaps; with fewer only the band can tell risk. Without a band (nobody
trained, or not eligible) only silence can.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.language import Text
from ebbtide.events.schema import TIME

BAND_WORDS: dict[str, Text] = {"high": Text("high", "高"), "medium": Text("medium", "中"), "low": Text("low", "低")}
STAGES: dict[str, Text] = {
    "prospect": Text("prospect", "潜在顾客"),
    "new": Text("new", "新顾客"),
    "active": Text("active", "活跃"),
    "at_risk": Text("at risk", "有流失风险"),
    "lapsed": Text("lapsed", "已流失"),
    "won_back": Text("won back", "已赢回"),
}
"""Code -> name, in the order in which a customer's life usually passes them."""

STAGE_RULES: dict[str, Text] = {
    "prospect": Text("known, but no {outcome} yet", "已知，但还没有{outcome}"),
    "new": Text("first {outcome} within the last {horizon}", "首次{outcome}在最近 {horizon}内"),
    "active": Text("none of the other rules holds", "不符合其他任何规则"),
    "at_risk": Text(
        "high band, or silent for longer than {factor:g} times the own usual gap",
        "高风险等级，或沉默超过自己通常间隔的 {factor:g} 倍",
    ),
    "lapsed": Text("no {outcome} in the last {eligible}", "最近 {eligible}内没有{outcome}"),
    "won_back": Text(
        "{outcome} within the last {horizon} after {eligible} or more without",
        "停止 {eligible}或更久之后，最近 {horizon}内又有{outcome}",
    ),
}


def stage_of(as_of: datetime, definition: ChurnDefinition, *, factor: float) -> pl.Expr:
    """The stage's code. Columns in: first_outcome_at, last_outcome_at, returned_at, days_since_outcome,
    usual_gap_days, band (null where there is none)."""
    now = pl.lit(as_of, TIME)
    recent = now - timedelta(microseconds=definition.horizon_us)
    eligible = now - timedelta(microseconds=definition.eligible_us)
    silent = pl.col("days_since_outcome") > factor * pl.col("usual_gap_days")
    return (
        pl.when(pl.col("last_outcome_at").is_null())
        .then(pl.lit("prospect"))
        .when(pl.col("last_outcome_at") <= eligible)
        .then(pl.lit("lapsed"))
        .when(pl.col("first_outcome_at") > recent)
        .then(pl.lit("new"))
        .when(pl.col("returned_at") > recent)
        .then(pl.lit("won_back"))
        .when((pl.col("band") == "high").fill_null(False) | silent.fill_null(False))
        .then(pl.lit("at_risk"))
        .otherwise(pl.lit("active"))
    )
