"""The catalogue as data: names, words, JSON, capabilities, defaults."""

from __future__ import annotations

import json
import re

import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import InputError
from ebbtide.events.capabilities import CAPABILITIES
from ebbtide.events.schema import EVENT_TYPES
from ebbtide.features.catalogue import Catalogue, default_catalogue
from ebbtide.features.declarations import (
    Count,
    Decayed,
    Distinct,
    Entropy,
    Feature,
    Gap,
    GapQuantile,
    LastTone,
    Mean,
    Ratio,
    Share,
    Shift,
    Sum,
    Trend,
)
from ebbtide.features.defaults import half_life_days, window_days
from ebbtide.features.families import FAMILIES
from ebbtide.features.selectors import CONDITIONS, TYPE_WORDS, parse_selector

DEFINITIONS = {
    "orders in a month": (ChurnDefinition(), 400.0),
    "clicks in two weeks": (ChurnDefinition(("any",), 14.0, ("any",), 30.0), 110.0),
    "gifts in a year": (ChurnDefinition(("order",), 365.0, ("order",), 730.0), 3600.0),
    "orders or lists, half a year": (ChurnDefinition(("wishlist_add", "order"), 180.0, ("order",), 365.0), 700.0),
    "a young shop": (ChurnDefinition(("order",), 30.0, ("order",), 180.0), 20.0),
}
RICH = frozenset(CAPABILITIES)
PLAIN = frozenset({"orders", "money"})


@pytest.fixture(params=DEFINITIONS, ids=lambda name: name.replace(" ", "-"))
def catalogue(request: pytest.FixtureRequest) -> Catalogue:
    """The default catalogue of one question."""
    return default_catalogue(*DEFINITIONS[request.param], with_item_table=True)


def test_every_feature_is_named_and_described_in_both_languages(catalogue: Catalogue) -> None:
    """Names are snake_case and unique; descriptions are unique in each language, and Chinese is Chinese."""
    assert len(set(catalogue.names)) == len(catalogue)
    for language in ("en", "zh"):
        words = [f.description[language] for f in catalogue.features]  # type: ignore[index]
        assert len(set(words)) == len(words), [w for w in words if words.count(w) > 1]
    for feature in catalogue.features:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", feature.name)
        assert re.search(r"[\u4e00-\u9fff]", feature.description.zh)
        assert not re.search(r"[\u4e00-\u9fff{}]", feature.description.en)
        assert feature.family in FAMILIES
        assert feature.requires <= RICH


def test_json_round_trip_loses_nothing(catalogue: Catalogue) -> None:
    """Through text and back: the same features, outcome and words."""
    back = Catalogue.from_json(json.loads(json.dumps(catalogue.to_json())))
    assert back == catalogue
    assert [f.description for f in back.features] == [f.description for f in catalogue.features]
    assert all(type(a) is type(b) for a, b in zip(back.features, catalogue.features, strict=True))


def test_the_columns_of_bgnbd_always_exist() -> None:
    """Whatever the question and the log."""
    for definition, days in DEFINITIONS.values():
        names = default_catalogue(definition, days).available(()).names
        assert {"outcome_repeat_days", "outcome_last_age_days", "outcome_age_days", "outcome_recency_days"} <= {*names}


def test_a_plain_log_gets_fewer_columns_than_a_rich_one() -> None:
    """About 60 to 100 on bare purchases, more on a log with everything."""
    whole = default_catalogue(*DEFINITIONS["orders in a month"])
    assert 60 <= len(whole.available(PLAIN)) <= 100
    assert 200 <= len(whole.available(RICH)) <= 300
    assert set(whole.available(PLAIN).names) < set(whole.available(RICH).names)
    assert {f.family for f in whole.features} == set(FAMILIES) - {"sequence", "profile"}  # of models alone


def test_any_needs_two_kinds_of_activity() -> None:
    """With orders alone, any activity is orders again."""
    whole = default_catalogue(ChurnDefinition(), 400)
    assert "any_count_all" not in whole.available({"orders", "money", "clock"}).names
    assert "any_count_all" in whole.available({"orders", "refunds"}).names
    assert "outcome_count_14d" in default_catalogue(*DEFINITIONS["clicks in two weeks"]).available({"browsing"}).names


def test_windows_fit_horizon_and_history() -> None:
    """Around the horizon, none finer than a fifteenth of it, none beyond the history."""
    assert window_days(ChurnDefinition(("any",), 14.0, ("any",), 30.0), 110) == (1, 3, 4, 7, 14, 28, 56, 90)
    assert window_days(ChurnDefinition(("order",), 365.0, ("order",), 730.0), 3600) == (30, 60, 91, 182, 365, 730, 1460)
    assert window_days(ChurnDefinition(), 20) == (3, 8, 15, 30)  # a history shorter than the horizon keeps the horizon
    assert half_life_days(ChurnDefinition(("order",), 365.0), 3600) == (45, 90, 180, 365, 730)


def test_the_outcome_is_worded_by_what_it_is() -> None:
    """`outcome_count_30d` reads "orders" where the outcome is an order."""
    assert Count("outcome", 30).description.en == "outcome events in the last 30 days"
    bound = default_catalogue(ChurnDefinition(), 400)
    assert bound.feature("outcome_count_30d").description.en == "orders in the last 30 days"
    assert bound.feature("outcome_count_trend_30d").description.zh.startswith("订单数的变化")
    both = default_catalogue(*DEFINITIONS["orders or lists, half a year"])
    assert both.feature("outcome_recency_days").description.en.endswith("additions to the wish list or orders")


def test_drop_and_keep() -> None:
    """Names and families go; what is neither is an error that lists the families."""
    whole = default_catalogue(ChurnDefinition(), 400)
    assert "calendar" not in {f.family for f in whole.drop(["calendar", "outcome_rate_per_30d"]).features}
    assert whole.keep(["outcome_age_days", "outcome_recency_days"]).names == (
        "outcome_age_days",
        "outcome_recency_days",
    )
    with pytest.raises(InputError, match="neither a feature nor a family: lunar; the families are rhythm"):
        whole.drop(["lunar"])


def test_two_features_of_one_name_are_refused() -> None:
    """Also when a user's file repeats a shipped one."""
    with pytest.raises(InputError, match="share a name: order_count_7d"):
        Catalogue((Count("order", 7),)).extended([Count("order", 7.0)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Count("ordr", 7), "`ordr` selects no events"),
        (lambda: Count("order.blue", 7), "optionally one of .night"),
        (lambda: Count("any+order", 7), "selects no events"),
        (lambda: Sum("price", "order", 7), "`price` is no numeric column; choose one of value"),
        (lambda: Mean("value", "sale"), "selects no events"),
        (lambda: Distinct("order", "colour"), "`colour` is no key column"),
        (lambda: Decayed("order", 7, "popularity"), "no numeric column"),
        (lambda: Gap("order", "shape"), "no gap statistic"),
        (lambda: GapQuantile("order", 1.5), "whole percentage"),
        (lambda: Trend(Mean("value", "order"), 30), "Trend compares counts and sums; Mean is neither: use Shift"),
        (lambda: Ratio(Count("order"), Entropy("order", "category")), "counts and sums only"),
        (lambda: Share("order", "orders"), "selects no events"),
        (lambda: LastTone("highest"), "`highest` is no statistic of the tone; choose one of mean, lowest"),
        (lambda: LastTone("mean", 9), "LastTone reads 1 to 5 texts, not 9"),
        (
            lambda: Catalogue.from_json({"outcome": [], "features": [{"kind": "Magic"}]}),
            "`Magic` is no kind of feature",
        ),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(make: object, message: str) -> None:
    """At once when it is made, not when it is computed."""
    with pytest.raises(InputError, match=re.escape(message)):
        make()  # type: ignore[operator]


def test_shifts_compare_shares_by_difference_and_means_by_quotient() -> None:
    """The unit tells."""
    assert Shift(Share("order.coupon", "order"), 30).unit == "change"
    assert Shift(Mean("value", "order"), 30).unit == "ratio"


def test_selectors_know_every_type_and_condition() -> None:
    """Each canonical type has words and a capability; each condition reads differently."""
    assert set(TYPE_WORDS) == {*EVENT_TYPES, "any", "outcome"}
    assert {w.capability for w in TYPE_WORDS.values()} - {""} <= RICH
    worded = {parse_selector(f"order.{c}" if c != "late" else "delivery.late").noun().en for c in CONDITIONS}
    assert len(worded) == len(CONDITIONS)


def test_features_are_values() -> None:
    """Equal declarations are equal and hash alike, however they are worded."""
    assert Count("order", 7) == Count("order", 7, outcome=("order",))
    assert len({Count("order", 7), Count("order", 7), Count("order", 8)}) == 2
    assert isinstance(Count("order", 7), Feature)
