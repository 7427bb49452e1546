"""What users did in the outcome window after a moment of their own: what a campaign is judged by."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.events.lake import Lake
from ebbtide.events.schema import EVENT_COLUMNS

_COLUMNS = ("event_id", "user_id", "occurred_at", "ingested_at", "type", "order_id", "value", "discount")
_STAGE = Text("reading outcomes", "读取结果")
AMOUNTS = ("value", "refund", "discount", "gross")


def outcomes_of(
    lake: Lake, users: pl.DataFrame, definition: ChurnDefinition, progress: Progress = silent
) -> pl.DataFrame:
    """The outcomes of users after `at`, as known at `known_until`; in the order of `users`.

    In: user_id and at (each pair once), known_until. Out: these, `matured` (the window had closed by then), `retained` (an
    outcome event in `(at + gap, at + gap + horizon]`), and of `(at, at + gap + horizon]`: `orders`, `value` (orders
    and refunds), `refund` (money given back, positive), `discount`, `gross` (before discount), `unsubscribed` (some
    consent was taken back). A user without events did nothing of all that. Money is null in a log without money.
    """
    closing = pl.duration(microseconds=definition.closing_us)
    asked = users.select("user_id", "at", "known_until", end=pl.col("at") + closing)
    found = [_acted(shard, asked, definition) for shard in _shards(lake, progress)]
    acted = pl.concat(found) if found else _acted(_nobody(), asked, definition)
    revoked = _revoked(lake.read_table("consents"), asked)
    told = asked.join(acted, on=["user_id", "at"], how="left", maintain_order="left").with_columns(
        matured=pl.col("end") <= pl.col("known_until"),
        retained=pl.col("retained").fill_null(False),
        orders=pl.col("orders").fill_null(0),
        unsubscribed=pl.struct("user_id", "at").is_in(revoked.to_struct().implode()),
    )
    has_money = bool(told["priced"].fill_null(0).sum())
    money = [(pl.col(n).fill_null(0.0) if has_money else pl.lit(None, pl.Float64)).alias(n) for n in AMOUNTS]
    return told.with_columns(money).drop("end", "priced")


def _acted(shard: pl.DataFrame, asked: pl.DataFrame, definition: ChurnDefinition) -> pl.DataFrame:
    occurred, order = pl.col("occurred_at"), pl.col("type") == "order"
    after_gap = occurred > pl.col("at") + pl.duration(microseconds=definition.gap_us)
    value, discount = pl.col("value").filter(order).sum(), pl.col("discount").filter(order).sum()
    inside = shard.join(asked, on="user_id").filter(
        (occurred > pl.col("at")) & (occurred <= pl.col("end")) & (pl.col("ingested_at") <= pl.col("known_until"))
    )
    return inside.group_by("user_id", "at").agg(
        retained=(definition.is_outcome() & after_gap).any(),
        orders=pl.coalesce("order_id", "event_id").filter(order).n_unique(),
        value=pl.col("value").filter(pl.col("type").is_in(["order", "refund"])).sum(),
        refund=pl.col("value").filter(pl.col("type") == "refund").abs().sum(),
        discount=discount,
        gross=value + discount,
        priced=pl.col("value").count(),
    )


def _revoked(consents: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Who took a consent back inside the window: user_id, at."""
    since = pl.col("valid_from")
    taken_back = consents.filter(~pl.col("granted")).join(asked, on="user_id")
    return taken_back.filter((since > pl.col("at")) & (since <= pl.col("end"))).select("user_id", "at").unique()


def _shards(lake: Lake, progress: Progress) -> Iterator[pl.DataFrame]:
    buckets = lake.buckets()
    for done, bucket in enumerate(buckets):
        progress(_STAGE, done, len(buckets))
        yield lake.read_bucket(bucket, _COLUMNS)
    progress(_STAGE, len(buckets), len(buckets))


def _nobody() -> pl.DataFrame:
    from_schema = {n: t for n, t in EVENT_COLUMNS.items() if n in _COLUMNS}
    return pl.DataFrame(schema=from_schema)
