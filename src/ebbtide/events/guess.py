"""The guesses of `init`: which raw column is which, judged by its name and by a sample of its values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import duckdb

from ebbtide.core.language import Text
from ebbtide.events.expressions import literal, quoted
from ebbtide.events.guess_decimal import NUMBERS
from ebbtide.events.guess_names import COLUMN_NAMES, event_type_of, match
from ebbtide.events.raw import RawColumn, RawTable
from ebbtide.events.schema import TABLE_COLUMNS
from ebbtide.events.source import load_preset, preset_names
from ebbtide.events.times import DayOrder, microseconds_sql

SAMPLE_ROWS = 20_000
_MOSTLY = 0.9
_EXACT = 0.9
_HALF = 0.6
_SOME_REFUNDS = 0.4
_KINDS_OF_TYPE = 60
_ORDERS: tuple[DayOrder, ...] = ("day", "month")
_TIMES = ("occurred_at", "ingested_at")


@dataclass(frozen=True)
class Sampled:
    """A raw column and what a sample says of it: shares of filled values, and of times,
    numbers and texts with digits among them."""

    column: RawColumn
    filled: float
    times: float
    numbers: float
    distinct: int
    digits: float


@dataclass(frozen=True)
class Guess:
    """A mapping for one file: table, canonical column -> SQL, filter, preset, and remarks worth a comment each.

    `doubtful`: raw columns that are called like one that is missing, but whose values do not fit. `unread`: columns called
    like a number whose values are none.
    """

    table: str
    columns: dict[str, str]
    where: str = ""
    preset: str = ""
    time_format: str = ""
    remarks: tuple[Text, ...] = ()
    doubtful: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The canonical columns without which the file is no table of events."""
        return [n for n in ("user_id", "occurred_at") if n not in self.columns]


def guess_mapping(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> Guess:
    """Guess the mapping of a file. What is not found is left out; `missing` tells what an events table would need."""
    preset = guess_preset(raw)
    if preset:
        return Guess("events", dict(load_preset(preset).columns), preset=preset)
    sampled = sample_columns(connection, raw)
    chosen = _choose(sampled)
    columns = {name: _sql_name(found.column.name) for name, found in chosen.items()}
    if "user_id" in columns and "occurred_at" in columns:
        guess = _finish_events(connection, raw, chosen, columns)
        return replace(guess, unread=_unread_numbers(sampled))
    if "item_id" in columns and "user_id" not in columns:
        return Guess("items", _only(columns, "items"))
    if "user_id" in columns and not _doubtful(sampled):
        return Guess("users", _only(columns, "users"))
    return Guess("events", _only(columns, "events"), doubtful=_doubtful(sampled))


def guess_preset(raw: RawTable) -> str:
    """The shipped preset whose signature columns the file has; "" if none."""
    names = {c.name.lower() for c in raw.columns}
    for name in preset_names():
        signature = load_preset(name).signature
        if signature and {s.lower() for s in signature} <= names:
            return name
    return ""


def sample_columns(connection: duckdb.DuckDBPyConnection, raw: RawTable) -> list[Sampled]:
    """Look at the first rows of every column that holds plain values."""
    plain = [c for c in raw.columns if not c.type.endswith(("[]", ")")) or c.type.startswith("DECIMAL")]
    plain = [c for c in plain if c.type not in ("STRUCT", "JSON", "MAP")]
    asked = []
    for c in plain:
        read = [
            microseconds_sql(c.text if c.text_based else c.typed, "VARCHAR" if c.text_based else c.type, order=order)
            for order in (_ORDERS if c.text_based else _ORDERS[:1])
        ]
        asked += [
            f"avg(({c.present})::int)",
            f"avg((coalesce({', '.join(read)}) is not null)::int) filter ({c.present})",
            f"avg((try({c.number}) is not null)::int) filter ({c.present})" if c.number else "0",
            f"approx_count_distinct({c.text})",
            f"avg((regexp_matches({c.text}, '[0-9]'))::int) filter ({c.present})" if c.text_based else "0",
        ]
    if not asked:
        return []
    sample = f"(select * from {raw.relation} limit {SAMPLE_ROWS})"
    found = connection.execute(f"select {', '.join(asked)} from {sample}").fetchall()[0]
    groups = [found[i : i + 5] for i in range(0, len(found), 5)]
    return [
        Sampled(c, float(filled), float(times or 0), float(numbers or 0), int(distinct), float(digits or 0))
        for c, (filled, times, numbers, distinct, digits) in zip(plain, groups, strict=True)
    ]


def _choose(sampled: list[Sampled]) -> dict[str, Sampled]:
    """The best raw column for each canonical one; a raw column serves once, the best match first."""
    scores = [
        (match(s.column.name, names) * (0.6 + 0.4 * s.filled), name, i)
        for name, names in COLUMN_NAMES.items()
        for i, s in enumerate(sampled)
        if match(s.column.name, names) and _plausible(name, s)
    ]
    chosen: dict[str, Sampled] = {}
    used: set[int] = set()
    for _, name, i in sorted(scores, key=lambda s: (-s[0], list(COLUMN_NAMES).index(s[1]), s[2])):
        if name not in chosen and i not in used:
            chosen[name] = sampled[i]
            used.add(i)
    return chosen


def _doubtful(sampled: list[Sampled]) -> tuple[str, ...]:
    """Columns called like a time that hold none."""
    names = COLUMN_NAMES["occurred_at"]
    return tuple(
        s.column.name for s in sampled if match(s.column.name, names) > _EXACT and not _plausible("occurred_at", s)
    )


def _plausible(name: str, s: Sampled) -> bool:
    if s.filled == 0:
        return False
    if name in _TIMES:
        return s.times >= _MOSTLY
    if name in NUMBERS:
        return s.numbers >= _MOSTLY
    if name == "type":
        return s.distinct <= _KINDS_OF_TYPE
    return True


def _finish_events(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, chosen: dict[str, Sampled], columns: dict[str, str]
) -> Guess:
    remarks: list[Text] = []
    kind, why = _type_sql(connection, raw, chosen, columns)
    remarks += why
    if "value" not in columns and {"quantity", "unit_price"} <= set(columns):
        columns["value"] = f"{columns['quantity']} * {columns['unit_price']}"
    elif "value" not in columns and "unit_price" in columns:
        price = columns["unit_price"]
        columns["value"] = price if kind == "'order'" else f"case when ({kind}) = 'order' then {price} end"
    columns["type"] = kind
    user = chosen["user_id"]
    where = ""
    if user.filled < 1:
        where = f"{columns['user_id']} is not null"
        remarks.append(
            Text(
                "{share} of the sampled rows have no user: guests, left out by `where`",
                "抽样行中有 {share} 没有用户：游客，已由 `where` 排除",
            ).format(share=_percent(1 - user.filled))
        )
    order = [n for n in TABLE_COLUMNS["events"] if n in columns]
    return Guess("events", {n: columns[n] for n in order}, where=where, remarks=tuple(remarks))


def _unread_numbers(sampled: list[Sampled]) -> tuple[str, ...]:
    """Columns called like an amount or a quantity that hold digits, of which too many cannot be read as numbers."""
    asked = [n for name in ("quantity", "unit_price", "value") for n in COLUMN_NAMES[name]]
    return tuple(
        s.column.name
        for s in sampled
        if match(s.column.name, tuple(asked)) > _HALF and s.filled > 0 and s.digits > _HALF and s.numbers < _MOSTLY
    )


def _type_sql(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, chosen: dict[str, Sampled], columns: dict[str, str]
) -> tuple[str, list[Text]]:
    """The SQL of the event type: from a column of known names, else orders, refunds told apart where there are any."""
    if "type" in chosen:
        column = chosen["type"].column
        listed = f"select distinct {column.text} as x from (select * from {raw.relation} limit {SAMPLE_ROWS})"
        names = sorted(str(v) for (v,) in connection.execute(listed).fetchall() if v is not None)
        known = {n: kind for n in names if (kind := event_type_of(n))}
        if known:
            cases = " ".join(f"when {literal(n)} then {literal(kind)}" for n, kind in known.items())
            return f"case {columns['type']} {cases} else {columns['type']} end", []
        remark = Text(
            "the values of `{column}` are no event names known here: say which is which with "
            "`case {column} when ... then 'order' ... end`; until then every row counts as an order",
            "`{column}` 的取值不是已知的事件名：请用 `case {column} when ... then 'order' ... end` 说明；在此之前每行都算订单",
        ).format(column=column.name)
        return "'order'", [remark]
    if "rating" in chosen and not {"value", "quantity", "unit_price", "order_id"} & set(chosen):
        return "'review'", []
    return _refund_sql(connection, raw, chosen, columns), []


def _refund_sql(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, chosen: dict[str, Sampled], columns: dict[str, str]
) -> str:
    sample = f"(select * from {raw.relation} limit {SAMPLE_ROWS})"
    if "order_id" in chosen:
        text = chosen["order_id"].column.text
        starts = f"avg(({text} like 'C%')::int), avg(regexp_full_match({text}, 'C?[0-9]+')::int)"
        cancelled, numbered = connection.execute(f"select {starts} from {sample}").fetchall()[0]
        if cancelled and cancelled < _SOME_REFUNDS and numbered >= _MOSTLY:
            return f"case when {columns['order_id']} like 'C%' then 'refund' else 'order' end"
    for name in ("value", "quantity"):
        if name in chosen:
            negative = f"avg((try({chosen[name].column.number}) < 0)::int)"
            share = connection.execute(f"select {negative} from {sample}").fetchall()[0][0]
            if share and share < _SOME_REFUNDS:
                return f"case when {columns[name]} < 0 then 'refund' else 'order' end"
    return "'order'"


def _percent(share: float) -> str:
    """A share above 0 in per cent, never as none.

    >>> _percent(0.0047), _percent(0.31), _percent(0.00002)
    ('0.5 %', '31 %', '< 0.1 %')
    """
    if share < 0.0005:
        return "< 0.1 %"
    return f"{share:.1%}".replace("%", " %") if share < 0.095 else f"{share:.0%}".replace("%", " %")


def _only(columns: dict[str, str], table: str) -> dict[str, str]:
    """The columns that the table knows; a time of a smaller table is the moment from which the row holds."""
    kept = {n: columns[n] for n in TABLE_COLUMNS[table] if n in columns}
    if "occurred_at" in columns and "valid_from" in TABLE_COLUMNS[table]:
        kept["valid_from"] = columns["occurred_at"]
    return kept


def _sql_name(name: str) -> str:
    """A column's name as SQL, quoted only where it must be.

    >>> _sql_name("Quantity"), _sql_name("Customer ID")
    ('Quantity', '"Customer ID"')
    """
    plain = name.isidentifier() and name.isascii() and name.lower() not in _RESERVED
    return name if plain else quoted(name)


_RESERVED = frozenset(
    [*["all", "and", "any", "as", "asc", "at", "between", "by", "case", "cast", "check", "collate", "column", "constraint", "create", "cross"],
     *["current_date", "current_time", "current_timestamp", "default", "desc", "distinct", "do", "else", "end", "except", "false", "fetch", "for"],
     *["foreign", "from", "full", "grant", "group", "having", "in", "inner", "intersect", "into", "is", "isnull", "join", "leading", "left", "like", "limit"],
     *["natural", "not", "notnull", "null", "offset", "on", "only", "or", "order", "outer", "overlaps", "primary", "references", "right", "select", "some"],
     *["table", "then", "to", "trailing", "true", "union", "unique", "using", "values", "when", "where", "window", "with"]]
)  # fmt: skip
