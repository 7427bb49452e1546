"""The quality index: its definition at known points, its order, its advice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.quality import quality_of


def index(auroc: float, width: float, ece: float) -> int:
    found = quality_of(Estimate(auroc, auroc - width / 2, auroc + width / 2), Estimate(ece, ece, ece)).index
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("auroc", "width", "ece", "expected"),
    [
        (0.85, 0.0, 0.0, 100),
        (0.99, 0.0, 0.0, 100),
        (0.5, 0.0, 0.0, 0),
        (0.4, 0.0, 0.0, 0),
        (0.85, 0.2, 0.1, 50),  # ranks, and nothing else
        (0.675, 0.1, 0.05, 38),  # half of everything: 50 x (.5 + .15 + .1) = 37.5
    ],
)
def test_golden_points(auroc: float, width: float, ece: float, expected: int) -> None:
    assert index(auroc, width, ece) == expected


unit = st.floats(0, 1)


@given(unit, unit, unit, unit)
def test_better_figures_never_lower_the_index(auroc: float, more: float, width: float, ece: float) -> None:
    low, high = sorted((auroc, more))
    assert index(low, width, ece) <= index(high, width, ece)
    assert index(high, width, ece) <= index(high, width / 2, ece / 2)
    assert 0 <= index(low, width, ece) <= 100


@pytest.mark.parametrize(
    ("auroc", "ece", "told"),
    [
        (Estimate(0.52, 0.48, 0.56), 0.01, "cannot be told from chance"),
        (Estimate(0.75, 0.6, 0.9), 0.01, "few users were judged"),
        (Estimate(0.75, 0.74, 0.76), 0.09, "the probabilities themselves are off"),
        (Estimate(0.60, 0.58, 0.62), 0.01, "more event types"),
        (Estimate(0.80, 0.79, 0.81), 0.01, "use the order of the list and the probabilities"),
    ],
)
def test_advice_speaks_of_the_weakest_part(auroc: Estimate, ece: float, told: str) -> None:
    quality = quality_of(auroc, Estimate(ece, ece, ece))
    assert told in quality.advice.en
    assert quality.advice.en.startswith(f"{quality.index} of 100, ")
    assert quality.advice.zh.startswith(f"{quality.index} 分")


def test_an_undefined_auroc_has_no_index() -> None:
    quality = quality_of(Estimate(None, None, None), Estimate(0.1, 0.1, 0.1))
    assert quality.index is None
    assert "all churned or all stayed" in quality.advice.en
