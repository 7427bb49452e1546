"""The churn definition: read from config, said in words, kept as JSON."""

from __future__ import annotations

import polars as pl
import pytest

from ebbtide.churn.definition import ChurnDefinition, name_span
from ebbtide.churn.event_words import EVENT_WORDS, name_events
from ebbtide.core.errors import ConfigError
from ebbtide.core.settings import ChurnConfig
from ebbtide.core.windows import DAY_US
from ebbtide.events.schema import EVENT_TYPES


def read(**settings: object) -> ChurnDefinition:
    return ChurnDefinition.from_config(ChurnConfig(**settings))  # type: ignore[arg-type]


def test_the_default_config_is_the_default_definition() -> None:
    assert read() == ChurnDefinition()


@pytest.mark.parametrize(
    ("settings", "outcome", "eligible"),
    [
        ({"outcome": "order"}, ("order",), ("order",)),
        ({"outcome": ["refund", "order"]}, ("order", "refund"), ("order",)),
        ({"outcome": "order, refund", "eligible": "order, refund in 30d"}, ("order", "refund"), ("order", "refund")),
        ({"outcome": "any", "eligible": "any in 30d"}, ("any",), ("any",)),
        ({"outcome": ["order", "any"]}, ("any",), ("order",)),
    ],
)
def test_types_are_read_in_canonical_order_and_any_swallows_the_rest(
    settings: dict[str, object], outcome: tuple[str, ...], eligible: tuple[str, ...]
) -> None:
    definition = read(**settings)
    assert (definition.outcome, definition.eligible) == (outcome, eligible)


def test_lengths_are_read_in_any_unit() -> None:
    definition = read(horizon="2w", eligible="order in 36h", gap="1d")
    assert (definition.horizon_days, definition.eligible_days, definition.gap_days) == (14, 1.5, 1)
    assert (definition.horizon_us, definition.eligible_us, definition.gap_us) == (14 * DAY_US, 1.5 * DAY_US, DAY_US)
    assert definition.closing_us == 15 * DAY_US


def test_every_problem_is_reported_at_once_with_the_nearest_type() -> None:
    with pytest.raises(ConfigError) as caught:
        read(outcome="ordre", eligible="purchase in 0d", horizon="0d")
    told = str(caught.value)
    assert "churn.outcome: `ordre` is no event type (did you mean `order`?)" in told
    assert "churn.eligible: `purchase` is no event type" in told
    assert "churn.horizon: must be longer than zero" in told
    assert "churn.eligible: must be longer than zero" in told
    assert "是否想写 `order`" in caught.value.text.zh


def test_an_empty_outcome_is_an_error() -> None:
    with pytest.raises(ConfigError, match="name an event type, or any"):
        read(outcome=[])


def test_the_sentence_names_outcome_windows_and_gap() -> None:
    definition = read(outcome=["order", "refund"], horizon="60d", eligible="any in 120d", gap="7d")
    assert definition.describe().en == (
        "churned = no order or refund in the 60 days that begin 7 days after as_of, "
        "among users with an event in the 120 days before"
    )
    assert definition.describe().zh == (
        "流失 = as_of 之后第 7 天起的 60 天内没有订单或退款；考察对象：as_of 之前 120 天内有事件的用户"
    )


def test_json_gives_the_same_definition_back() -> None:
    definition = read(outcome=["order", "refund"], horizon="36h", eligible="any in 120d", gap="7d")
    assert ChurnDefinition.from_json(definition.to_json()) == definition


def test_config_lines_give_the_same_definition_back() -> None:
    definition = read(outcome=["order", "refund"], horizon="36h", eligible="order, support in 120d", gap="7d")
    assert read(**definition.config_lines()) == definition


def test_is_outcome_asks_the_type_column_or_any_expression() -> None:
    frame = pl.DataFrame({"type": ["order", "refund"], "kind": ["refund", "refund"]})
    definition = ChurnDefinition(outcome=("refund",))
    assert frame.filter(definition.is_outcome()).height == 1
    assert frame.filter(definition.is_outcome(pl.col("kind"))).height == 2
    assert frame.filter(ChurnDefinition(outcome=("any",)).is_outcome()).height == 2


def test_relevant_types_are_those_of_both_windows() -> None:
    assert ChurnDefinition(outcome=("refund",)).relevant_types == ("order", "refund")
    assert ChurnDefinition(eligible=("any",)).relevant_types == ("any",)


def test_every_event_type_has_words() -> None:
    assert set(EVENT_WORDS) == {*EVENT_TYPES, "any"}
    assert all(name_events([t]).zh for t in EVENT_TYPES)


def test_spans_are_named_in_days_or_hours() -> None:
    assert [name_span(d).en for d in (0, 1 / 24, 0.5, 1, 1.5)] == ["0 days", "1 hour", "12 hours", "1 day", "1.5 days"]
