"""Numbers as a person would say them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.core.language import LANGUAGES, Language
from ebbtide.explain.amounts import say

SAID: list[tuple[float, str, str, str]] = [
    (0, "count", "0", "0"),
    (3, "count", "3", "3"),
    (12345, "count", "12,345", "12,345"),
    (1, "days", "1 day", "1 天"),
    (0, "days", "0 days", "0 天"),
    (0.4, "days", "less than a day", "不到 1 天"),
    (2.44, "days", "2.4 days", "2.4 天"),
    (46.8, "days", "47 days", "47 天"),
    (1, "minutes", "1 minute", "1 分钟"),
    (12.34, "minutes", "12 minutes", "12 分钟"),
    (0, "share", "0%", "0%"),
    (0.004, "share", "<1%", "<1%"),
    (0.254, "share", "25%", "25%"),
    (1, "share", "100%", "100%"),
    (-1e-17, "share", ">-1%", ">-1%"),
    (2.31, "ratio", "2.3", "2.3"),
    (0.0312, "number", "0.03", "0.03"),
    (0.00041, "number", "0.0004", "0.0004"),
    (0.996, "number", "1", "1"),
    (99.96, "number", "100", "100"),
    (-0.0, "number", "0", "0"),
    (0.0213, "per_hundred", "2.1", "2.1"),
    (-0.5, "change", "down 67%", "下降 67%"),  # a third of what was: (1 - 0.5) / (1 + 0.5)
    (0.2, "change", "up 50%", "上升 50%"),
    (0.8, "change", "9 times as much", "增至 9 倍"),
    (0, "change", "unchanged", "不变"),
    (1, "change", "up from nothing", "从零增加"),
    (-1, "change", "down to nothing", "降到零"),
    (0.0953, "log_change", "up 10%", "上升 10%"),
    (-0.0513, "log_level", "5% lower", "低 5%"),
    (-0.12, "points", "12 percentage points lower", "低 12 个百分点"),
    (0.8, "difference", "0.8 higher", "高 0.8"),
    (0.001, "difference", "unchanged", "不变"),
]


@pytest.mark.parametrize(("value", "unit", "en", "zh"), SAID)
def test_said_by_unit(value: float, unit: str, en: str, zh: str) -> None:
    assert (say(value, unit, "en"), say(value, unit, "zh")) == (en, zh)


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [
        (12.5, "", "12.50"),
        (12, "", "12"),
        (1234.56, "GBP", "£1,235"),
        (12.5, "CHF", "12.50 CHF"),
        (-3.2, "USD", "-$3.20"),
        (0.001, "EUR", "€0.00"),
        (-0.001, "EUR", "€0.00"),
        (8, "CNY", "¥8"),
    ],
)
def test_money_carries_a_sign_only_if_the_currency_is_known(value: float, currency: str, text: str) -> None:
    assert say(value, "money", "en", currency=currency) == text


@given(
    value=st.floats(allow_nan=False),
    unit=st.sampled_from(
        ["count", "days", "minutes", "money", "share", "ratio", "number", "change", "log_change", "points"]
    ),
    language=st.sampled_from(LANGUAGES),
)
def test_any_number_can_be_said(value: float, unit: str, language: Language) -> None:
    """Also infinite ones and those outside their unit's range."""
    assert say(value, unit, language).strip()
