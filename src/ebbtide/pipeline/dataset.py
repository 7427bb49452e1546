"""From the lake to training rows: survey what is known, label the cohorts, compute features, bucket by bucket.

Nothing here looks past `until`: an event counts if it occurred and was ingested by then. Rows are put in the order
(as_of, user), so that neither the number of buckets nor their order can change a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.churn.labels import NEVER_US, labelled_cohorts
from ebbtide.core.errors import DataError, InputError
from ebbtide.core.ids import hash_texts, sampled_users, share_that_fits
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.windows import from_us, to_us
from ebbtide.events.capabilities import capabilities_of, observed_facts
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.events.sentiment.scorer import SHIPPED_SENTIMENT, Sentiment
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.declarations import Count, Feature, Lifetime, PerOrder
from ebbtide.features.encode import encode
from ebbtide.features.engine import compute
from ebbtide.features.tables import ItemCounter, ItemTable
from ebbtide.models.base import Matrix, Rows, Vector
from ebbtide.models.exposures import Exposures
from ebbtide.sequences.event_log import EventLog, Sequences

LABEL_COLUMNS = ("event_id", "user_id", "occurred_at", "ingested_at", "type")


_LIFETIMES = ("repeat_days", "last_age_days", "age_days")
VALUE_FEATURES: tuple[Feature, ...] = (Count("order"), PerOrder("value", "order", None))
"""The number and the mean value of a user's orders, as gamma-gamma takes them."""
POPULATION_FEATURES: tuple[Feature, ...] = (*map(Lifetime, _LIFETIMES), *VALUE_FEATURES)


class Shards(Protocol):
    """What the lake offers: all events of a set of users at a time."""

    def buckets(self) -> list[int]: ...

    def read_bucket(self, bucket: int, columns: Sequence[str] | None = None) -> pl.DataFrame: ...


@dataclass(frozen=True)
class Survey:
    """What was known at `until`: counts, capabilities, the span of all events and of outcome events, and the items."""

    until_us: int
    events: int
    users: int
    facts: Counter[str]
    first_us: int
    last_us: int
    first_outcome_us: int
    items: ItemTable

    @property
    def capabilities(self) -> frozenset[str]:
        """What the log can tell."""
        return capabilities_of(self.facts)

    @property
    def history_days(self) -> float:
        """From the first outcome event to `until`."""
        return (self.until_us - self.first_outcome_us) / 86_400_000_000


@dataclass(frozen=True)
class Population:
    """All users known at one moment, each (U,): x, t_x and T of their outcome days, as BG/NBD takes them, and the
    number and mean value of their orders, as gamma-gamma takes them."""

    x: Vector
    t_x: Vector
    age: Vector
    orders: Vector
    order_value: Vector


def known_events(shard: pl.DataFrame, until: datetime) -> pl.DataFrame:
    """The events that were known at `until`."""
    moments = ("occurred_at", "ingested_at")
    if all((shard[name].max() or until) <= until for name in moments):  # type: ignore[operator]
        return shard
    return shard.filter((pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until))


def unknown_user(as_of: datetime) -> InputError:
    """The error for a user of whom nothing was known at a moment."""
    return InputError(
        "no event of this user was known at {as_of:%Y-%m-%d %H:%M} UTC: check the id (text, with leading zeros) "
        "and --as-of",
        "截至 {as_of:%Y-%m-%d %H:%M} UTC 没有该用户的事件：请检查 id（文本，含前导零）与 --as-of",
        as_of=as_of,
    )


def survey(lake: Shards, definition: ChurnDefinition, until: datetime, progress: Progress = silent) -> Survey:
    """Look at all that was known at `until`. Raises DataError if that is nothing of the outcome kind."""
    facts: Counter[str] = Counter()
    spans: list[tuple[int, int, int]] = []
    users = events = 0
    items = ItemCounter(to_us(until))
    for shard in _shards(lake, Text("surveying events", "概览事件"), progress):
        known = known_events(shard, until)
        facts += observed_facts(known, until)
        items.add(known)
        if len(known):
            at = known["occurred_at"].dt.epoch("us")
            outcome = at.filter(known.select(definition.is_outcome()).to_series())
            spans.append((_least(at), int(at.max() or 0), _least(outcome)))  # type: ignore[arg-type]
            users, events = users + known["user_id"].n_unique(), events + len(known)
    if not spans or min(s[2] for s in spans) == _NEVER:
        raise DataError(
            "no event of the outcome kind was known at {until:%Y-%m-%d}: check [churn] outcome, or choose a later moment",
            "截至 {until:%Y-%m-%d} 没有结果类型的事件：请检查 [churn] outcome，或选择更晚的时点",
            until=until,
        )
    first, last, first_outcome = (min(s[0] for s in spans), max(s[1] for s in spans), min(s[2] for s in spans))
    return Survey(to_us(until), events, users, facts, first, last, first_outcome, items.table())


def label(
    lake: Shards,
    definition: ChurnDefinition,
    moments: Sequence[int],
    until: datetime,
    progress: Progress = silent,
    *,
    lapsed: bool = False,
) -> Iterator[pl.DataFrame]:
    """The cohorts of all closed moments, bucket by bucket, as `labelled_cohorts` gives them; labels known at `until`."""
    at = [from_us(m) for m in moments]
    for shard in _shards(lake, Text("labelling cohorts", "标注人群"), progress, LABEL_COLUMNS):
        yield labelled_cohorts(shard, at, definition, known_until=until, lapsed=lapsed)


def sample_cohorts(parts: Iterable[pl.DataFrame], max_rows: int, seed: int) -> tuple[pl.DataFrame, float]:
    """The rows of a stable sample of users, as many users as `max_rows` rows allow, and the share of users kept.

    Memory: about twice `max_rows` rows, however many there are. The order of the parts does not matter.
    """
    kept, share = pl.DataFrame(), 1.0
    for part in parts:
        kept = pl.concat([kept, _sampled(part, share, seed)]) if len(kept) else _sampled(part, share, seed)
        if len(kept) > max_rows:
            share = share_that_fits(kept["user_id"], max_rows, seed=seed)
            kept = _sampled(kept, share, seed)
    return kept, share


def collect(
    lake: Shards,
    definition: ChurnDefinition,
    catalogue: Catalogue,
    cohorts: pl.DataFrame,
    tables: ItemTable,
    progress: Progress = silent,
    *,
    with_events: bool = False,
    sentiment: Sentiment = SHIPPED_SENTIMENT,
    exposures: Exposures | None = None,
) -> Rows:
    """Features of every cohort member at every moment, in the order (as_of, user); `with_events`: and the events behind
    them. `sentiment` reads texts. `exposures` go along with the rows, and are no feature."""
    if not len(cohorts):
        raise DataError("no user is eligible at any closed moment", "没有任何已结束时点上的合格用户")
    user, at_us = hash_texts(cohorts["user_id"]), cohorts["as_of"].dt.epoch("us").to_numpy()
    order = np.lexsort((user, at_us))
    rows = cohorts.select("user_id", "as_of")[order].with_row_index("row")
    X = np.full((len(rows), len(catalogue)), np.nan, np.float32)  # a user without events stays unknown
    logs: list[EventLog] = []
    log_user, logged = np.zeros(len(rows), np.int64), 0
    for shard in _shards(lake, Text("computing features", "计算特征"), progress):
        encoded = encode(shard, definition, sentiment)
        place = pl.DataFrame({"user_id": encoded.user_ids, "place": np.arange(len(encoded), dtype=np.int32)})
        wanted = rows.join(place, on="user_id", how="inner").sort("place", "as_of")
        at_user, at = wanted["place"].to_numpy(), wanted["as_of"].dt.epoch("us").to_numpy()
        X[wanted["row"].to_numpy()] = compute(encoded, at_user, at, catalogue, tables=tables)
        if with_events:
            users, place_in_log = np.unique(at_user, return_inverse=True)
            logs.append(EventLog.of(encoded.events, encoded.start).of_users(users.astype(np.int64)))
            log_user[wanted["row"].to_numpy()] = logged + place_in_log
            logged += len(users)
    y = cohorts["churned"].cast(pl.Float64).to_numpy()
    stayed = cohorts["stayed_at"].dt.epoch("us").fill_null(NEVER_US).to_numpy()[order]
    sequences = Sequences(EventLog.joined(logs), log_user, at_us[order]) if with_events else None
    names, embargo = catalogue.names, definition.closing_us
    return Rows(X, y[order], at_us[order], user[order], names, embargo, stayed, sequences, exposures)


def _sampled(cohorts: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    if share == 1.0:
        return cohorts
    return cohorts.filter(pl.Series(sampled_users(cohorts["user_id"], share, seed=seed)))


def populations(
    lake: Shards,
    definition: ChurnDefinition,
    moments: Sequence[int],
    share: float = 1.0,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[int, Population]:
    """The outcome days and order values of all users known at each moment, of a sample of `share` of the users."""
    catalogue = Catalogue(POPULATION_FEATURES, definition.outcome)
    found: dict[int, list[Matrix]] = {m: [np.empty((0, len(catalogue)), np.float32)] for m in moments}
    columns = (*LABEL_COLUMNS, "order_id", "value")
    for shard in _shards(lake, Text("counting order days", "统计下单日"), progress, columns):
        kept = shard if share == 1 else shard.filter(pl.Series(sampled_users(shard["user_id"], share, seed=seed)))
        encoded = encode(_with_all_columns(kept), definition)
        users = np.arange(len(encoded), dtype=np.int32)
        for moment in moments:
            X = compute(encoded, users, np.full(len(users), moment, np.int64), catalogue)
            found[moment].append(X[np.isfinite(X[:, :3]).all(axis=1)])
    return {m: _population(np.concatenate(parts).astype(np.float64)) for m, parts in found.items()}


_NEVER = 2**62


def _least(at: pl.Series) -> int:
    return int(at.min()) if len(at) else _NEVER  # type: ignore[arg-type]


def _population(columns: Vector) -> Population:
    order = np.lexsort(columns.T)
    return Population(*columns[order].T)


def _with_all_columns(shard: pl.DataFrame) -> pl.DataFrame:
    from_schema = [pl.lit(None, t).alias(c) for c, t in EVENT_COLUMNS.items() if c not in shard.columns]
    return shard.with_columns(from_schema)


def _shards(
    lake: Shards, stage: Text, progress: Progress, columns: Sequence[str] | None = None
) -> Iterator[pl.DataFrame]:
    buckets = lake.buckets()
    for done, bucket in enumerate(buckets):
        progress(stage, done, len(buckets))
        yield lake.read_bucket(bucket, columns)
    progress(stage, len(buckets), len(buckets))
