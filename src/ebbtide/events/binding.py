"""Checking a mapping against a file: every expression is parsed, its columns found, and tried on the views it needs.

The views stand in the SQL where the columns stood, so that a value that does not fit makes the expression fail, and
only where it is asked for: not in a branch of a CASE that is not taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import duckdb
import polars as pl

from ebbtide.core.errors import SourceError
from ebbtide.core.language import Text, join_texts
from ebbtide.events.expressions import BadExpressionError, Expression, Use, parse_expression, quoted
from ebbtide.events.raw import RawColumn, RawTable, nearest
from ebbtide.events.schema import EVENT_TYPES, TABLE_COLUMNS
from ebbtide.events.source import Source
from ebbtide.events.validate import required_columns

WHERE = ""
"""The name under which the filter of a source stands among its bound expressions."""

_DEFAULT_USE: dict[str, Use] = {"text": "text", "type": "text", "number": "number"}
_OWN_KINDS = {"type": "type", "properties": "json", "vector": "vector"}
_KINDS = {pl.Float64: "number", pl.Boolean: "flag", pl.Datetime: "time", pl.String: "text"}


@dataclass(frozen=True)
class Bound:
    """An expression that DuckDB accepts: its SQL over the raw relation, which raises on a value that does not fit, its
    result type, the column if it is nothing but one, and all texts that it can give, if they are known."""

    sql: str
    type: str
    column: RawColumn | None = None
    texts: frozenset[str] | None = None


def kind_of(table: str, column: str) -> str:
    """How a canonical column is read: text, type, number, time, flag, json or vector.

    >>> kind_of("events", "value"), kind_of("events", "properties")
    ('number', 'json')
    """
    if column in _OWN_KINDS:
        return _OWN_KINDS[column]
    return _KINDS[type(TABLE_COLUMNS[table][column])]


def bind_mapping(connection: duckdb.DuckDBPyConnection, raw: RawTable, source: Source) -> dict[str, Bound]:
    """Bind every expression of the source to the file, by canonical column; the filter stands under WHERE.

    A text that is the name of a column is that column, also where SQL would want quotes (`Customer ID`, `order`).

    Raises SourceError with all problems at once: targets that are no canonical column, required ones without an
    expression, SQL that cannot be read, raw columns that the file lacks (with the nearest name).
    """
    problems = _target_problems(source)
    bound: dict[str, Bound] = {}
    asked = {**source.columns, **({WHERE: source.where} if source.where.strip() else {})}
    for name, sql in asked.items():
        if name != WHERE and name not in TABLE_COLUMNS[source.table]:
            continue
        found = _bind_one(connection, raw, source, name, sql)
        if isinstance(found, Bound):
            bound[name] = found
        elif name not in source.optional or name in required_columns(source.table):
            problems += found
    if problems:
        listed = join_texts(problems)
        raise SourceError("{file}: {problems}", "{file}：{problems}", file=raw.file.name, problems=listed)
    return bound


def _bind_one(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, source: Source, name: str, sql: str
) -> Bound | list[Text]:
    column = raw.find(sql.strip())
    try:
        expression = parse_expression(sql if column is None else quoted(column.name))
    except BadExpressionError as fault:
        return [_bad_sql(name, str(fault))]
    missing = sorted({r.name for r in expression.references if raw.find(r.name) is None})
    if missing:
        return [_missing_column(raw, name, column) for column in missing]
    default: Use = _DEFAULT_USE.get(kind_of(source.table, name), "any") if name != WHERE else "any"
    bound = _bind(connection, raw, expression, default)
    return bound if isinstance(bound, Bound) else [_bad_sql(name, bound)]


def _bind(connection: duckdb.DuckDBPyConnection, raw: RawTable, expression: Expression, default: Use) -> Bound | str:
    """Bind with the views that fit best, else with any that DuckDB accepts; a text is DuckDB's complaint."""
    columns = {r.name: c for r in expression.references if (c := raw.find(r.name)) is not None}
    uses: tuple[Use, ...] = (default, *(u for u in ("any", "text", "number") if u != default))
    if expression.is_plain and default == "any":
        uses = ("text", "any") if columns[expression.references[0].name].text_based else ("any",)
    complaint = ""
    for use in uses:
        chosen = {r: columns[r.name].view(r.use, use) for r in expression.references}
        sql = expression.rename(lambda r, chosen=chosen: _placeholder(columns[r.name], chosen[r]))  # type: ignore[misc]
        for reference, view in chosen.items():
            column = columns[reference.name]
            sql = sql.replace(quoted(_placeholder(column, view)), f"({column.sql(view)})")
        try:
            tried = f"select try({sql}) as x from {raw.relation}"
            connection.execute(f"explain {tried}").fetchall()  # folds constants: `'cart'::double` fails here
            kind = str(connection.execute(f"describe {tried}").fetchall()[0][1])
            plain = columns[expression.references[0].name] if expression.is_plain else None
            return Bound(sql, kind, plain, expression.texts)
        except duckdb.Error as fault:
            complaint = complaint or str(fault).splitlines()[0]
    return complaint


def _placeholder(column: RawColumn, view: str) -> str:
    return f"{view}:{column.name}"


def _target_problems(source: Source) -> list[Text]:
    known = TABLE_COLUMNS[source.table]
    problems = [_unknown_target(source.table, name) for name in source.columns if name not in known]
    needed = [*required_columns(source.table), *(["type"] if source.table == "events" else [])]
    hints = {"type": Text(", for example type = \"'order'\"", "，例如 type = \"'order'\"")}
    problems += [
        Text("the mapping has no `{name}`{hint}", "映射缺少 `{name}`{hint}").format(
            name=name, hint=hints.get(name, Text("", ""))
        )
        for name in needed
        if name not in source.columns
    ]
    constant = source.columns.get("type", "").strip().strip("'")
    if source.table == "events" and f"'{constant}'" == source.columns.get("type", "").strip():
        close = nearest(constant, list(EVENT_TYPES))
        if constant not in EVENT_TYPES and close:
            problems.append(
                Text(
                    "`{found}` is no event type; did you mean `{close}`?",
                    "`{found}` 不是事件类型；是否想写 `{close}`？",
                ).format(found=constant, close=close)
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


def bound_names(bound: Mapping[str, Bound]) -> list[str]:
    """The canonical columns among the bound expressions."""
    return [name for name in bound if name != WHERE]
