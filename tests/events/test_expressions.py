"""SQL expressions: which columns they name, how they use them, and renaming without touching texts."""

from __future__ import annotations

import pytest

from ebbtide.events.expressions import BadExpressionError, literal, parse_expression, quoted


@pytest.mark.parametrize(
    ("sql", "uses"),
    [
        ("a", [("a", "any")]),
        ("Quantity * UnitPrice", [("Quantity", "number"), ("UnitPrice", "number")]),
        ("case when inv like 'C%' then 'refund' else 'order' end", [("inv", "text")]),
        ("case kind when 0 then 'a' else 'b' end", [("kind", "number")]),
        ("case kind when 'x' then 'a' else kind end", [("kind", "string"), ("kind", "string")]),
        ("a in ('x', 'y') or b not in (1, 2)", [("a", "string"), ("b", "number")]),
        ("a between 1 and 2", [("a", "number")]),
        ("a is null", [("a", "text")]),
        ("a::varchar || b", [("a", "text"), ("b", "text")]),
        ("make_timestamp(2014, split_part(v, '-', 1)::bigint, 1, 0, 0, 0)", [("v", "text")]),
        ("day >= date '2024-01-01'", [("day", "any")]),
        ("list_filter(items, lambda x: x.price > y)", [("items", "any"), ("y", "any")]),
        ("s.field", [("s", "any")]),
        ('"odd name" + "a""b"', [("odd name", "any"), ('a"b', "any")]),
        ("'a || b'", []),
    ],
)
def test_columns_and_their_uses(sql, uses):
    assert [(r.name, r.use) for r in parse_expression(sql).references] == uses


def test_renaming_touches_columns_only():
    """Not the text 'a', not the parameter of the lambda, and only the first part of a path."""
    expression = parse_expression("case when a = 'a' then s.a else list_filter(l, lambda a: a.x = s) end")
    assert expression.rename(lambda r: "raw " + r.name) == (
        """CASE  WHEN (("raw a" = 'a')) THEN ("raw s".a) ELSE list_filter("raw l", (lambda a: (a.x = "raw s"))) END"""
    )


def test_one_bare_column_is_plain():
    assert parse_expression('"Customer ID"').is_plain
    assert not parse_expression("Customer + 1").is_plain


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("a +", "syntax error"),
        ("", "without selection list"),
        ("a, b", "expected one expression"),
        ("a from t", "expected one expression"),
        ("a; drop table x", "only SELECT"),
        ("(select max(x) from t)", "a subquery cannot stand in a mapping"),
        ("row_number() over ()", "a window cannot stand in a mapping"),
        ("*", "a star cannot stand in a mapping"),
    ],
)
def test_what_is_no_expression_is_refused(sql, complaint):
    with pytest.raises(BadExpressionError, match=rf"(?i){complaint}"):
        parse_expression(sql)


def test_names_and_texts_are_quoted():
    assert quoted('say "x"') == '"say ""x"""'
    assert literal("it's") == "'it''s'"
