"""A raw table as DuckDB reads it, with each column seen three ways: as text, as its own type, as a number.

Ids want the text (`00123` keeps its zeros), arithmetic wants the number, everything else the type found in the file.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebbtide.events.expressions import Use, quoted
from ebbtide.events.numbers import PLAIN, NumberStyle, number_or_fail_sql
from ebbtide.events.screening import Screened

ROW = "_row"
"""The name under which a mapping may use a whole raw row as JSON."""

_NUMBER_TYPES = re.compile(r"(U?(TINY|SMALL|HUGE|BIG)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*|BIGNUM)", re.IGNORECASE)
_TIME_TYPES = re.compile(r"(DATE|TIME|TIMESTAMP).*", re.IGNORECASE)


@dataclass(frozen=True)
class RawColumn:
    """One raw column: its name, the DuckDB type of its typed view, and SQL for the three views.

    The views of a value that does not fit raise: they stand inside `try(...)`, so that a failure can be told from a
    null. `number` is empty where the column can hold no numbers; `present` is SQL that is true where the row has a
    value; `text_based`: the file itself holds text.
    """

    name: str
    type: str
    text: str
    typed: str
    number: str
    present: str
    text_based: bool = False

    def view(self, use: Use, default: Use) -> str:
        """Which view fits an expression that uses the column so: `text`, `typed` or `number`."""
        wanted = default if use == "any" else use
        if wanted == "string":
            wanted = "any" if is_time(self.type) or self.type == "BOOLEAN" else "text"
        if wanted == "number":
            return "number" if self.number else "typed"
        return "text" if wanted == "text" else "typed"

    def sql(self, view: str) -> str:
        """The SQL of a view over the base relation."""
        return {"text": self.text, "typed": self.typed, "number": self.number or self.typed}[view]


@dataclass(frozen=True)
class RawTable:
    """A file, or the rows of a query, ready to be mapped: `relation` stands after FROM.

    `row` is SQL of a whole row as JSON, `kept_row` of what the quarantine keeps of it (default: the same). `broken`, if not empty, is SQL that is true for a row that is no valid JSON.
    `screened` belongs to a text file: it lists the rows that were taken out before. `numbered`: the relation itself
    has the row's number as `#number`, because one row may have made several.
    """

    file: Path
    relation: str
    columns: tuple[RawColumn, ...]
    row: str
    broken: str = ""
    screened: Screened | None = None
    header: bool = False
    numbered: bool = False
    kept_row: str = ""

    def row_numbers(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers (1 = first row below the header) of the rows at these 0-based positions of the relation."""
        if self.screened is None:
            return positions + 1
        if self.header:
            return self.screened.positions(positions + 1)
        return self.screened.positions(positions) + 1

    def find(self, name: str) -> RawColumn | None:
        """The column of that name; like in SQL, upper and lower case are the same."""
        if name == ROW:
            return json_column(ROW, self.row)
        exact = [c for c in self.columns if c.name == name]
        return next(iter(exact or [c for c in self.columns if c.name.lower() == name.lower()]), None)

    def nearest(self, name: str) -> str:
        """The column whose name is closest to `name`; "" if none is close."""
        return nearest(name, [c.name for c in self.columns])


def nearest(word: str, known: list[str]) -> str:
    """The closest of the known words, ignoring case, blanks and underscores; "" if none is close.

    >>> nearest("CustomerID", ["customer id", "price"])
    'customer id'
    """
    plain = {re.sub(r"[\W_]+", "", k).lower(): k for k in known}
    close = difflib.get_close_matches(re.sub(r"[\W_]+", "", word).lower(), plain, n=1, cutoff=0.6)
    return plain[close[0]] if close else ""


def is_number(sql_type: str) -> bool:
    """Whether a DuckDB type is numeric."""
    return bool(_NUMBER_TYPES.fullmatch(sql_type))


def is_time(sql_type: str) -> bool:
    """Whether a DuckDB type is a date or time."""
    return bool(_TIME_TYPES.fullmatch(sql_type))


def native_column(name: str, sql_type: str) -> RawColumn:
    """A column of a typed file. Whole floats become text without `.0`: ids that once met a null are ids still."""
    column = quoted(name)
    if sql_type == "VARCHAR":
        return text_column(name, "VARCHAR", column)
    text = f"{column}::varchar"
    if sql_type in ("DOUBLE", "FLOAT"):
        whole = f"{column} = trunc({column}) and abs({column}) < 9007199254740992"
        text = f"case when {whole} then {column}::bigint::varchar when not isnan({column}) then {text} end"
    elif sql_type.endswith(("[]", ")")) and not is_number(sql_type):
        text = column
    present = f"{column} is not null"
    if sql_type in ("DOUBLE", "FLOAT"):
        present += f" and not isnan({column})"
    number = f"nullif({column}::double, 'nan'::double)" if is_number(sql_type) else ""
    return RawColumn(name, sql_type, text, column, number, present)


def json_column(name: str, sql: str) -> RawColumn:
    """A column of JSON values."""
    return RawColumn(name, "JSON", sql, sql, "", f"({sql}) is not null")


def row_json(columns: list[str]) -> str:
    """SQL of a JSON object of all these columns."""
    return "to_json(struct_pack(" + ", ".join(f"{quoted(c)} := {quoted(c)}" for c in columns) + "))"


def text_column(name: str, sql_type: str, text: str, *, style: NumberStyle = PLAIN, typed: str = "") -> RawColumn:
    """A column of a text file: `text` is its SQL, `sql_type` the type found by sniffing."""
    clean = f"nullif(trim({text}), '')"
    number = number_or_fail_sql(clean, style) if sql_type == "VARCHAR" or is_number(sql_type) else ""
    if not typed:
        typed = text if sql_type == "VARCHAR" else f"({clean})::{sql_type}"
    shown = text
    if sql_type in ("DOUBLE", "FLOAT"):
        shown = f"case when regexp_full_match({text}, '-?[0-9]+\\.0+') then split_part({text}, '.', 1) else {text} end"
    return RawColumn(name, sql_type, shown, typed, number, f"{clean} is not null", text_based=True)


def trimmed_sql(text: str) -> str:
    """SQL of a text without blanks around it, null if nothing is left. Most texts have none, so they are looked at
    first: trimming costs ten times as much."""
    blank = f"{text} < '!' or {text}[-1] < '!'"
    return f"case when {blank} then nullif(trim({text}, ' ' || chr(9) || chr(10) || chr(13)), '') else {text} end"
