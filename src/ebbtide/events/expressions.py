"""SQL expressions of a mapping, taken apart: which raw columns they name and how each is used.

DuckDB's own parser does the work (`json_serialize_sql`), so whatever DuckDB accepts is understood, and a column may
be renamed without touching text between quotes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import duckdb

Use = Literal["text", "string", "number", "any"]
"""`text`: argument of a text function; `string`: compared with a string constant, or standing for one in a CASE; `number`: arithmetic or compared with
a number; `any`: nothing is known."""

_TEXT_FUNCTIONS = frozenset(
    [
        "~~",
        "!~~",
        "~~*",
        "!~~*",
        "~",
        "||",
        "like_escape",
        "ilike_escape",
        "not_like_escape",
        "concat",
        "concat_ws",
        "upper",
        "lower",
        "trim",
        "ltrim",
        "rtrim",
        "left",
        "right",
        "substr",
        "substring",
        "replace",
        "split_part",
        "string_split",
        "strptime",
        "try_strptime",
        "contains",
        "starts_with",
        "prefix",
        "suffix",
        "regexp_matches",
        "regexp_replace",
        "regexp_extract",
        "regexp_full_match",
        "length",
        "strlen",
        "lpad",
        "rpad",
        "json_extract",
        "json_extract_string",
        "->>",
        "json_valid",
        "translate",
    ]
)
_NUMBER_FUNCTIONS = frozenset(["*", "/", "%", "//", "abs", "round", "floor", "ceil", "ceiling", "greatest", "least"])


class BadExpressionError(ValueError):
    """The text is no single SQL expression. The message is DuckDB's, in English."""


@dataclass(frozen=True)
class Reference:
    """One mention of a raw column: its name and what the expression around it takes it for."""

    name: str
    use: Use


@dataclass(frozen=True)
class Expression:
    """A parsed SQL expression.

    >>> e = parse_expression("case when InvoiceNo like 'C%' then 0 else Quantity * 2 end")
    >>> [(r.name, r.use) for r in e.references]
    [('InvoiceNo', 'text'), ('Quantity', 'number')]
    >>> e.rename(lambda r: "new_" + r.name)
    "CASE  WHEN ((new_InvoiceNo ~~ 'C%')) THEN (0) ELSE (new_Quantity * 2) END"
    """

    sql: str
    tree: str
    references: tuple[Reference, ...]

    @property
    def is_plain(self) -> bool:
        """Whether the expression is one bare column."""
        return bool(_statement(self.tree)["select_list"][0].get("class") == "COLUMN_REF")

    @property
    def texts(self) -> frozenset[str] | None:
        """All texts that can come out, where the expression is one text or a CASE between texts; else None.

        >>> sorted(parse_expression("case when a then 'x' else 'y' end").texts)
        ['x', 'y']
        """
        return _texts(_statement(self.tree)["select_list"][0])

    def rename(self, name_of: Callable[[Reference], str]) -> str:
        """The same expression as SQL text with every column renamed."""
        root = json.loads(self.tree)
        for node, use in _columns(root["statements"][0]["node"]["select_list"][0], "any", frozenset()):
            node["column_names"][0] = name_of(Reference(node["column_names"][0], use))
        text = str(_ask("select json_deserialize_sql(?::json)", json.dumps(root)))
        return text.removeprefix("SELECT ")


def parse_expression(sql: str) -> Expression:
    """Parse one SQL expression over raw columns.

    Raises BadExpressionError for a syntax error, several expressions, a subquery, a window or a `*`.
    """
    tree = str(_ask("select json_serialize_sql(?::varchar)", f"select {sql}"))
    found = json.loads(tree)
    if found["error"]:
        raise BadExpressionError(str(found["error_message"]))
    node = found["statements"][0]["node"]
    plain = len(found["statements"]) == 1 and node["type"] == "SELECT_NODE" and len(node["select_list"]) == 1
    if not plain or node["from_table"]["type"] != "EMPTY" or node["where_clause"] or node["modifiers"]:
        raise BadExpressionError("expected one expression over the columns of a row")
    _refuse(node["select_list"][0])
    seen = _columns(node["select_list"][0], "any", frozenset())
    references = tuple(Reference(n["column_names"][0], use) for n, use in seen)
    return Expression(sql, tree, references)


def quoted(name: str) -> str:
    """A name as SQL identifier.

    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL string.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _ask(sql: str, value: str) -> Any:
    return _parser().cursor().execute(sql, [value]).fetchall()[0][0]


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """A connection that only ever parses: it holds no data."""
    return duckdb.connect()


def _statement(tree: str) -> dict[str, Any]:
    node: dict[str, Any] = json.loads(tree)["statements"][0]["node"]
    return node


def _refuse(node: Any) -> None:
    if isinstance(node, dict):
        kind = node.get("class")
        if kind in ("SUBQUERY", "WINDOW", "STAR"):
            raise BadExpressionError(
                f"a {kind.lower()} cannot stand in a mapping: a row is mapped from its own columns"
            )
    for child in _children(node):
        _refuse(child)


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def _columns(node: Any, use: Use, bound: frozenset[str]) -> Iterator[tuple[dict[str, Any], Use]]:
    """Every column node with its use, in the order of the text; parameters of lambdas are no columns."""
    if isinstance(node, dict) and "class" in node:
        if node["class"] == "COLUMN_REF":
            if node["column_names"][0].lower() not in bound:
                yield node, use
            return
        if node["class"] == "LAMBDA":
            bound = bound | {n["column_names"][0].lower() for n, _ in _columns(node["lhs"], "any", frozenset())}
        use = _use_below(node)
    for child in _children(node):
        yield from _columns(child, use, bound)


def _use_below(node: dict[str, Any]) -> Use:
    kind = node.get("class")
    if kind == "FUNCTION":
        name = str(node.get("function_name", "")).lower()
        return "text" if name in _TEXT_FUNCTIONS else "number" if name in _NUMBER_FUNCTIONS else "any"
    if kind == "CAST" and node.get("type_expr", {}).get("type_name", "").lower() in ("varchar", "text", "string"):
        return "text"
    if node.get("type") in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
        return "text"
    if kind in ("COMPARISON", "BETWEEN", "CASE") or node.get("type") in ("COMPARE_IN", "OPERATOR_COALESCE"):
        kinds = {c["literal"]["kind"] for c in _constants(node) if "literal" in c}
        return "string" if "STRING" in kinds else "number" if kinds & {"INTEGER", "NUMERIC"} else "any"
    return "any"


def _texts(node: dict[str, Any] | None) -> frozenset[str] | None:
    if node is None:
        return None
    if node.get("class") == "CONSTANT" and node.get("literal", {}).get("kind") == "STRING":
        return frozenset([str(node["literal"]["text"])])
    if node.get("class") != "CASE":
        return None
    branches = [_texts(n) for n in (*(c["then_expr"] for c in node["case_checks"]), node["else_expr"])]
    known = [b for b in branches if b is not None]
    return frozenset().union(*known) if len(known) == len(branches) else None


def _constants(node: Any) -> Iterator[dict[str, Any]]:
    """The constants that stand directly in a node, for CASE those of its branches."""
    for child in _children(node):
        if isinstance(child, dict) and "class" in child:
            if child["class"] == "CONSTANT":
                yield child
        else:
            yield from _constants(child)
