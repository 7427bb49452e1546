"""The declarations of a ready-made table's columns: the family of each is the column of the file it comes from.

A column of numbers, of yes and no, or of dates is one column of the design. A column of categories is one for each
frequent category, one for "missing", and one for how common the category is where some are rare.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ebbtide.core.language import Text
from ebbtide.features.feature import Feature, Unit


@dataclass(frozen=True)
class TableColumn(Feature):
    """A column of the design that comes from the column `column` of the file."""

    column: str

    @property
    def name(self) -> str:
        return self.column

    @property
    def unit(self) -> Unit:
        return "number"

    @property
    def family(self) -> str:
        """The column of the file: reasons are merged by it."""
        return self.column

    @property
    def description(self) -> Text:
        """The column's own name is its word, in every language."""
        return Text(self.column, self.column)

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True)
class NumberColumn(TableColumn):
    """A number as it stands; NaN where it is missing."""


@dataclass(frozen=True)
class FlagColumn(TableColumn):
    """Yes or no, 1 or 0; NaN where it is missing."""


@dataclass(frozen=True)
class DateColumn(TableColumn):
    """Days from the date to the row's own time, the column `time` of the file, or to one fixed day (`reference_day`,
    in days since 1970) where the table has none. With `is_later`, for dates that mostly lie after it, the other way
    round. Negative for a date on the other side."""

    time: str = ""
    reference_day: float = 0.0
    is_later: bool = False

    @property
    def unit(self) -> Unit:
        return "days"

    @property
    def until(self) -> str:
        """What the days lead up to."""
        day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=self.reference_day)
        return self.time or f"{day:%Y-%m-%d}"

    @property
    def description(self) -> Text:
        first, then = (self.until, self.column) if self.is_later else (self.column, self.until)
        return Text(f"days from {first} to {then}", f"从 {first} 到 {then} 的天数")


@dataclass(frozen=True)
class LevelColumn(TableColumn):
    """Whether the category is `level`: 1 or 0. A category that was not seen in training is none of them."""

    level: str

    @property
    def name(self) -> str:
        return f"{self.column}={self.level}"

    @property
    def description(self) -> Text:
        return Text(f"{self.column} is {self.level}", f"{self.column} 为 {self.level}")


@dataclass(frozen=True)
class MissingColumn(TableColumn):
    """Whether the category is missing: 1 or 0."""

    @property
    def name(self) -> str:
        return f"{self.column}="

    @property
    def description(self) -> Text:
        return Text(f"{self.column} is missing", f"{self.column} 缺失")


@dataclass(frozen=True)
class SharedColumn(TableColumn):
    """The share of the training rows that have the same category: rare ones are told from common ones without looking
    at the label. 0 for one that is rare or was not seen; NaN where it is missing."""

    @property
    def name(self) -> str:
        return f"{self.column}:share"

    @property
    def unit(self) -> Unit:
        return "share"

    @property
    def description(self) -> Text:
        return Text(f"share of customers with the same {self.column}", f"{self.column} 相同的顾客占比")


KINDS: dict[str, type[TableColumn]] = {
    kind.__name__: kind for kind in (NumberColumn, FlagColumn, DateColumn, LevelColumn, MissingColumn, SharedColumn)
}
"""Each kind by the name that it has in JSON."""
