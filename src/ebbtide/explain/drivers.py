"""Facts that may go with churn, of cohort members at a past moment, from events known then.

Service facts speak of the latest chance within two horizons before the moment: was the latest delivery late, the latest
support contact left open, the latest rating low, the latest order refunded or cancelled? So whoever orders often is not
counted as badly served for having had more chances, and who has such a fact is compared with those who had the same
chance and better luck.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.language import Text
from ebbtide.explain.facts import note_of, user_facts
from ebbtide.features.encode import encode

WINDOW_HORIZONS = 2


@dataclass(frozen=True)
class DriverFact:
    """A yes-or-no fact. `column` holds it, null where there was no chance of it; `needs` an ability of the log."""

    text: Text
    needs: str = ""


SERVICE_FACTS: dict[str, DriverFact] = {
    "late_delivery": DriverFact(Text("latest delivery was late", "最近一次配送迟到"), "delays"),
    "unsolved_contact": DriverFact(
        Text("latest support contact was not resolved", "最近一次客服联系未解决"), "resolutions"
    ),
    "low_rating": DriverFact(Text("latest rating was 1 or 2", "最近一次评分为 1 或 2"), "ratings"),
    "refunded": DriverFact(Text("latest order was refunded", "最近一单被退款"), "refunds"),
    "cancelled": DriverFact(Text("latest order was cancelled", "最近一单被取消"), "cancellations"),
}
BEHAVIOUR_FACTS: dict[str, DriverFact] = {
    "one_time": DriverFact(Text("came on one day only", "只在一天来过")),
    "newcomer": DriverFact(Text("came first within one horizon", "首次到来在一个预测期内")),
    "longer_silent": DriverFact(Text("silent for twice the own usual gap", "沉默达自己通常间隔的两倍")),
    "not_seen": DriverFact(Text("no event of any kind within one horizon", "一个预测期内无任何事件")),
    "coupon_buyer": DriverFact(Text("half of the orders or more with a coupon", "半数以上订单用券"), "coupon_codes"),
    "small_orders": DriverFact(Text("orders in the lowest fifth of values", "每单金额处于最低五分之一"), "money"),
    "large_orders": DriverFact(Text("orders in the highest fifth of values", "每单金额处于最高五分之一"), "money"),
}
BEFORE = ("days_before", "silence_before", "age_before", "known_before", "spent_before")
"""What was known before the window of the service facts began, as logarithms: outcome days, days since the latest, days
since the first, whether there was any, money spent."""


def driver_facts(known: pl.DataFrame, as_of: datetime, definition: ChurnDefinition) -> pl.DataFrame:
    """The facts of the users of some events, all known at `as_of`; sorted by user_id.

    Out: user_id, the columns of `user_facts`, of `SERVICE_FACTS` (bool, null without a chance), `BEHAVIOUR_FACTS`
    except the fifths, and `BEFORE`.
    """
    begin = as_of - timedelta(days=WINDOW_HORIZONS * definition.horizon_days)
    recent = as_of - timedelta(days=definition.horizon_days)
    facts = user_facts(encode(known, definition), as_of, definition).with_columns(
        one_time=pl.col("outcome_days") == 1,
        newcomer=pl.col("first_outcome_at") > recent,
        longer_silent=(pl.col("days_since_outcome") > 2 * pl.col("usual_gap_days")).fill_null(False),
        not_seen=pl.col("last_seen_at") <= recent,
        coupon_buyer=pl.col("coupon_share") >= 0.5,
    )
    served = _service(known.filter(pl.col("occurred_at") > begin))
    earlier = _before(known.filter(pl.col("occurred_at") <= begin), begin, definition)
    joined = facts.join(served, on="user_id", how="left", maintain_order="left")
    return joined.join(earlier, on="user_id", how="left", maintain_order="left").with_columns(
        pl.col(BEFORE).fill_null(0.0)
    )


def with_fifths(cohort: pl.DataFrame) -> pl.DataFrame:
    """The cohort of one moment with the facts that compare its members: lowest and highest fifth of order values."""
    values = cohort["average_order_value"].drop_nulls().to_numpy()
    low, high = np.quantile(values, [0.2, 0.8]) if len(values) else (np.nan, np.nan)
    value = pl.col("average_order_value")
    return cohort.with_columns(small_orders=value <= low, large_orders=value >= high)


def before_matrix(cohort: pl.DataFrame) -> NDArray[np.float64]:
    """(N, 5), NaN-free: what to adjust for."""
    return cohort.select(BEFORE).to_numpy().astype(np.float64)


def _service(window: pl.DataFrame) -> pl.DataFrame:
    kind, at = pl.col("type"), pl.col("occurred_at")
    ordered = at.filter(kind == "order").last()
    rated = pl.col("rating").filter(kind.is_in(["review", "support"])).drop_nulls().last()

    return (
        window.sort("user_id", "occurred_at", "event_id")
        .group_by("user_id", maintain_order=True)
        .agg(
            late_delivery=note_of("days_late").filter(kind == "delivery").drop_nulls().last() > 0,
            unsolved_contact=note_of("resolved", pl.String).filter(kind == "support").drop_nulls().last() == "false",
            low_rating=rated <= 2,
            refunded=pl.when(ordered.is_not_null()).then(
                (at.filter(kind == "refund").last() >= ordered).fill_null(False)
            ),
            cancelled=pl.when(ordered.is_not_null()).then(
                (at.filter(kind == "order_cancel").last() >= ordered).fill_null(False)
            ),
        )
    )


def _before(known: pl.DataFrame, begin: datetime, definition: ChurnDefinition) -> pl.DataFrame:
    facts = user_facts(encode(known, definition), begin, definition)
    age = (pl.lit(begin) - pl.col("first_outcome_at")).dt.total_seconds() / 86_400
    return facts.select(
        "user_id",
        days_before=pl.col("outcome_days").fill_null(0).log1p(),
        silence_before=pl.col("days_since_outcome").fill_null(0.0).log1p(),
        age_before=age.fill_null(0.0).log1p(),
        known_before=pl.col("outcome_days").is_not_null().cast(pl.Float64),
        spent_before=pl.col("spent").fill_null(0.0).clip(lower_bound=0.0).log1p(),
    )
