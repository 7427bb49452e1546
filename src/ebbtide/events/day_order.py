"""`1/2/2024`: does the day or the month stand first? The whole file decides, or the user is asked."""

from __future__ import annotations

import duckdb

from ebbtide.core.errors import SourceError
from ebbtide.events.binding import Bound
from ebbtide.events.expressions import literal
from ebbtide.events.mapping import values_sql
from ebbtide.events.raw import RawTable
from ebbtide.events.times import UNCLEAR_PATTERN, DayOrder

_SAMPLE_ROWS = 20_000


def needs_order(connection: duckdb.DuckDBPyConnection, raw: RawTable, bound: Bound, *, whole: bool = False) -> bool:
    """Whether times of the form `1/2/2024` occur, in the first rows or in the whole file."""
    if bound.type != "VARCHAR":
        return False
    limit = "" if whole else f" limit {_SAMPLE_ROWS}"
    matches = f"regexp_full_match(trim(x), {literal(UNCLEAR_PATTERN)})"
    sql = f"select coalesce(bool_or({matches}), false) from ({values_sql(raw, bound)}{limit})"
    return bool(connection.execute(sql).fetchall()[0][0])


def decide_order(connection: duckdb.DuckDBPyConnection, raw: RawTable, bound: Bound, column: str) -> DayOrder:
    """The order that all such times of the file share: a number above 12 can only be a day.

    Dates with dots have the day first. Raises SourceError, asking for `time_format`, if no row tells, or if rows
    contradict each other.
    """
    sql = f"""select max(a), max(b), coalesce(bool_or(a <> b), false), bool_and(dots) from (
        select regexp_extract(x, '^\\s*([0-9]+)', 1)::int as a, regexp_extract(x, '^\\s*[0-9]+[/.-]([0-9]+)', 1)::int as b,
            regexp_matches(x, '^\\s*[0-9]+[.]') as dots
        from ({values_sql(raw, bound)}) where regexp_full_match(trim(x), {literal(UNCLEAR_PATTERN)}))"""
    first, second, differ, dots = connection.execute(sql).fetchall()[0]
    if first is None or dots:
        return "day"
    if first > 12 and second > 12:
        raise _mixed(raw, column)
    if first > 12 or not (second > 12 or differ):
        return "day"
    if second > 12:
        return "month"
    raise SourceError(
        "{file}: no time of {column} tells whether the day or the month stands first: set `time_format`, for example "
        "`%d/%m/%Y %H:%M` or `%m/%d/%Y`",
        "{file}：{column} 的时间都看不出日在前还是月在前：请设置 `time_format`，例如 `%d/%m/%Y %H:%M` 或 `%m/%d/%Y`",
        file=raw.file.name,
        column=column,
    )


def _mixed(raw: RawTable, column: str) -> SourceError:
    return SourceError(
        "{file}: some times of {column} have the day first and others the month: split the file, or set `time_format` "
        "to keep one kind (the other goes to quarantine)",
        "{file}：{column} 中有的时间日在前，有的月在前：请拆分文件，或设置 `time_format` 只保留一种（另一种进入隔离区）",
        file=raw.file.name,
        column=column,
    )
