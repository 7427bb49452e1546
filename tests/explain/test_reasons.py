"""Reasons: nothing is lost between the score and its families, and the named ones are the strongest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import DefectError
from ebbtide.core.language import Text
from ebbtide.explain.families import families_of, family_names
from ebbtide.explain.layout import Columns, layout_of
from ebbtide.explain.phrases import phrase_of
from ebbtide.explain.reasons import REASONS_TYPE, reason_column, reasons
from ebbtide.explain.selection import NEGLIGIBLE
from ebbtide.explain.sentences import sentence
from ebbtide.features.catalogue import default_catalogue
from ebbtide.features.declarations import (
    Calendar,
    Count,
    Decayed,
    Entropy,
    Feature,
    Gap,
    GapQuantile,
    Novelty,
    PerOrder,
    Recency,
    Shift,
    Sum,
    Trend,
    VisitTrait,
)

COLUMNS: Columns = (
    Recency("order"),
    GapQuantile("order", 0.5),
    Count("order", days=30),
    Decayed("order", 30.0),
    Count("search", days=30),
    Sum("value", "order", 90),
)
"""Families: rhythm (0, 1), activity (2, 3), search (4), value (5)."""
X = np.array([[47, 21, 0, 0.1, 3, 120], [5, np.nan, 2, 1.4, np.nan, 0]], np.float32)
TERMS = np.array([[0.5, 0.2, 0.3, 0.1, -0.6, 0.001, -1.0], [-0.4, 0.1, -0.05, -0.1, 0.2, 0.0, -1.0]])
USUAL = {"order_recency_days": 12.0, "order_count_30d": 3.0, "search_count_30d": 3.0, "order_value_sum_90d": 80.0}


def test_the_story_of_two_customers() -> None:
    """Row 0: rhythm 0.7, search -0.6, activity 0.4 (that nothing was ordered for 30 days, which the rhythm has told
    already), value 0.001 (negligible). Row 1: rhythm -0.3, search 0.2, activity -0.15, in which the hard word (decayed, -0.1) pushes only twice as hard as the plain one (-0.05)."""
    first, second = reasons(TERMS, X, COLUMNS, USUAL)
    assert [(r.family, round(r.contribution, 9), r.direction, r.text) for r in first] == [
        ("rhythm", 0.7, "raises", "raises: 47 days since the last order (usually 21 days for this customer)"),
        ("search", -0.6, "lowers", "lowers: 3 searches in the last 30 days"),
    ]
    assert [(r.feature, r.value, r.usual, r.text) for r in second] == [
        ("order_recency_days", 5.0, 12.0, "lowers: 5 days since the last order (typical customer: 12 days)"),
        ("search_count_30d", None, 3.0, "raises: no record of searches in the last 30 days"),
        ("order_count_30d", 2.0, 3.0, "lowers: 2 orders in the last 30 days (typical customer: 3)"),
    ]


def test_the_same_in_chinese() -> None:
    first, _ = reasons(TERMS, X, COLUMNS, USUAL, language="zh", at_most=1)
    assert [r.text for r in first] == ["推高风险：距上次下单已 47 天（该顾客通常 21 天）"]


@pytest.mark.parametrize("trend", [np.nan, -1.0])
def test_a_silence_is_told_once(trend: float) -> None:
    """Silence (rhythm), no order for 60 days or none after some (activity) and no quantity of orders (another family)
    are one thing."""
    columns: Columns = (
        Gap("outcome", "silence_over_median", outcome=("order",)),
        Trend(Count("outcome", outcome=("order",)), 30, outcome=("order",)),
        Count("order.coupon", days=90),
        PerOrder("quantity", "order", 30),
        Count("search", days=30),
    )
    x = np.array([[7.5, trend, 2, np.nan, 0]], np.float32)
    terms = np.array([[2.0, 1.2, 0.0, 0.4, 0.3, -1.0]])
    (said,) = found = reasons(terms, x, columns, {}, at_most=5)
    assert [r.feature for r in said] == ["outcome_gap_silence_over_median", "search_count_30d"]
    assert found.remainder[0] == pytest.approx(1.6), "what is not named again stays in the sum"
    (said,) = reasons(terms[:, [1, 2, 3, 4, 5]], x[:, 1:], columns[1:], {}, at_most=5)
    assert [r.feature for r in said] == ["outcome_count_trend_30d", "search_count_30d"], "whoever is stronger tells it"


def test_a_family_whose_strongest_column_repeats_a_silence_lets_another_speak() -> None:
    """Unless the other pushes less than half as hard; then the next family takes the place."""
    columns: Columns = (Recency("order"), Count("order", days=30), Count("order", days=90), Count("search", days=30))
    x = np.array([[47, 0, 3, 1], [12, 1, 3, 1]], np.float32)
    terms = np.array([[2.0, 1.0, 0.6, 0.3, 0.0]] * 2)
    silent, buying = reasons(terms, x, columns, {}, at_most=2)
    assert [r.feature for r in silent] == ["order_recency_days", "order_count_90d"]
    assert [r.feature for r in buying] == ["order_recency_days", "order_count_30d"], "an order is news"
    assert silent[1].contribution == 1.6, "the contribution is the whole family's, whoever speaks"
    terms[:, 2] = 0.4
    silent, buying = reasons(terms, x, columns, {}, at_most=2)
    assert [r.feature for r in silent] == ["order_recency_days", "search_count_30d"]
    assert [r.feature for r in buying] == ["order_recency_days", "order_count_30d"]


def test_a_column_that_is_hard_to_say_speaks_only_if_it_dominates() -> None:
    terms = np.array([[0, 0, 0.05, 0.3, 0, 0, 0.0]])
    (said,) = reasons(terms, X[:1], COLUMNS, USUAL)
    assert [r.feature for r in said] == ["order_decayed_30d"]
    terms[0, 2] = 0.1
    (said,) = reasons(terms, X[:1], COLUMNS, USUAL)
    assert [r.feature for r in said] == ["order_count_30d"]


def test_the_speaker_pushes_in_the_direction_of_its_family() -> None:
    terms = np.array([[0.4, -0.5, 0, 0, 0, 0, 0.0]])
    (said,) = reasons(terms, X[:1], COLUMNS, USUAL)
    assert [(r.feature, r.direction) for r in said] == [("order_gap_q50_days", "lowers")]


def test_a_column_with_just_the_usual_value_lets_another_speak() -> None:
    """Both are plain; at 0.2 against 0.15 the one whose value is unusual is named, at 0.4 no longer."""
    columns = (Count("order", days=30), Count("order", days=90))
    values, usual = np.array([[1, 9]], np.float32), [1.0, 2.0]
    for first, named in ((0.2, "order_count_90d"), (0.4, "order_count_30d")):
        (said,) = reasons(np.array([[first, 0.15, 0.0]]), values, columns, usual)
        assert [r.feature for r in said] == [named]


def test_the_strongest_family_is_named_however_weak_and_others_only_if_they_matter() -> None:
    (said,) = reasons(np.array([[0.02, 0, 0.01, 0, -0.015, 0.04, 0.0]]), X[:1], COLUMNS, USUAL)
    assert [r.family for r in said] == ["value"]


def test_what_only_tells_of_the_moment_is_never_a_reason() -> None:
    """The season moves everybody's score alike: it stays in the remainder."""
    columns = (Calendar("month_sin"), Calendar("days_to_year_end"), Count("order", days=30))
    found = reasons(np.array([[0.9, 0.4, 0.1, -1.0]]), np.array([[0.1, 20, 3]], np.float32), columns, [0.0, 0.0, 1.0])
    assert [r.family for r in found[0]] == ["activity"]
    np.testing.assert_allclose(found.remainder, 1.3)


@dataclass(frozen=True)
class Made:
    """A column of nothing in particular."""

    name: str
    family: str
    unit: str = "count"

    @property
    def description(self) -> Text:
        return Text(f"thing {self.name}", f"事物 {self.name}")


def made(families: list[str]) -> Columns:
    return [Made(str(i), family) for i, family in enumerate(families)]


@settings(max_examples=40, deadline=None)
@given(
    families=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20),
    rows=st.integers(0, 12),
    at_most=st.integers(0, 9),
    seed=st.integers(0, 999),
)
def test_base_and_families_are_the_score(families: list[str], rows: int, at_most: int, seed: int) -> None:
    """Base + named families + remainder = base + all families = the margin, within 1e-6; named ones are the largest."""
    columns, rng = made(families), np.random.default_rng(seed)
    terms = rng.normal(size=(rows, len(families) + 1)) * rng.choice([0.0, 1e-3, 1.0, 30.0], (rows, len(families) + 1))
    values = rng.normal(size=(rows, len(families))).astype(np.float32)
    found, sums = reasons(terms, values, columns, np.zeros(len(families)), at_most=at_most), families_of(terms, columns)
    assert sums.shape == (rows, len(set(families)))
    np.testing.assert_allclose(terms[:, -1] + sums.sum(axis=1), terms.sum(axis=1), atol=1e-6)
    named = np.array([sum(r.contribution for r in row) for row in found])
    np.testing.assert_allclose(found.base + named + found.remainder, terms.sum(axis=1), atol=1e-6)
    for row, all_sums in zip(found, sums, strict=True):
        sizes = [abs(r.contribution) for r in row]
        largest = sorted(np.abs(all_sums), reverse=True)[:at_most]
        expected = [s for rank, s in enumerate(largest) if s >= NEGLIGIBLE or (rank == 0 and s > 0)]
        np.testing.assert_allclose(sizes, expected)
        assert len({r.family for r in row}) == len(row)
        assert all((r.direction == "raises") == (r.contribution > 0) for r in row)
        by_family = dict(zip(family_names(columns), all_sums, strict=True))
        assert all(r.contribution == by_family[r.family] for r in row)


def test_the_table_column_holds_the_same_reasons() -> None:
    series = reason_column(TERMS, X, COLUMNS, USUAL)
    assert (series.dtype, series.name) == (REASONS_TYPE, "reasons")
    for row, listed in zip(reasons(TERMS, X, COLUMNS, USUAL), series.to_list(), strict=True):
        assert [(r.feature, r.value, r.usual, r.direction, r.contribution, r.text) for r in row] == [
            tuple(item.values()) for item in listed
        ]


def test_rows_without_a_reason_and_tables_without_rows_keep_the_type() -> None:
    nothing = reason_column(np.zeros((2, 7)), X, COLUMNS, USUAL)
    assert nothing.to_list() == [[], []]
    empty = reason_column(TERMS[:0], X[:0], COLUMNS, USUAL)
    assert empty.dtype == REASONS_TYPE
    assert pl.concat([nothing, empty]).len() == 2


def test_row_order_and_neighbours_do_not_matter_and_inputs_stay() -> None:
    columns = default_catalogue(ChurnDefinition(), history_days=400).features
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(size=(200, len(columns)))).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    terms = rng.normal(size=(200, len(columns) + 1)) * 0.2
    kept: tuple[NDArray[np.float32], NDArray[np.float64]] = (values.copy(), terms.copy())
    usual, order = np.nanmedian(values, axis=0), rng.permutation(200)
    found = reason_column(terms, values, columns, usual)
    shuffled = reason_column(terms[order], values[order], columns, usual)
    assert shuffled.to_list() == found.gather(order).to_list()
    assert reason_column(terms[7:8], values[7:8], columns, usual).to_list() == found[7:8].to_list()
    np.testing.assert_array_equal(values, kept[0])
    np.testing.assert_array_equal(terms, kept[1])


def test_what_is_usual_may_differ_by_user() -> None:
    usual = np.full((2, 6), np.nan)
    usual[1, 0] = 99.0
    _, second = reasons(TERMS, X, COLUMNS, usual, at_most=1)
    assert second[0].text.endswith("(typical customer: 99 days)")
    first, _ = reasons(TERMS, X, COLUMNS, {}, at_most=2)
    assert first[1].text == "lowers: 3 searches in the last 30 days"


def test_contributions_of_other_columns_are_a_defect() -> None:
    with pytest.raises(DefectError, match="explains 5 columns, 6 are described"):
        families_of(TERMS[:, 1:], COLUMNS)


def test_the_same_features_with_another_outcome_are_worded_anew() -> None:
    """They compare equal, so what is kept for one must not be shown for the other."""
    for outcome, word in ((("order",), "orders"), (("search",), "searches"), (("order",), "orders")):
        (phrase,) = layout_of([Count("outcome", days=30, outcome=outcome)]).phrases
        assert phrase.stated.en == f"{{value}} {word} in the last 30 days"


def test_rows_are_counted_from_both_ends() -> None:
    found = reasons(TERMS, X, COLUMNS, USUAL)
    assert found[-1] == found[1]
    with pytest.raises(IndexError):
        found[2]


@pytest.mark.parametrize(
    ("column", "value", "en", "zh"),
    [
        (Decayed("search", 7), 0.0005, "recent searches, the newest counting most: hardly any (typical customer: 2.5)",
         "近期搜索次数（越近权重越大）：几乎没有（一般顾客 2.5）"),
        (Decayed("search", 7), 0.0, "no searches so far (typical customer: 2.5)", "迄今没有搜索（一般顾客 2.5）"),
        (Entropy("product_view", "category", 30), np.log(3),
         "variety of categories among product views in the last 30 days: 3 (typical customer: 12)",
         "最近 30 天的商品浏览所涉品类的多样性：3（一般顾客 12）"),
        (Shift(Entropy("product_view", "category"), 30), np.log(0.5),
         "variety of categories among product views in the last 30 days: down 50%, against what is usual for this customer",
         "最近 30 天的商品浏览所涉品类的多样性：与该顾客平时相比下降 50%"),
        (Shift(VisitTrait("minutes"), 30), np.nan, "no visits in the last 30 days", "最近 30 天没有访问"),
        (Novelty("order", "brand", 120), np.nan, "no orders in the last 120 days", "最近 120 天没有订单"),
    ],
)  # fmt: skip
def test_statistics_are_said_as_what_happened(column: Feature, value: float, en: str, zh: str) -> None:
    """No weights, no entropy; and what is unknown for want of events is said as that."""
    told = [
        sentence(phrase_of(column), value, 2.5, is_own=False, raises=True, language=language).split(": ", 1)[-1]
        for language in ("en", "zh")
    ]
    assert told == [en, f"推高风险：{zh}"]
