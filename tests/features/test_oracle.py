"""Every kind of feature, recomputed by plain SQL over the events known at each row's moment."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.windows import DAY_US
from ebbtide.events.sentiment.scorer import SHIPPED_SENTIMENT
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.declarations import (
    KINDS,
    ActiveBlocks,
    ActiveDays,
    Calendar,
    Count,
    Decayed,
    DiscountShare,
    Distinct,
    Entropy,
    FavouriteShare,
    Feature,
    Followed,
    Gap,
    GapQuantile,
    LagBlock,
    LastTone,
    LastValue,
    Lifetime,
    Mean,
    Novelty,
    OrderTrait,
    PerOrder,
    Rate,
    Ratio,
    Recency,
    RefundShare,
    Share,
    Shift,
    Sum,
    Tenure,
    Tone,
    Trend,
    VisitTrait,
)
from ebbtide.features.encode import encode
from ebbtide.features.engine import compute

# In the SQL below, k holds the events known at the row's moment: age (us), day, price, days_late, okey (the order of a
# line), and one row of nulls where there is none.
D = DAY_US
ORDERS_30 = f"count(distinct okey) filter (type = 'order' and age < {30 * D})"
ORDERS_ALL = "count(distinct okey) filter (type = 'order')"
VIEWS = f"count(*) filter (type = 'product_view' and age < {45 * D})"


def gaps_of(kind: str) -> str:
    """Sorted distinct days, then the differences: `gaps`, in time order; `silence` in days; per row."""
    return f"""(select i, list_transform(range(1, len(d)), lambda j: d[j + 1] - d[j]) as gaps, silence, d from (
        select i, list_sort(list_distinct(list(day))) as d, min(age) / {D}.0 as silence
        from k where type = '{kind}' group by i))"""


def from_gaps(expression: str, kind: str = "order") -> str:
    """SQL of a whole query over the gaps of a type; rows without an event are left out (NaN)."""
    return f"select i, case when len(gaps) > 0 then ({expression})::double end from {gaps_of(kind)}"


ORDERS_ONE_BY_ONE = """(select i, okey, min(occurred_at) as began, min(event_id) as e, sum(value) as v, count(*) as lines,
    coalesce(sum(discount), 0) as discount, bool_or(coupon is not null) as coupon
    from k where type = 'order' group by i, okey)"""


def from_orders(expression: str) -> str:
    """SQL over a user's orders, oldest first: lists v (known values), began, lines."""
    return f"""select i, ({expression})::double from (select i,
        list(v order by began, e) filter (v is not null) as v, list(v order by began, e) as all_v, list(began order by began, e) as began,
        list(lines order by began, e) as lines, list(discount order by began, e) as discount, list(coupon order by began, e) as c
        from {ORDERS_ONE_BY_ONE} group by i)"""


ON_SITE = """('session_start', 'page_view', 'search', 'list_view', 'product_view', 'cart_add', 'cart_remove',
    'cart_view', 'wishlist_add', 'wishlist_remove', 'checkout_start', 'checkout_step', 'order')"""
# events without a session id start a visit after a pause of more than half an hour among themselves
VISITS = f"""(select i, visit, count(*) as events, min(age) as age, (max(epoch_us(occurred_at)) - min(epoch_us(occurred_at)))
    / 60e6 as minutes from (select *, case when session_id is not null then session_id else 'gap' ||
        sum(case when pause > 1800000000 then 1 else 0 end) over (partition by i, session_id order by occurred_at, event_id)
    end as visit from (select *, epoch_us(occurred_at) - lag(epoch_us(occurred_at)) over
        (partition by i, session_id order by occurred_at, event_id) as pause from k where type in {ON_SITE}))
    group by i, visit)"""

TONES = "list(sentiment order by occurred_at, event_id) filter (sentiment is not null)"
CASES: list[tuple[Feature, str]] = [
    # aggregate over k, or a whole query
    (Count("order", 30), ORDERS_30),
    (Count("outcome", 30), ORDERS_30),
    (Count("order"), ORDERS_ALL),
    (Count("search", 7), f"count(*) filter (type = 'search' and age < {7 * D})"),
    (Count("any", 0.5), f"count(*) filter (type is not null and age < {D // 2})"),
    (Count("search+order", 90), f"count(distinct okey) filter (type = 'order' and age < {90 * D}) + count(*) filter (type = 'search' and age < {90 * D})"),
    (Count("delivery.late", 60), f"count(*) filter (type = 'delivery' and days_late > 0 and age < {60 * D})"),
    (Count("review.low"), "count(*) filter (type = 'review' and rating <= 2)"),
    (Count("order.coupon", 90), f"count(distinct okey) filter (type = 'order' and coupon is not null and age < {90 * D})"),
    (Count("order.discounted", 90), f"count(distinct okey) filter (type = 'order' and discount > 0 and age < {90 * D})"),
    (Count("any.night", 90), f"count(*) filter (hour < 6 and age < {90 * D})"),
    (Count("any.evening"), "count(*) filter (hour >= 18)"),
    (Count("any.weekend", 90), f"count(*) filter (isodow(occurred_at) >= 6 and age < {90 * D})"),
    (ActiveDays("any", 30), f"count(distinct day) filter (age < {30 * D})"),
    (ActiveDays("order"), "count(distinct day) filter (type = 'order')"),
    (Sum("value", "order", 45), f"coalesce(sum(value) filter (type = 'order' and age < {45 * D}), 0)"),
    (Sum("value", "refund"), "coalesce(sum(value) filter (type = 'refund'), 0)"),
    (Mean("rating", "support", 100), f"avg(rating) filter (type = 'support' and age < {100 * D})"),
    (Mean("days_late", "delivery"), "avg(days_late) filter (type = 'delivery')"),
    (PerOrder("quantity", "order", 45), f"coalesce(sum(quantity) filter (type = 'order' and age < {45 * D}), 0) / nullif(count(distinct okey) filter (type = 'order' and age < {45 * D}), 0)"),
    (Distinct("product_view", "item_id", 45), f"count(distinct item_id) filter (type = 'product_view' and age < {45 * D})"),
    (Distinct("any", "category"), "count(distinct category)"),
    (Distinct("order", "weekday", 45), f"count(distinct isodow(occurred_at)) filter (type = 'order' and age < {45 * D})"),
    (Distinct("any", "hour", 45), f"count(distinct hour) filter (age < {45 * D})"),
    (Share("order", "product_view", 45), f"{ORDERS_30.replace(str(30 * D), str(45 * D))} / nullif({VIEWS}, 0)"),
    (Share("order.coupon", "order"), "count(distinct okey) filter (type = 'order' and coupon is not null) / nullif(count(distinct okey) filter (type = 'order'), 0)"),
    (DiscountShare("order", 90), f"coalesce(sum(discount) filter (type = 'order' and age < {90 * D}), 0) / nullif(greatest(coalesce(sum(value) filter (type = 'order' and age < {90 * D}), 0) + coalesce(sum(discount) filter (type = 'order' and age < {90 * D}), 0), 0), 0)"),
    (RefundShare(), "-coalesce(sum(value) filter (type = 'refund'), 0) / nullif(greatest(coalesce(sum(value) filter (type = 'order'), 0), 0), 0)"),
    (LagBlock("order", 0, 14), f"count(distinct okey) filter (type = 'order' and age < {14 * D})"),
    (LagBlock("search", 2, 14), f"count(*) filter (type = 'search' and age >= {28 * D} and age < {42 * D})"),
    (Rate("search"), f"count(*) filter (type = 'search') / (max(age) filter (type = 'search') / {30 * D}.0)"),
    (ActiveBlocks("order", 20), f"count(distinct age // {20 * D}) filter (type = 'order') / (max(age) filter (type = 'order') // {20 * D} + 1)"),
    (Recency("search"), f"min(age) filter (type = 'search') / {D}.0"),
    (Tenure("any"), f"max(age) / {D}.0"),
    (Trend(Count("search"), 30), f"(2 * count(*) filter (type = 'search' and age < {30 * D}) - count(*) filter (type = 'search' and age < {60 * D})) / nullif(count(*) filter (type = 'search' and age < {60 * D}), 0)"),
    (Ratio(Count("product_view"), Distinct("product_view", "session_id"), 45), f"{VIEWS} / nullif(count(distinct session_id) filter (type = 'product_view' and age < {45 * D}), 0)"),
    (Shift(Share("any.night", "any"), 30), f"count(*) filter (hour < 6 and age < {30 * D}) / nullif(count(*) filter (age < {30 * D}), 0) - count(*) filter (hour < 6) / nullif(count(*), 0)"),
    (Shift(Mean("unit_price", "product_view"), 30), f"avg(price) filter (type = 'product_view' and age < {30 * D}) / avg(price) filter (type = 'product_view')"),
    (Shift(Mean("rating", "review"), 60), f"avg(rating) filter (type = 'review' and age < {60 * D}) - avg(rating) filter (type = 'review')"),
    (LastValue("rating", "review"), "arg_max(rating, (occurred_at, event_id)) filter (type = 'review' and rating is not null)"),
    (Tone(60), f"avg(sentiment) filter (age < {60 * D})"),
    (Shift(Tone(), 60), f"avg(sentiment) filter (age < {60 * D}) - avg(sentiment)"),
    (LastTone(), f"list_last({TONES})"),
    (LastTone("mean", 3), f"list_avg({TONES}[-3:])"),
    (LastTone("lowest", 3), f"list_min({TONES}[-3:])"),
    (LastTone("lowest", 5), f"list_min({TONES}[-5:])"),
    (Decayed("search", 10), f"coalesce(sum(2 ** (-age / {10 * D}.0)) filter (type = 'search'), 0)"),
    (Decayed("order", 25, "value"), f"coalesce(sum(value * 2 ** (-age / {25 * D}.0)) filter (type = 'order'), 0)"),
    (Decayed("order", 25), f"select i, coalesce(sum(2 ** (-age / {25 * D}.0)), 0) from (select i, okey, max(age) as age from k where type = 'order' group by all) group by i"),
    (Novelty("order", "item_id", 60), f"select i, count(*) filter (first_age < {60 * D}) / nullif(count(*) filter (age < {60 * D}), 0) from (select i, item_id, min(age) as age, max(age) as first_age from k where type = 'order' and item_id is not null group by i, item_id) group by i"),
    (Mean("price_change", "order", 60), f"select i, avg(change) filter (age < {60 * D}) from (select i, age, ln(price / lag(price) over (partition by i, item_id order by occurred_at, event_id)) as change from k where type = 'order' and item_id is not null and price > 0) group by i"),
    (Followed("search", "order", 2, 90), f"select i, count(*) filter (followed) / count(*) from (select *, exists (select 1 from k o where o.i = s.i and o.type = 'order' and o.age < s.age and s.age - o.age <= {2 * D}) as followed from k s where type = 'search' and age < {90 * D}) group by i"),
    (Followed("any", "any", 1 / 48), f"select i, count(*) filter (followed) / count(*) from (select *, exists (select 1 from k o where o.i = s.i and o.age < s.age and s.age - o.age <= {D // 48}) as followed from k s where type is not null) group by i"),
    (Entropy("order", "category", 90), f"select i, -sum(n / total * ln(n / total)) from (select i, n, sum(n) over (partition by i) as total from (select i, category, count(*) as n from k where type = 'order' and age < {90 * D} and category is not null group by all)) group by i"),
    (FavouriteShare("any", "channel"), "select i, max(n) / sum(n) from (select i, channel, count(*) as n from k where channel is not null group by all) group by i"),
    (Lifetime("repeat_days"), "nullif(count(distinct day) filter (type = 'order'), 0) - 1"),
    (Lifetime("last_age_days"), "max(day) filter (type = 'order') - min(day) filter (type = 'order')"),
    (Lifetime("age_days"), f"any_value(as_of_us) / {D}.0 - min(day) filter (type = 'order')"),
    (GapQuantile("order", 0.25), from_gaps("list_aggregate(gaps, 'quantile_cont', 0.25)")),
    (GapQuantile("search", 0.9), from_gaps("list_aggregate(gaps, 'quantile_cont', 0.9)", "search")),
    (Gap("order", "mean"), from_gaps("list_avg(gaps)")),
    (Gap("order", "sd"), from_gaps("case when len(gaps) > 1 then list_stddev_pop(gaps) end")),
    (Gap("order", "variation"), from_gaps("case when len(gaps) > 1 then list_stddev_pop(gaps) / list_avg(gaps) end")),
    (Gap("order", "last"), from_gaps("gaps[-1]")),
    (Gap("order", "longest"), from_gaps("list_max(gaps)")),
    (Gap("order", "last_over_mean"), from_gaps("gaps[-1] / list_avg(gaps)")),
    (Gap("order", "recent_over_mean"), from_gaps("list_avg(gaps[-3:]) / list_avg(gaps)")),
    (Gap("order", "silence_over_median"), from_gaps("silence / list_median(gaps)")),
    (Gap("order", "silence_over_longest"), from_gaps("silence / list_max(gaps)")),
    (Gap("order", "silence_score"), from_gaps("case when len(gaps) > 1 then (silence - list_avg(gaps)) / greatest(list_stddev_pop(gaps), 1) end")),
    (Gap("search", "silence_rank"), from_gaps("len(list_filter(gaps, lambda g: g >= silence)) / len(gaps)", "search")),
    (Gap("order", "regularity"), from_gaps("case when len(gaps) > 1 then 1 - 12 * list_avg(list_transform(range(1, len(gaps)), lambda j: (gaps[j] / (gaps[j] + gaps[j + 1]) - 0.5) ** 2)) end")),
    (OrderTrait("first_value"), from_orders("all_v[1]")),
    (OrderTrait("first_lines"), from_orders("lines[1]")),
    (OrderTrait("first_discount_share"), from_orders("case when all_v[1] + discount[1] > 0 then discount[1] / (all_v[1] + discount[1]) end")),
    (OrderTrait("first_coupon"), from_orders("c[1]")),
    (OrderTrait("second_after_days"), from_orders(f"(epoch_us(began[2]) - epoch_us(began[1])) / {D}.0")),
    (OrderTrait("last_value"), from_orders("v[-1]")),
    (OrderTrait("largest_value"), from_orders("list_max(v)")),
    (OrderTrait("variation"), from_orders("case when len(v) > 1 and list_sum(v) > 0 then list_stddev_pop(v) / list_avg(v) end")),
    (OrderTrait("last_over_mean"), from_orders("case when list_sum(v) > 0 then v[-1] / list_avg(v) end")),
    (OrderTrait("recent_over_mean"), from_orders("case when list_sum(v) > 0 then list_avg(v[-3:]) / list_avg(v) end")),
    (VisitTrait("depth", 60), f"select i, avg(events) filter (age < {60 * D}) from {VISITS} group by i"),
    (VisitTrait("minutes"), f"select i, avg(minutes) from {VISITS} group by i"),
    (VisitTrait("bounces", 60), f"select i, avg((events = 1)::int) filter (age < {60 * D}) from {VISITS} group by i"),
    (Calendar("weekday"), "(any_value(as_of_us) // 86400000000 + 3) % 7"),
    (Calendar("days_to_year_end"), "any_value(date_diff('day', as_of::date, (date_trunc('year', as_of) + interval 1 year)::date))"),
    (Calendar("month_sin"), "any_value(sin(2 * pi() * (dayofyear(as_of) - 1) / date_diff('day', date_trunc('year', as_of), date_trunc('year', as_of) + interval 1 year)))"),
    (Calendar("month_cos"), "any_value(cos(2 * pi() * (dayofyear(as_of) - 1) / date_diff('day', date_trunc('year', as_of), date_trunc('year', as_of) + interval 1 year)))"),
]  # fmt: skip


def test_every_kind_has_a_case() -> None:
    """No kind of declaration goes without an oracle."""
    assert {type(feature).__name__ for feature, _ in CASES} == set(KINDS)
    assert len(KINDS) == 31


@pytest.fixture(scope="module")
def found(
    request: pytest.FixtureRequest,
) -> tuple[duckdb.DuckDBPyConnection, Catalogue, NDArray[np.float32]]:
    """All cases computed at once, and a connection that knows the events of each row."""
    make_log = request.getfixturevalue("make_log")
    events = pl.concat([make_log(seed, late=0.3) for seed in (1, 2)])
    events = events.with_columns(user_id=pl.col("user_id") + pl.Series([f"-{i // 1500}" for i in range(len(events))]))
    definition = ChurnDefinition()
    shard = encode(events, definition)
    at_user, at_us = request.getfixturevalue("rows")(shard)
    catalogue = Catalogue(tuple(dict.fromkeys(f for f, _ in CASES)), definition.outcome)
    connection = duckdb.connect()
    rows = pl.DataFrame({"i": np.arange(len(at_user)), "user_id": shard.user_ids.gather(at_user), "as_of_us": at_us})
    connection.register("rows", rows.to_arrow())
    tone = pl.Series(SHIPPED_SENTIMENT.of_events(events)).fill_nan(None)
    connection.register(
        "events",
        events.with_columns(
            tone.alias("sentiment"), pl.col("occurred_at", "ingested_at").dt.replace_time_zone(None)
        ).to_arrow(),
    )
    connection.execute("""create table k as select r.i, r.as_of_us, make_timestamp(r.as_of_us) as as_of, e.*,
        r.as_of_us - epoch_us(occurred_at) as age, epoch_us(occurred_at) // 86400000000 as day, hour(occurred_at) as hour,
        unit_price as price, try_cast(properties->>'$.days_late' as double) as days_late,
        case when type = 'order' then coalesce(order_id, occurred_at::varchar) end as okey
        from rows r left join events e on e.user_id = r.user_id and epoch_us(occurred_at) <= r.as_of_us
        and epoch_us(ingested_at) <= r.as_of_us""")
    return connection, catalogue, compute(shard, at_user, at_us, catalogue)


@pytest.mark.parametrize(("feature", "sql"), CASES, ids=lambda v: v.name if isinstance(v, Feature) else "")
def test_a_feature_equals_its_sql(
    feature: Feature, sql: str, found: tuple[duckdb.DuckDBPyConnection, Catalogue, NDArray[np.float32]]
) -> None:
    """Known events only, half-open windows, distinct orders, NaN where SQL says null."""
    connection, catalogue, X = found
    query = sql if sql.startswith("select") else f"select i, ({sql})::double from k group by i"
    answer = connection.execute(query).fetchall()
    expected = np.full(len(X), 0.0 if isinstance(feature, Decayed) else np.nan)
    for i, value in answer:
        expected[i] = np.nan if value is None else value
    np.testing.assert_allclose(X[:, catalogue.names.index(feature.name)], expected, rtol=2e-6, atol=1e-6)
    assert np.isfinite(expected).sum() > len(X) // 3
