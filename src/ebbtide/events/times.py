"""Raw times as SQL: whatever a shop writes, out comes UTC microseconds, or null.

Times without a zone are in the session's zone (`set TimeZone`, the shop's). Numbers are epoch seconds, milli-, micro-
or nanoseconds by their size, or `yyyymmdd`. Texts are recognised one by one where only one reading is possible;
`31/12/2024` against `12/31/2024` is decided by the whole file (`DayOrder`).
"""

from __future__ import annotations

from typing import Literal

from ebbtide.events.expressions import literal
from ebbtide.events.raw import is_number

DayOrder = Literal["", "day", "month"]
"""Whether the day or the month stands first in `1/2/2024`; "" where the file was not asked or does not say."""

_CLEAR_FORMATS = (
    "%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d",
    "%Y.%m.%d %H:%M:%S", "%Y.%m.%d %H:%M", "%Y.%m.%d",
    "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p",
    "%Y年%m月%d日 %H:%M:%S", "%Y年%m月%d日 %H时%M分%S秒", "%Y年%m月%d日 %H:%M", "%Y年%m月%d日",
    "%d %b %Y %H:%M:%S", "%d %b %Y %H:%M", "%d %b %Y", "%d %B %Y %H:%M:%S", "%d %B %Y",
    "%d-%b-%Y %H:%M:%S", "%d-%b-%Y", "%d-%b-%y", "%d%b%Y",
    "%b %d, %Y %H:%M:%S", "%b %d, %Y %I:%M:%S %p", "%b %d, %Y %I:%M %p", "%b %d, %Y", "%B %d, %Y",
    "%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S",
    "%Y%m%dT%H%M%S", "%Y%m%d %H:%M:%S",
)  # fmt: skip
_CLOCKS = (
    "", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p",
    ", %H:%M", ", %H:%M:%S", ", %I:%M %p", ", %I:%M:%S %p", " %H:%M Uhr", ", %H:%M Uhr",
)  # fmt: skip
_OFFSET_FORMATS = ("%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%Y/%m/%d %H:%M:%S %z")
UTC_NAMES = frozenset(["UTC", "Etc/UTC", "Zulu", "Etc/Zulu"])
UNCLEAR_PATTERN = r"[0-9]{1,2}[/.-][0-9]{1,2}[/.-]([0-9]{4}|[0-9]{2})(\D.*)?"
_SHORT_YEAR = r"[0-9]{1,2}[/.-][0-9]{1,2}[/.-][0-9]{2}(\D.*)?"
_EPOCH = "0|[0-9]{8,19}([.][0-9]+)?"


def microseconds_sql(
    value: str, sql_type: str, *, time_format: str = "", order: DayOrder = "", utc: bool = False
) -> str:
    """SQL of UTC microseconds (BIGINT, null if unreadable) for SQL `value` of a DuckDB type; `utc` if the session's
    zone is UTC."""
    if sql_type.startswith("TIMESTAMP WITH TIME ZONE"):
        return f"epoch_us({value})"
    if sql_type == "DATE" or sql_type.startswith("TIMESTAMP"):
        return f"epoch_us({value}::timestamp)" if utc else f"try(epoch_us({value}::timestamp::timestamptz))"
    if sql_type in ("DOUBLE", "FLOAT"):
        return _from_number(f"try_cast({value} as decimal(38, 6))")
    if is_number(sql_type):
        return _from_number(f"{value}::hugeint")
    return _from_text(f"nullif(trim({value}::varchar), '')", time_format, order)


def _from_number(value: str) -> str:
    """Epoch by magnitude: below 1e11 seconds, 1e14 milli-, 1e17 microseconds, else nano; `yyyymmdd` where it is a day.

    Read as seconds, 19700101 to 21991231 would be days of August and September 1970: no shop's events.
    """
    x = f"({value})"
    whole = f"{x}::hugeint"
    day = f"try(epoch_us(strptime({whole}::varchar, '%Y%m%d')::timestamptz))"
    return f"""try(case when {x} between 19000101 and 21991231 and {whole} % 100 between 1 and 31
            and {whole} // 100 % 100 between 1 and 12 then {day}
        when abs({x}) < 1e11 then ({x} * 1000000)::bigint
        when abs({x}) < 1e14 then ({x} * 1000)::bigint
        when abs({x}) < 1e17 then {x}::bigint
        else ({whole} // 1000)::bigint end)"""


def _from_text(text: str, time_format: str, order: DayOrder) -> str:
    if time_format:
        zone = "" if "%z" in time_format.lower() else "::timestamptz"
        return f"epoch_us(try_strptime({text}, {literal(time_format)}){zone})"
    stamp = f"epoch_us(try_strptime({text}, '%Y%m%d%H%M%S')::timestamptz)"
    number = f"""case when length({text}) = 14 and {text} < '22' then {stamp}
        else {_from_number(f"try_cast({text} as decimal(38, 6))")} end"""
    iso = f"epoch_us(try_cast({text} as timestamptz))"
    zoned = f"epoch_us(try_strptime({text}, [{', '.join(literal(f) for f in _OFFSET_FORMATS)}]))"
    clear = f"coalesce({iso}, {_any_format(text, _CLEAR_FORMATS)}, {zoned})"
    return f"""case when regexp_full_match({text}, {literal(_EPOCH)}) then {number}
        when regexp_full_match({text}, {literal(UNCLEAR_PATTERN)}) then {_from_unclear(text, order)}
        else {clear} end"""


def _from_unclear(text: str, order: DayOrder) -> str:
    if not order:
        return "null::bigint"
    short = f"regexp_full_match({text}, {literal(_SHORT_YEAR)})"
    full_year, short_year = (_any_format(text, _ordered_formats(order, year)) for year in ("%Y", "%y"))
    return f"case when {short} then {short_year} else {full_year} end"


def _any_format(text: str, formats: tuple[str, ...]) -> str:
    listed = ", ".join(literal(f) for f in formats)
    return f"epoch_us(try_strptime({text}, [{listed}])::timestamptz)"


def _ordered_formats(order: DayOrder, year: str) -> tuple[str, ...]:
    first, second = ("%d", "%m") if order == "day" else ("%m", "%d")
    return tuple(f"{first}{mark}{second}{mark}{year}{clock}" for mark in "/.-" for clock in _CLOCKS)
