"""Every known user has exactly one stage at every moment, and the edges are those of half-open windows."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.events.schema import TIME
from ebbtide.explain.facts import user_facts
from ebbtide.explain.stages import STAGE_RULES, STAGES, stage_of
from ebbtide.features.encode import encode

DEFINITION = ChurnDefinition(horizon_days=30.0, eligible_days=90.0)


def stage(make_events, as_of, *days_ago, band=None, definition=DEFINITION):
    events = make_events(("a", 1, "product_view"), *(("a", d, "order") for d in days_ago))
    facts = user_facts(encode(events, definition), as_of, definition).with_columns(band=pl.lit(band, pl.String))
    return facts.select(stage_of(as_of, definition, factor=2.0)).item()


@pytest.mark.parametrize(
    ("days_ago", "expected"),
    [
        ((), "prospect"),
        ((5,), "new"),
        ((29.999,), "new"),
        ((30,), "active"),  # the window excludes its start
        ((89.999,), "active"),
        ((90,), "lapsed"),
        ((120, 29.9), "won_back"),
        ((120, 30.1), "active"),
        ((119, 29.5), "active"),  # 89.5 days of silence: not yet lapsed
        ((119.5, 29.5), "won_back"),
        ((80, 70, 60, 41), "at_risk"),  # gaps of 10, 10, 19: silent for 41 > 2 * 10
        ((80, 60, 40, 39.5), "active"),
        ((300, 200), "lapsed"),
    ],
)
def test_the_rules_and_their_edges(make_events, as_of, days_ago, expected):
    assert stage(make_events, as_of, *days_ago) == expected


def test_a_high_band_is_at_risk_but_a_new_customer_stays_new(make_events, as_of):
    assert stage(make_events, as_of, 60, band="high") == "at_risk"
    assert stage(make_events, as_of, 60, band="medium") == "active"
    assert stage(make_events, as_of, 5, band="high") == "new"


def test_lapsed_goes_before_new_where_the_horizon_is_longer(make_events, as_of):
    long = ChurnDefinition(horizon_days=60.0, eligible_days=30.0)
    assert stage(make_events, as_of, 45, definition=long) == "lapsed"


MOMENTS = st.one_of(st.none(), st.integers(-400 * 86_400, 0))


@settings(deadline=None)
@given(st.lists(st.tuples(MOMENTS, MOMENTS, MOMENTS, st.sampled_from([None, "low", "medium", "high"])), min_size=1))
def test_every_user_has_exactly_one_stage(as_of, users):
    def moment(seconds):
        return None if seconds is None else as_of + timedelta(seconds=seconds)

    frame = pl.DataFrame(
        {
            "first_outcome_at": [moment(u[0]) for u in users],
            "last_outcome_at": [moment(u[1]) for u in users],
            "returned_at": [moment(u[2]) for u in users],
            "days_since_outcome": [None if u[1] is None else -u[1] / 86_400 for u in users],
            "usual_gap_days": [None if u[0] is None else 10.0 for u in users],
            "band": [u[3] for u in users],
        },
        schema_overrides={"band": pl.String, "usual_gap_days": pl.Float64, "days_since_outcome": pl.Float64}
        | dict.fromkeys(("first_outcome_at", "last_outcome_at", "returned_at"), TIME),
    )
    found = frame.select(stage=stage_of(as_of, DEFINITION, factor=2.0))["stage"]
    assert found.null_count() == 0
    assert set(found) <= set(STAGES)


def test_every_stage_has_a_rule_in_words():
    assert list(STAGES) == list(STAGE_RULES)
