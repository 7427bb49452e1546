"""Conditions: SQL over a user's own row and nothing else; all that is wrong is said at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from ebbtide.actions.conditions import conditions_met
from ebbtide.core.errors import ConfigError

PROFILE = pl.DataFrame(
    {"user_id": ["a", "b", "c"], "orders": [1, 5, None], "band": ["high", "low", "high"], "country": ["DE", "FR", None]}
)
Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("who", "met"),
    [
        ("", [True, True, True]),
        ("orders >= 2", [False, True, False]),
        ("band = 'high' and coalesce(orders, 0) < 2", [True, False, True]),
        ("country in ('DE', 'AT')", [True, False, False]),
        ("Orders between 1 and 5", [True, True, False]),
    ],
)
def test_a_condition_is_met_by_whom_it_names(who: str, met: list[bool], make_actions: Make) -> None:
    """An unknown answer is a no."""
    assert conditions_met(PROFILE, make_actions({"name": "a", "who": who}))[:, 0].tolist() == met


def test_all_conditions_that_cannot_be_used_are_named_at_once(make_actions: Make) -> None:
    actions = make_actions(
        {"name": "one", "who": "oders > 2"}, {"name": "two", "who": "orders >"}, {"name": "three", "who": "orders + 1"}
    )
    with pytest.raises(ConfigError) as caught:
        conditions_met(PROFILE, actions)
    said = str(caught.value)
    assert "action one: `oders` is not a column of the profile (did you mean `orders`?)" in said
    assert "action two: the condition `orders >` cannot be used" in said
    assert "action three" in said
    assert "not yes or no" in said
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    "who",
    [
        "orders > (select 1)",
        "exists (from read_csv('/etc/passwd'))",
        "true; drop table profile",
        "row_number() over () = 1",
        "(select content from read_text('/etc/passwd')) is not null",
    ],
)
def test_a_condition_reads_nothing_but_the_row(who: str, make_actions: Make) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        conditions_met(PROFILE, make_actions({"name": "a", "who": who}))


def test_no_value_of_a_customer_stands_in_the_message(make_actions: Make) -> None:
    """DuckDB would say which text it could not convert."""
    secret = PROFILE.with_columns(country=pl.lit("4711-secret"))
    with pytest.raises(ConfigError) as caught:
        conditions_met(secret, make_actions({"name": "a", "who": "country::int > 3"}))
    assert "secret" not in caught.value.text.en + caught.value.text.zh


def test_nobody_is_asked_and_answered(make_actions: Make) -> None:
    assert conditions_met(PROFILE.head(0), make_actions({"name": "a", "who": "orders > 1"})).shape == (0, 1)
