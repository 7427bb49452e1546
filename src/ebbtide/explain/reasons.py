"""Reasons: the few kinds of evidence that move a user's score most, each one sentence's worth.

Contributions are log-odds. They are merged by feature family, ordered by size, and each family is spoken for by the
column that pushes hardest in the family's direction and can be said in plain words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from ebbtide.core.language import Language
from ebbtide.explain.families import Floats
from ebbtide.explain.layout import Columns, Layout, layout_of
from ebbtide.explain.selection import select
from ebbtide.explain.sentences import sentences

REASON = pl.Struct(
    {
        "feature": pl.String,
        "value": pl.Float64,
        "usual": pl.Float64,
        "direction": pl.String,
        "contribution": pl.Float64,
        "text": pl.String,
    }
)
_FIELDS = tuple(field.name for field in REASON.fields)
REASONS_TYPE = pl.List(REASON)
"""The type of the column `reasons` of a score table."""


@dataclass(frozen=True)
class Reason:
    """One reason. `value` and `usual` are None where unknown; `contribution` is the whole family's, in log-odds."""

    feature: str
    family: str
    value: float | None
    usual: float | None
    direction: Literal["raises", "lowers"]
    contribution: float
    text: str


@dataclass(frozen=True)
class Reasons(Sequence[list[Reason]]):
    """The reasons of N users, strongest first. Row i owns the entries `starts[i]:starts[i + 1]`.

    base, remainder (N,): log-odds before any evidence, and those of all families that are not named; base + the
    contributions of a row's reasons + remainder = the score's log-odds within 1e-6.
    """

    starts: NDArray[np.int64]
    column: NDArray[np.int64]
    value: Floats
    usual: Floats
    contribution: Floats
    text: NDArray[np.object_]
    base: Floats
    remainder: Floats
    layout: Layout

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, row: int) -> list[Reason]:  # type: ignore[override]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        return list(self._between(*self.starts[row % len(self) :][:2]))

    def _between(self, start: int, end: int) -> Iterator[Reason]:
        for i in range(start, end):
            column = self.column[i]
            yield Reason(
                self.layout.names[column],
                self.layout.family_names[self.layout.family[column]],
                _known(self.value[i]),
                _known(self.usual[i]),
                "raises" if self.contribution[i] > 0 else "lowers",
                float(self.contribution[i]),
                self.text[i],
            )

    def to_dicts(self) -> list[list[dict[str, Any]]]:
        """What `to_series` holds, as plain values."""
        return [[{name: getattr(said, name) for name in _FIELDS} for said in row] for row in self]

    def to_series(self) -> pl.Series:
        """The column `reasons` of a score table: REASONS_TYPE, unknown numbers are null."""
        names = pl.Series(self.layout.names, dtype=pl.String)
        entries = pl.DataFrame(
            {
                "feature": names.gather(self.column),
                "value": pl.Series(self.value).fill_nan(None),
                "usual": pl.Series(self.usual).fill_nan(None),
                "direction": pl.Series(np.where(self.contribution > 0, "raises", "lowers"), dtype=pl.String),
                "contribution": self.contribution,
                "text": pl.Series(self.text, dtype=pl.String),
            }
        )
        lists = pa.LargeListArray.from_arrays(pa.array(self.starts), entries.to_struct().to_arrow())
        return pl.Series("reasons", lists, dtype=REASONS_TYPE)


def reasons(
    contributions: Floats,
    X: NDArray[np.float32],
    columns: Columns,
    usual: ArrayLike | Mapping[str, float],
    *,
    at_most: int = 5,
    language: Language = "en",
    currency: str = "",
) -> Reasons:
    """The strongest families of each row, at most `at_most`, in words.

    contributions (N, F + 1) in log-odds, last column the base value; X (N, F), NaN = unknown; `columns` describes the
    F columns. `usual` is what is usual in the cohort, by column: (F,), or (N, F), or a mapping from names (others
    unknown). For the time since an event, the user's own usual gap is preferred where it is known.
    Raises DefectError if the shapes do not fit.
    """
    layout = layout_of(columns)
    everyday = _by_column(usual, layout.names)
    named = select(contributions, X, layout, everyday, at_most)
    row, column = named.row, named.column
    value, companion = X[row, column].astype(np.float64), layout.companion[column]
    own = np.where(companion >= 0, X[row, companion], np.nan).astype(np.float64)
    is_own = ~np.isnan(own)
    expected = np.where(is_own, own, np.broadcast_to(everyday, X.shape)[row, column])
    raises = named.contribution > 0
    return Reasons(
        starts=np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(X)))]).astype(np.int64),
        column=column,
        value=value,
        usual=expected,
        contribution=named.contribution,
        text=sentences(layout.phrases, column, value, expected, is_own, raises, language, currency),
        base=contributions[:, -1],
        remainder=named.remainder,
        layout=layout,
    )


def reason_column(
    contributions: Floats,
    X: NDArray[np.float32],
    columns: Columns,
    usual: ArrayLike | Mapping[str, float],
    *,
    at_most: int = 5,
    language: Language = "en",
    currency: str = "",
) -> pl.Series:
    """`reasons` as a table column of REASONS_TYPE, (N,)."""
    found = reasons(contributions, X, columns, usual, at_most=at_most, language=language, currency=currency)
    return found.to_series()


def _by_column(usual: ArrayLike | Mapping[str, float], names: Sequence[str]) -> Floats:
    """(N, F), or (1, F) where all users have the same."""
    if isinstance(usual, Mapping):
        usual = [usual.get(name, np.nan) for name in names]
    return np.atleast_2d(np.asarray(usual, np.float64))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
