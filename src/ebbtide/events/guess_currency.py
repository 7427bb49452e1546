"""`12,50 €` or `$1,299.00`: which currency sign stands beside the amounts of a file? Amounts with two are left and told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from ebbtide.core.language import Text
from ebbtide.events.expressions import literal
from ebbtide.events.guess_names import COLUMN_NAMES, match
from ebbtide.events.raw import RawColumn, RawTable

_SAMPLE_ROWS = 20_000
_SHAPES = 1000
_AMOUNTS = ("unit_price", "value", "discount")
_CODES = (
    *["AED", "ARS", "AUD", "BGN", "BRL", "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EGP", "EUR", "GBP", "HKD", "HUF"],
    *["IDR", "ILS", "INR", "JPY", "KRW", "MXN", "MYR", "NGN", "NOK", "NZD", "PEN", "PHP", "PKR", "PLN", "RMB", "RON", "RUB"],
    *["SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "VND", "ZAR"],
    *["元", "圆", "円", "원", "kr.", "kr", "zł", "Kč", "Ft", "lei", "лв.", "лв", "руб.", "руб", "р.", "Fr.", "Fr", "TL", "RM", "Rp", "Rs.", "Rs"],
)  # fmt: skip
_SYMBOL = "[A-Z]{0,3}[$¢£¤¥฿₡-⃀￠￡￥￦]"
_SIGN = f"{_SYMBOL}|{'|'.join(map(re.escape, _CODES))}"
_SHAPE = re.compile(rf"[-−+(]?\s*(?P<front>{_SIGN})?\s*[-−+]?\s*0?(?:[.,'’\s]*0)+[.,]?\s*(?P<back>{_SIGN})?\s*[-−)]?")


@dataclass(frozen=True)
class CurrencySign:
    """The currency sign of a file's amounts, and a remark where the user should know of it."""

    sign: str = ""
    remark: Text | None = None


def guess_currency_sign(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> CurrencySign:
    """The one sign or code beside the amounts of a delimited text file; none where there is none, or several.

    Columns are those called like an amount. The file is read whole only if a sign stands in its first rows.
    """
    columns = [c for c in raw.columns if c.text_based and any(match(c.name, COLUMN_NAMES[n]) for n in _AMOUNTS)]
    columns = [c for c in columns if _signs(connection, raw, c, _SAMPLE_ROWS)]
    found = {c.name: _signs(connection, raw, c, None) for c in columns}
    signs = sorted(set().union(*found.values()))
    if not signs:
        return CurrencySign()
    if len(signs) > 1:
        return CurrencySign("", _told(_SEVERAL, list(found), signs))
    return CurrencySign(signs[0], _told(_ONE, list(found), signs))


def _signs(connection: duckdb.DuckDBPyConnection, raw: RawTable, column: RawColumn, rows: int | None) -> set[str]:
    """The signs that stand beside the numbers of a column; both kinds of yen sign are one."""
    within = f"(select * from {raw.relation} limit {rows})" if rows else raw.relation
    shape = f"regexp_replace(trim({column.text}), '[0-9]+', '0', 'g')"
    listed = f"select {shape} as x from {within} where {column.present}"
    plain = literal("[-+]?[0.,]*")
    sql = f"select x from ({listed}) where not regexp_full_match(x, {plain}) group by x order by count(*) desc, x limit {_SHAPES}"
    signs = set[str]()
    for (text,) in connection.execute(sql).fetchall():
        if (fits := _SHAPE.fullmatch(text)) and bool(fits["front"]) != bool(fits["back"]):
            signs.add((fits["front"] or fits["back"]).replace("￥", "¥"))
    return signs


_ONE = Text(
    "{columns}: amounts with `{signs}` beside them, as `currency_sign` says; one with another sign goes to quarantine",
    "{columns}：金额旁带有 `{signs}`，已由 `currency_sign` 说明；带其他符号的金额进入隔离区",
)
_SEVERAL = Text(
    "{columns}: amounts in several currencies (`{signs}`), which are never added up, so they are not read: set `currency_sign` "
    "to keep one and map the column as `value` (the others go to quarantine), or convert them in the mapping",
    "{columns}：金额使用了多种货币（`{signs}`），不同货币不会相加，因此未读取：请设置 `currency_sign` 只保留一种并将该列映射为 "
    "`value`（其余进入隔离区），或在映射中换算",
)


def _told(remark: Text, columns: Sequence[str], signs: Sequence[str]) -> Text:
    listed = ", ".join(f"`{name}`" for name in columns).replace("\n", " ")
    return remark.format(columns=listed, signs="`, `".join(signs))
