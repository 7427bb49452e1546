"""`score_table`: the rows of another file by the model of a table, one function for one row and for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.language import Language, Text
from ebbtide.core.sections import Section
from ebbtide.core.settings import BandsConfig
from ebbtide.events.schema import TIME as TIME_TYPE
from ebbtide.events.table_file import TableFile, missing_columns
from ebbtide.events.table_values import days_of, texts_of
from ebbtide.explain.reasons import REASONS_TYPE, reason_column
from ebbtide.features.table_encoding import TIME, TableEncoding, read_fields
from ebbtide.models.base import Matrix, Vector, sigmoid
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.columns import ColumnMaker
from ebbtide.models.makers import all_columns
from ebbtide.models.stack import StackModel
from ebbtide.models.table_bundle import TableBundle, load_table_bundle
from ebbtide.pipeline.listing import list_section
from ebbtide.pipeline.ranking import RankedList, rank
from ebbtide.pipeline.score import BANDS, ReasonsFor, ScoreReport, bands_of

_COUNTS = Text(
    "{users:,} customers: {high:,} at high risk, {medium:,} medium, {low:,} low",
    "共 {users:,} 位顾客：高风险 {high:,}，中风险 {medium:,}，低风险 {low:,}",
)
_MISSING_TIME = Text(
    "{count:,} rows have no readable `{column}`: their dates count as missing",
    "{count:,} 行没有可读的 `{column}`：其日期按缺失处理",
)


@dataclass(frozen=True)
class Scorer:
    """What turns read rows into scores: encoding, column makers, stack, its calibration, and how scores are told."""

    encoding: TableEncoding
    stack: StackModel
    makers: tuple[ColumnMaker, ...]
    calibration: AffineCalibration
    usual: Mapping[str, float]
    bands: BandsConfig
    currency: str
    model: str

    @classmethod
    def of(cls, bundle: TableBundle) -> Scorer:
        """The scorer of a saved model."""
        return cls(
            bundle.encoding,
            bundle.stack,
            bundle.makers,
            bundle.calibration,
            bundle.usual,
            bundle.bands,
            bundle.currency,
            bundle.id,
        )

    @property
    def columns(self) -> tuple[Any, ...]:
        """The declarations of the design's columns, in order: the encoding's, then those of the makers."""
        return (*self.encoding.columns, *(c for m in self.makers for c in m.declarations()))

    def design(self, read: pl.DataFrame) -> Matrix:
        """The design as the stack reads it."""
        return all_columns(self.makers, self.encoding.design(read), None)

    def log_odds(self, X: Matrix) -> Vector:
        """Calibrated log-odds of churn, (N,)."""
        return self.calibration.apply(self.stack.margin(X))

    def terms(self, X: Matrix) -> Vector:
        """Calibrated contributions, (N, F + 1)."""
        return self.calibration.apply_to_contributions(self.stack.contributions(X))

    def score(
        self, read: pl.DataFrame, ids: pl.Series, *, reasons: ReasonsFor = "at_risk", language: Language = "en"
    ) -> pl.DataFrame:
        """One row a row of the table, in its order: the columns of `score_shard`; as_of is the row's own time, null
        where the table has none, and so are expected orders and value, which a table cannot tell."""
        X = self.design(read)
        p = sigmoid(self.log_odds(X))
        band = bands_of(p, self.bands)
        wanted = {"none": np.zeros(len(p), np.bool_), "at_risk": band != BANDS[0], "all": np.ones(len(p), np.bool_)}
        return pl.DataFrame(
            {
                "user_id": ids,
                "as_of": _moments(read),
                "churn_probability": p,
                "band": pl.Series(band.astype(str), dtype=pl.String),
                "reasons": self._reasons(X, wanted[reasons], language),
                "expected_orders": pl.repeat(None, len(p), dtype=pl.Float64, eager=True),
                "value_at_risk": pl.repeat(None, len(p), dtype=pl.Float64, eager=True),
                "model": pl.repeat(self.model, len(p), dtype=pl.String, eager=True),
            }
        )

    def _reasons(self, X: Matrix, wanted: NDArray[np.bool_], language: Language) -> pl.Series:
        if not wanted.any():
            return pl.repeat(None, len(X), dtype=REASONS_TYPE, eager=True)
        own = X[wanted]
        said = reason_column(self.terms(own), own, self.columns, self.usual, currency=self.currency, language=language)
        place = pl.Series(np.where(wanted, np.cumsum(wanted) - 1, -1)).replace(-1, None)
        return said.gather(place)


@dataclass(frozen=True)
class TableScores(ScoreReport):
    """The ranked list of a table's rows, most at risk first."""

    notes: tuple[Text, ...] = ()

    def sections(self, rows: int = 20) -> tuple[Section, ...]:
        """How many are at risk, and the first rows of the list."""
        counts = _COUNTS.format(users=len(self), **self.bands())
        return (Section(lines=(counts, *self.notes)), list_section(self.ranked.head(rows), self.currency, rows))

    def to_json(self) -> dict[str, Any]:
        """Counts; the list itself goes to a file or the terminal."""
        left_out = ("as_of", "value_at_risk")
        return {k: v for k, v in super().to_json().items() if k not in left_out} | {"notes": [n.en for n in self.notes]}


def score_table(
    source: TableFile, folder: Path, *, reasons: ReasonsFor = "at_risk", language: Language = "en"
) -> TableScores:
    """Score every row of a table by the model in `folder`. The label is not needed, other columns are ignored.

    Raises MissingBundleError without a model, InputError if a column that the model learnt from is not there.
    """
    bundle = load_table_bundle(folder)
    read, ids, notes = _read(source, bundle)
    scored = Scorer.of(bundle).score(read, ids, reasons=reasons, language=language)
    return listed(scored, bundle.id, bundle.currency, notes)


def listed(scored: pl.DataFrame, model: str, currency: str, notes: tuple[Text, ...] = ()) -> TableScores:
    """Scored rows as a ranked list."""
    bands = dict(scored["band"].value_counts().iter_rows())
    mean = float(scored["churn_probability"].mean()) if len(scored) else None  # type: ignore[arg-type]
    ranked = RankedList((rank(scored),), len(scored), bands, mean, None)
    return TableScores(ranked, datetime.now(UTC), model, currency, notes)


def _read(source: TableFile, bundle: TableBundle) -> tuple[pl.DataFrame, pl.Series, tuple[Text, ...]]:
    """The columns that the model knows, the ids, and what is odd."""
    question = bundle.question
    wanted = [f.column for f in bundle.fields] + [c for c in (question["id"], question["time"]) if c]
    missing = [c for c in wanted if c not in source.frame.columns]
    if missing:
        raise missing_columns(source.name, missing, source.frame.columns)
    frame = source.frame
    notes: tuple[Text, ...] = ()
    read = read_fields(bundle.fields, frame)
    numbered = pl.Series((np.arange(len(frame)) + 1).astype(str), dtype=pl.String)
    ids = texts_of(frame[question["id"]]).fill_null("") if question["id"] else numbered
    if question["time"]:
        days = days_of(frame[question["time"]], question["time_order"])
        read = read.with_columns(days.alias(TIME))
        if days.null_count():
            notes = (_MISSING_TIME.format(count=days.null_count(), column=question["time"]),)
    return read, ids, notes


def _moments(read: pl.DataFrame) -> pl.Series:
    """Each row's own time; null without."""
    if TIME not in read.columns:
        return pl.repeat(None, len(read), dtype=TIME_TYPE, eager=True)
    return (read[TIME] * 86_400_000_000).round().cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
