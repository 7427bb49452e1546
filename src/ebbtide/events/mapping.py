"""From raw columns to canonical ones: a source's SQL expressions, checked and joined to one query.

The query has four layers, each a subquery of the next: the views of the raw columns (`RawColumn`), the expressions
(`e:NAME`), the canonical values (`v:NAME`) with a flag whether a raw value was there (`p:NAME`), and the reason why
the row is refused. An expression that fails on one row gives null there, never an error of the whole file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb
import polars as pl

from ebbtide.core.config import ShopConfig, SourceConfig
from ebbtide.core.errors import SourceError
from ebbtide.core.language import Text, join_texts
from ebbtide.core.windows import parse_duration
from ebbtide.events.expressions import BadExpressionError, Expression, Reference, Use, parse_expression, quoted
from ebbtide.events.raw import RawColumn, RawTable, is_number, nearest, number_sql
from ebbtide.events.schema import EVENT_TYPES, TABLE_COLUMNS
from ebbtide.events.times import DayOrder, microseconds_sql
from ebbtide.events.validate import latest_us, reason_sql, required_columns

_DEFAULT_USE: dict[str, Use] = {"text": "text", "type": "text", "number": "number", "time": "any", "flag": "any"}
_LISTED_TYPES = ", ".join(f"'{t}'" for t in EVENT_TYPES)
_US_A_SECOND = 1_000_000


@dataclass(frozen=True)
class Columns:
    """What a source asks for: canonical column -> SQL, a filter, and which columns may be left out if the file
    has nothing for them (those of a preset)."""

    table: str
    columns: Mapping[str, str]
    where: str = ""
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Bound:
    """An expression that DuckDB accepts over the views, its result type, and the views of its columns."""

    sql: str
    type: str
    views: tuple[tuple[RawColumn, str], ...]
    plain: bool


def kind_of(table: str, column: str) -> str:
    """How a canonical column is read: text, type, number, time, flag or json."""
    if column in ("type", "properties"):
        return {"type": "type", "properties": "json"}[column]
    named = {pl.Float64: "number", pl.Boolean: "flag", pl.Datetime: "time", pl.String: "text"}
    return named[type(TABLE_COLUMNS[table][column])]


def mapped_query(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    wanted: Columns,
    source: SourceConfig,
    shop: ShopConfig,
    *,
    now: datetime,
    order: DayOrder = "",
) -> str:
    """The SQL that turns the raw table into canonical rows, in the order of the file.

    Columns out: `kept` (the filter holds), `reason` (null: good), `copy` (hash of the whole raw row, only if exact
    duplicates are dropped), then the canonical columns; times as BIGINT UTC microseconds.
    Raises SourceError with every problem of the mapping.
    """
    bound = bind_columns(connection, raw, wanted)
    kinds = {name: kind_of(wanted.table, name) for name in bound if name}
    views = {(c.name, v): c.sql(v) for b in bound.values() for c, v in b.views}
    present = {c.name: c.present for b in bound.values() for c, _ in b.views}
    first = [f"{sql} as {_view(name, view)}" for (name, view), sql in views.items()]
    first += [f"({sql}) as {_view(name, 'present')}" for name, sql in present.items()]
    first += [f"{raw.broken} as broken"] if raw.broken else []
    if source.drop_exact_duplicates:
        first.append(f"hash({', '.join(quoted(c.name) for c in raw.columns)}) as copy")
    passed = (["broken"] if raw.broken else []) + (["copy"] if source.drop_exact_duplicates else [])
    second = passed + [f"try({b.sql}) as {_name('e', n)}" for n, b in bound.items() if n]
    second += [f"{_presence(b, kinds[n])} as {_name('f', n)}" for n, b in bound.items() if n]
    second.append(f"{_odd(bound, kinds)} as odd")
    second.append(f"{_kept(bound.get(''))} as kept")
    third = [*passed, "odd", "kept"]
    for name, b in bound.items():
        if name:
            third += _canonical(name, kinds[name], b, source, order)
    latest = latest_us(now)
    checked = {n: "text" if k == "type" else k for n, k in kinds.items()}
    reason = reason_sql(wanted.table, checked, currency=shop.currency, latest=latest, broken=bool(raw.broken))
    out = _output(wanted.table, kinds, shop)
    copy = ", copy" if source.drop_exact_duplicates else ""
    return f"""select kept, {reason} as reason{copy}, {", ".join(out)} from (select {", ".join(third)} from
        (select {", ".join(second)} from (select {", ".join(first) or "1"} from {raw.relation})))"""


def bind_columns(connection: duckdb.DuckDBPyConnection, raw: RawTable, wanted: Columns) -> dict[str, _Bound]:
    """Check every expression against the file. The filter stands under the name "".

    Raises SourceError with all problems at once: targets that are no canonical column, required ones without an
    expression, SQL that cannot be read, raw columns that the file lacks (with the nearest name).
    """
    problems = _target_problems(wanted)
    bound: dict[str, _Bound] = {}
    asked = {**wanted.columns, **({"": wanted.where} if wanted.where.strip() else {})}
    for name, sql in asked.items():
        if name and name not in TABLE_COLUMNS[wanted.table]:
            continue
        try:
            expression = parse_expression(sql)
        except BadExpressionError as fault:
            problems.append(_bad_sql(name, str(fault)))
            continue
        missing = sorted({r.name for r in expression.references if raw.find(r.name) is None})
        if missing and name in wanted.optional and name not in required_columns(wanted.table):
            continue
        if missing:
            problems += [_missing_column(raw, name, column) for column in missing]
            continue
        found = _bind(connection, raw, expression, _default_use(wanted.table, name))
        if isinstance(found, _Bound):
            bound[name] = found
        elif name not in wanted.optional:
            problems.append(_bad_sql(name, found))
    if problems:
        raise SourceError("{file}: {problems}", "{file}：{problems}", file=raw.file.name, problems=join_texts(problems))
    return bound


def _default_use(table: str, name: str) -> Use:
    return _DEFAULT_USE.get(kind_of(table, name), "any") if name else "any"


def _bind(connection: duckdb.DuckDBPyConnection, raw: RawTable, expression: Expression, default: Use) -> _Bound | str:
    """Bind with the views that fit best, else with any that DuckDB accepts; a text is DuckDB's complaint."""
    complaint = ""
    uses: tuple[Use, ...] = ("any", "text", "number")
    if expression.is_plain and default == "any":
        uses = ("text", "any") if _is_text(raw, expression) else ("any",)
    else:
        uses = (default, *(u for u in uses if u != default))
    for use in uses:
        chosen = {r: _column(raw, r).view(r.use, use) for r in expression.references}
        names = {r: f"{view}:{_column(raw, r).name}" for r, view in chosen.items()}
        sql = expression.rename(names.__getitem__)
        views = tuple(dict.fromkeys((_column(raw, r), view) for r, view in chosen.items()))
        listed = ", ".join(f"{c.sql(v)} as {_view(c.name, v)}" for c, v in views) or "1"
        try:
            kind = connection.execute(
                f"describe select try({sql}) as x from (select {listed} from {raw.relation})"
            ).fetchall()[0][1]
            return _Bound(sql, str(kind), views, expression.is_plain)
        except duckdb.Error as fault:
            complaint = complaint or re.sub(r"\b(text|typed|number):", "", str(fault).splitlines()[0])
    return complaint


def _is_text(raw: RawTable, expression: Expression) -> bool:
    return _column(raw, expression.references[0]).text_based


def _column(raw: RawTable, reference: Reference) -> RawColumn:
    found = raw.find(reference.name)
    if found is None:
        raise SourceError("no column {name}", "没有列 {name}", name=reference.name)
    return found


def _view(column: str, view: str) -> str:
    return quoted(f"{view}:{column}")


def _name(layer: str, canonical: str) -> str:
    return quoted(f"{layer}:{canonical}")


def _failed(b: _Bound) -> list[str]:
    """SQL conditions under which the expression failed on a row, though the raw values were there."""
    lost = [
        f"({_view(c.name, 'present')} and {_view(c.name, v)} is null)"
        for c, v in b.views
        if (v == "number" or (v == "typed" and c.text_based and c.type != "VARCHAR"))
    ]
    return lost if b.plain else [*lost, f"try(({b.sql}) is null) is null"]


def _presence(b: _Bound, kind: str) -> str:
    """Whether there was a raw value, readable or not."""
    tests = [f"try({b.sql}) is not null"]
    if kind in ("number", "time"):
        tests += _failed(b)
    if b.plain:
        tests = [f"{_view(b.views[0][0].name, 'present')}"]
    return f"coalesce({' or '.join(tests)}, false)"


def _odd(bound: Mapping[str, _Bound], kinds: Mapping[str, str]) -> str:
    """Whether an expression for which no reason of its own exists failed on the row."""
    tests = [t for n, b in bound.items() if kinds.get(n) not in ("number", "time") for t in _failed(b)]
    return f"coalesce({' or '.join(dict.fromkeys(tests))}, false)" if tests else "false"


def _kept(where: _Bound | None) -> str:
    """A row whose filter cannot be evaluated is kept, and refused with a reason."""
    if where is None:
        return "true"
    return f"coalesce(try(({where.sql})::boolean), {' or '.join(_failed(where)) or 'false'}, false)"


def _canonical(name: str, kind: str, b: _Bound, source: SourceConfig, order: DayOrder) -> list[str]:
    value, present = _name("e", name), _name("f", name)
    text = f"nullif(trim({value}::varchar, ' \t\r\n'), '')"
    if kind == "time":
        sql = microseconds_sql(value, b.type, time_format=source.time_format, order=order)
    elif kind == "number":
        as_number = number_sql(text, source.decimal) if b.type == "VARCHAR" else f"try_cast({value} as double)"
        sql = f"nullif({as_number}, 'nan'::double)"
    elif kind == "flag":
        sql = f"try_cast({text} as boolean)" if not is_number(b.type) else f"({value} <> 0)"
    elif kind == "json":
        sql = text if b.type in ("VARCHAR", "JSON") else f"to_json({value})::varchar"
    else:
        sql = text
    if kind in ("text", "type", "json"):
        return [f"{sql} as {_name('v', name)}", f"({sql} is not null) as {_name('p', name)}"]
    return [f"{sql} as {_name('v', name)}", f"{present} as {_name('p', name)}"]


def _output(table: str, kinds: Mapping[str, str], shop: ShopConfig) -> list[str]:
    """The canonical columns of the result, in the order of the schema."""
    out = {name: _name("v", name) for name in TABLE_COLUMNS[table] if name in kinds}
    if table == "events":
        kind = "lower(" + _name("v", "type") + ")"
        known = f"{kind} in ({_LISTED_TYPES})"
        out["type"] = f"case when {known} then {kind} else 'custom' end"
        raw_name = f"case when not {known} then json_object('raw_type', {_name('v', 'type')}) end"
        kept = out.get("properties")
        merged = f"json_merge_patch({kept}, {raw_name})::varchar" if kept else f"{raw_name}::varchar"
        out["properties"] = f"case when {known} then {kept or 'null'} else coalesce({merged}, {kept or 'null'}) end"
    if table in ("events", "exposures"):
        lag = int(parse_duration(shop.arrival_lag).total_seconds() * _US_A_SECOND)
        late = f"{_name('v', 'occurred_at')} + {lag}"
        out["ingested_at"] = f"coalesce({out['ingested_at']}, {late})" if "ingested_at" in out else late
    if "currency" in out:
        out["currency"] = f"upper({out['currency']})"
    return [f"{sql} as {quoted(name)}" for name, sql in out.items()]


def _target_problems(wanted: Columns) -> list[Text]:
    known = TABLE_COLUMNS[wanted.table]
    problems = [_unknown_target(wanted.table, name) for name in wanted.columns if name not in known]
    needed = [*required_columns(wanted.table), *(["type"] if wanted.table == "events" else [])]
    for name in needed:
        if name not in wanted.columns:
            hint = (
                Text(", for example type = \"'order'\"", "，例如 type = \"'order'\"")
                if name == "type"
                else Text("", "")
            )
            problems.append(
                Text("the mapping has no `{name}`{hint}", "映射缺少 `{name}`{hint}").format(name=name, hint=hint)
            )
    return problems


def _unknown_target(table: str, name: str) -> Text:
    close = nearest(name, list(TABLE_COLUMNS[table]))
    hint = Text(f" (did you mean `{close}`?)", f"（是否想写 `{close}`？）") if close else Text("", "")
    return Text(
        "`{name}` is no canonical column of {table}{hint}; they are {known}",
        "`{name}` 不是 {table} 的规范列{hint}；可用的有 {known}",
    ).format(name=name, table=table, hint=hint, known=", ".join(TABLE_COLUMNS[table]))


def _missing_column(raw: RawTable, target: str, column: str) -> Text:
    close = raw.nearest(column)
    hint = Text(f"; did you mean `{close}`?", f"；是否想写 `{close}`？") if close else Text("", "")
    return Text(
        "`{column}` (asked for by {target}) is not a column of {file}; its columns are {columns}{hint}",
        "{target} 所用的 `{column}` 不是 {file} 的列；其列为 {columns}{hint}",
    ).format(column=column, target=target or "where", file=raw.file.name, columns=_listed(raw.columns), hint=hint)


def _listed(columns: Iterable[RawColumn]) -> str:
    names = [c.name for c in columns]
    return ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")


def _bad_sql(target: str, complaint: str) -> Text:
    return Text("the SQL of `{target}` is not valid: {why}", "`{target}` 的 SQL 无效：{why}").format(
        target=target or "where", why=complaint
    )
