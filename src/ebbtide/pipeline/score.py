"""`score`: one function for a shard, and the loop that hands it the lake's buckets.

`score_shard` is the only way a user gets a score; batch, cluster and service all call it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.config import Config
from ebbtide.core.errors import InputError, MissingExtraError, RetryError
from ebbtide.core.language import Language, Text
from ebbtide.core.nullable import nullable
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.settings import BandsConfig
from ebbtide.core.windows import to_us
from ebbtide.events.schema import TIME, empty_events
from ebbtide.events.surroundings import steady_disk, surroundings_error
from ebbtide.explain.reasons import REASONS_TYPE, Reasons
from ebbtide.explain.reasons import reasons as reasons_in_words
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.cohort import eligible_users
from ebbtide.features.columns import Needs
from ebbtide.features.encode import EncodedShard, encode
from ebbtide.features.engine import compute
from ebbtide.features.plan import plan_of
from ebbtide.models.base import Matrix, Vector, sigmoid
from ebbtide.models.bgnbd import COLUMNS as BGNBD_COLUMNS
from ebbtide.models.bundle import Bundle
from ebbtide.models.columns import with_model_columns
from ebbtide.pipeline.dataset import VALUE_FEATURES, known_events
from ebbtide.pipeline.listing import list_section
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.ranking import RankedList, Ranking
from ebbtide.pipeline.train import newest_moment
from ebbtide.sequences.event_log import EventLog, Sequences

ReasonsFor = Literal["none", "at_risk", "all"]
BANDS = ("low", "medium", "high")
_ROW_GROUP = 8192  # rows with reasons are long, and writing holds some groups in memory
_COUNTS = Text(
    "{users:,} customers as of {as_of:%Y-%m-%d}: {high:,} at high risk, {medium:,} medium, {low:,} low",
    "截至 {as_of:%Y-%m-%d} 共 {users:,} 位顾客：高风险 {high:,}，中风险 {medium:,}，低风险 {low:,}",
)


@dataclass(frozen=True)
class Scored:
    """The cohort members of one shard, N of them: ids, X with the model columns, calibrated log-odds."""

    user_id: pl.Series
    X: Matrix
    log_odds: Vector
    expected_orders: Vector
    value_at_risk: Vector

    @property
    def probability(self) -> Vector:
        """Calibrated probability of churn, (N,)."""
        return sigmoid(self.log_odds)


def score_shard(
    events: pl.DataFrame,
    as_of: datetime,
    bundle: Bundle,
    *,
    reasons: ReasonsFor = "at_risk",
    language: Language = "en",
    shard: EncodedShard | None = None,
) -> pl.DataFrame:
    """Score the eligible users of some users' events: one row a user, sorted by user_id.

    `events` must hold all events of its users; those not known at `as_of` are ignored. Out: user_id, as_of,
    churn_probability, band, reasons, expected_orders, value_at_risk, model. Percentiles need the whole cohort and are
    added by `score`. `reasons`: for nobody, for the bands above low, or for all.
    `shard`: the known ones of `events` encoded, if that is done already.
    """
    scored = score_members(events, as_of, bundle, shard=shard)
    p = scored.probability
    band = bands_of(p, bundle.config.bands)
    wanted = {"none": np.zeros(len(p), np.bool_), "at_risk": band != BANDS[0], "all": np.ones(len(p), np.bool_)}
    return pl.DataFrame(
        {
            "user_id": scored.user_id,
            "as_of": _all_the_same(as_of, TIME, len(p)),
            "churn_probability": p,
            "band": pl.Series(band.astype(str), dtype=pl.String),
            "reasons": _reasons(scored, bundle, wanted[reasons], language),
            "expected_orders": nullable(scored.expected_orders),
            "value_at_risk": nullable(scored.value_at_risk),
            "model": _all_the_same(bundle.id, pl.String(), len(p)),
        }
    )


def score_members(
    events: pl.DataFrame, as_of: datetime, bundle: Bundle, *, shard: EncodedShard | None = None
) -> Scored:
    """Features, margin and money of the eligible users of a shard, sorted by user_id."""
    if shard is None:
        shard = encode(known_events(events, as_of), bundle.definition, bundle.sentiment)
    at_user = eligible_users(shard, as_of, bundle.definition)
    if not len(at_user):
        nothing = np.empty(0)
        X = np.empty((0, len(bundle.columns)), np.float32)
        return Scored(shard.user_ids.clear(), X, nothing, nothing, nothing)
    at_us = np.full(len(at_user), to_us(as_of), np.int64)
    catalogue, money_at = _with_money(bundle.catalogue)
    known = compute(shard, at_user, at_us, catalogue, tables=bundle.items)
    base = with_model_columns(known[:, : len(bundle.catalogue)], bundle.catalogue.names, bundle.setting)
    expected = base[:, -1].astype(np.float64)
    sequences = None
    if bundle.reads_events:
        sequences = Sequences(EventLog.of(shard.events, shard.start), at_user.astype(np.int64), at_us)
    X = bundle.all_columns(base, sequences)
    log_odds = bundle.calibration.apply(bundle.stack.margin(X))
    worth = np.full(len(at_user), np.nan)
    if bundle.gamma_gamma is not None:
        worth = bundle.gamma_gamma.expected_value(*known[:, money_at].T)
    at_risk = sigmoid(log_odds) * _orders_if_stays(base, bundle) * worth
    return Scored(shard.user_ids.gather(at_user), X, log_odds, expected, at_risk)


def needs_of(bundle: Bundle) -> Needs:
    """What scoring reads of the events beside the types and times."""
    return plan_of(_with_money(bundle.catalogue)[0], bundle.definition.outcome)[1]


@lru_cache(maxsize=16)
def _with_money(catalogue: Catalogue) -> tuple[Catalogue, list[int]]:
    """The catalogue with the columns that gamma-gamma takes, and where these stand."""
    wide = catalogue.extended(f for f in VALUE_FEATURES if f.name not in catalogue.names)
    return wide, [wide.names.index(f.name) for f in VALUE_FEATURES]


@dataclass(frozen=True)
class ScoreReport(Readable):
    """The ranked list, most at risk first: the columns of `score_shard` and percentile (0-100, 100 = most at risk)."""

    ranked: RankedList
    as_of: datetime
    bundle: str
    currency: str

    def __len__(self) -> int:
        return self.ranked.users

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The list as a Polars frame, all of it in memory; `ranked` reads a long one piece by piece."""
        return self.ranked.frame()

    def to_polars(self) -> pl.DataFrame:
        """The list as a Polars frame."""
        return self.frame

    def to_arrow(self) -> Any:
        """The list as an Arrow table."""
        return self.frame.to_arrow()

    def to_pandas(self) -> Any:
        """The list as a pandas frame. Raises MissingExtraError without the extra `pandas`."""
        if find_spec("pandas") is None:
            raise MissingExtraError("pandas", Text("a pandas frame", "pandas 数据框"))
        return self.frame.to_pandas()

    def bands(self) -> dict[str, int]:
        """Users in each band, high first."""
        return {band: self.ranked.bands.get(band, 0) for band in reversed(BANDS)}

    def sections(self, rows: int = 20) -> tuple[Section, ...]:
        """How many are at risk, and the first rows of the list."""
        counts = _COUNTS.format(users=len(self), as_of=self.as_of, **self.bands())
        return (Section(lines=(counts,)), list_section(self.ranked.head(rows), self.currency, rows))

    def to_json(self) -> dict[str, Any]:
        """Counts; the list itself goes to a file or the terminal."""
        return {
            "as_of": self.as_of.isoformat(),
            "model": self.bundle,
            "users": len(self),
            "bands": self.bands(),
            "mean_probability": self.ranked.mean_probability,
            "value_at_risk": self.ranked.value_at_risk,
        }


def score(
    config: Config,
    root: Path,
    *,
    as_of: datetime | None = None,
    bundle: str | None = None,
    reasons: ReasonsFor = "at_risk",
    language: Language | None = None,
    progress: Progress = silent,
) -> ScoreReport:
    """Score everybody who is eligible at `as_of` (default: the newest event), bucket by bucket.

    Raises MissingBundleError without a trained bundle, MissingError without a lake.
    """
    places = Places(root)
    loaded, lake = places.shelf().load(bundle), places.lake()
    as_of = as_of or newest_moment(lake)
    words, buckets, ranking = language or config.shop.language, lake.buckets(), Ranking(places.home)
    if not buckets:
        ranking.add(score_shard(empty_events(), as_of, loaded))
    with steady_disk():
        for done, bucket in enumerate(buckets):
            progress(Text("scoring users", "为用户评分"), done, len(buckets))
            shard = lake.read_bucket(bucket)
            ranking.add(score_shard(shard, as_of, loaded, reasons=reasons, language=words))
        progress(Text("scoring users", "为用户评分"), len(buckets), len(buckets))
        return ScoreReport(ranking.finish(), as_of, loaded.id, config.shop.currency)


def write_scores(listed: pl.DataFrame | pl.LazyFrame, file: Path) -> None:
    """Write the list by the file's suffix: .parquet, .csv (reasons as texts joined by "; ") or .jsonl; atomically.

    A lazy list (`ScoreReport.ranked.scan()`) is written without holding all of it in memory.
    Raises InputError for another suffix, RetryError if the disk refuses.
    """
    aside = file.with_name(f".{file.name}.part")
    writers = {".parquet": _to_parquet, ".csv": _to_csv, ".jsonl": _to_jsonl, ".ndjson": _to_jsonl, ".json": _to_jsonl}
    if file.suffix.lower() not in writers:
        raise InputError(
            "cannot tell the format from `{suffix}`: use .parquet, .csv or .jsonl",
            "无法从 `{suffix}` 判断格式：请用 .parquet、.csv 或 .jsonl",
            suffix=file.suffix or file.name,
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        writers[file.suffix.lower()](listed.lazy(), aside)
        aside.replace(file)
    except (OSError, pl.exceptions.PolarsError) as fault:
        # Polars wraps some refusals of the disk into errors of its own
        if not isinstance(fault, OSError) and surroundings_error(fault) is None:
            raise
        with suppress(OSError):
            aside.unlink()
        raise RetryError(
            "the list could not be written ({reason}): make room, or choose another place, and try again",
            "无法写出列表（{reason}）：请腾出空间或选择其他位置后重试",
            reason=getattr(fault, "strerror", None) or "disk",
        ) from None


def _to_parquet(listed: pl.LazyFrame, file: Path) -> None:
    listed.sink_parquet(file, row_group_size=_ROW_GROUP)


def _to_csv(listed: pl.LazyFrame, file: Path) -> None:
    if "reasons" in listed.collect_schema():
        texts = pl.col("reasons").list.eval(pl.element().struct.field("text")).list.join("; ")
        listed = listed.with_columns(reasons=texts)
    listed.with_columns(_TIMES).sink_csv(file)


def _to_jsonl(listed: pl.LazyFrame, file: Path) -> None:
    listed.with_columns(_TIMES).sink_ndjson(file)


_TIMES = pl.col(TIME).dt.strftime("%Y-%m-%dT%H:%M:%SZ")


def bands_of(probability: Vector, limits: BandsConfig) -> NDArray[np.str_]:
    """The band of each probability: low, medium or high; a limit belongs to the band above it."""
    return np.asarray(BANDS)[np.searchsorted([limits.medium, limits.high], probability, side="right")]


def _orders_if_stays(X: Matrix, bundle: Bundle) -> Vector:
    """Expected orders over the horizon of a user who places at least one: E[n] / P(n > 0), BG/NBD."""
    if bundle.bgnbd is None:
        return np.full(len(X), np.nan)
    names = bundle.catalogue.names
    x, t_x, age = (X[:, names.index(c)].astype(np.float64) for c in BGNBD_COLUMNS)
    none = bundle.bgnbd.probability_none(x, t_x, age, bundle.definition.horizon_days)
    return np.asarray(X[:, -1] / np.maximum(1 - none, 1e-9), np.float64)


def _reasons(scored: Scored, bundle: Bundle, wanted: NDArray[np.bool_], language: Language) -> pl.Series:
    """The reasons of the wanted users; null for the others."""
    if not wanted.any():
        return _all_the_same(None, REASONS_TYPE, len(wanted))
    said = reasons_of(scored, bundle, language, np.flatnonzero(wanted)).to_series()
    if wanted.all():
        return said
    place = pl.Series(np.where(wanted, np.cumsum(wanted) - 1, -1)).replace(-1, None)
    return said.gather(place)


def reasons_of(scored: Scored, bundle: Bundle, language: Language, rows: NDArray[np.intp] | None = None) -> Reasons:
    """The reasons of these rows of `scored`, or of all."""
    X = scored.X if rows is None else scored.X[rows]
    terms = bundle.calibration.apply_to_contributions(bundle.stack.contributions(X))
    return reasons_in_words(
        terms, X, bundle.columns, bundle.usual, currency=bundle.config.shop.currency, language=language
    )


def _all_the_same(value: Any, dtype: pl.DataType, count: int) -> pl.Series:
    return pl.Series([value], dtype=dtype).new_from_index(0, count)
