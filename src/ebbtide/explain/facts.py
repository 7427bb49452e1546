"""Facts of each user: first and last orders, money, rhythm, what went wrong. One row a known user.

Order lines of one order count once; a line without an order id belongs to the order of its moment. "Outcome" is what
the churn definition asks about; orders are orders, whatever it asks about.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.windows import DAY_US
from ebbtide.events.schema import TIME

_LEAST_GAPS = 2
_LOW_RATING = 2.0
_OPINIONS = ("review", "support")


def user_facts(known: pl.DataFrame, as_of: datetime, definition: ChurnDefinition) -> pl.DataFrame:
    """The facts of the users of some events, all of them known at `as_of`; sorted by user_id.

    Out: user_id, then the columns of `profile_columns.PROFILE_COLUMNS` that speak of orders, outcome and service.
    Shares are null without an order; `usual_gap_days` is null with fewer than two gaps between outcome days.
    """
    ordered = known.sort("user_id", "occurred_at", "event_id")
    order, late = pl.col("type") == "order", (pl.col("type") == "delivery") & (note_of("days_late") > 0)
    order_key = pl.coalesce("order_id", pl.col("occurred_at").dt.epoch("us").cast(pl.String))
    counted = ordered.group_by("user_id", maintain_order=True).agg(
        first_seen_at=pl.col("occurred_at").first(),
        last_seen_at=pl.col("occurred_at").last(),
        first_order_at=pl.col("occurred_at").filter(order).first(),
        last_order_at=pl.col("occurred_at").filter(order).last(),
        orders=order_key.filter(order).n_unique().cast(pl.Int64),
        spent=_total("value", order),
        coupon_orders=order_key.filter(order & pl.col("coupon").is_not_null()).n_unique().cast(pl.Int64),
        refunds=pl.coalesce("order_id", "event_id").filter(pl.col("type") == "refund").n_unique().cast(pl.Int64),
        cancelled_orders=_count(pl.col("type") == "order_cancel"),
        late_deliveries=_count(late),
        support_contacts=_count(pl.col("type") == "support"),
        unsolved_contacts=_count((pl.col("type") == "support") & (note_of("resolved", pl.String) == "false")),
        low_ratings=_count(pl.col("type").is_in(_OPINIONS) & (pl.col("rating") <= _LOW_RATING)),
        last_rating=pl.col("rating").filter(pl.col("type").is_in(_OPINIONS)).drop_nulls().last(),
    )
    shares = counted.with_columns(
        days_since_order=days_between("last_order_at", as_of),
        average_order_value=_per_order("spent"),
        coupon_share=_per_order("coupon_orders"),
        refund_share=_per_order("refunds"),
    ).drop("coupon_orders")
    return shares.join(_rhythm(ordered, as_of, definition), on="user_id", how="left", maintain_order="left")


def days_between(column: str, as_of: datetime) -> pl.Expr:
    """Days from a time to `as_of`; null where there is no time."""
    return (pl.lit(as_of, TIME) - pl.col(column)).dt.total_microseconds() / DAY_US


def _rhythm(ordered: pl.DataFrame, as_of: datetime, definition: ChurnDefinition) -> pl.DataFrame:
    """Outcome events: first, last, distinct UTC days, the usual gap between those days, and the latest return after a
    silence as long as the eligibility window."""
    outcome = ordered.filter(definition.is_outcome()).select("user_id", "occurred_at")
    at, day = pl.col("occurred_at"), pl.col("occurred_at").dt.epoch("us") // DAY_US
    gaps = day.unique(maintain_order=True).diff().drop_nulls()
    silent = at.diff().dt.total_microseconds() >= definition.eligible_us
    return (
        outcome.group_by("user_id", maintain_order=True)
        .agg(
            first_outcome_at=at.first(),
            last_outcome_at=at.last(),
            outcome_days=day.n_unique().cast(pl.Int64),
            usual_gap_days=pl.when(gaps.len() >= _LEAST_GAPS).then(gaps.median()),
            returned_at=at.filter(silent.fill_null(False)).last(),
        )
        .with_columns(days_since_outcome=days_between("last_outcome_at", as_of))
    )


def _count(which: pl.Expr) -> pl.Expr:
    return which.fill_null(False).sum().cast(pl.Int64)


def _total(column: str, which: pl.Expr) -> pl.Expr:
    """The sum, null where no such row has a value."""
    own = pl.col(column).filter(which)
    return pl.when(own.count() > 0).then(own.sum())


def _per_order(column: str) -> pl.Expr:
    return pl.when(pl.col("orders") > 0).then(pl.col(column) / pl.col("orders"))


def note_of(name: str, dtype: type[pl.DataType] = pl.Float64) -> pl.Expr:
    """A field of `properties`, read only where deliveries and support contacts carry it."""
    text = pl.when(pl.col("type").is_in(["delivery", "support"])).then(pl.col("properties"))
    return text.str.json_path_match(f"$.{name}").cast(dtype, strict=False)
