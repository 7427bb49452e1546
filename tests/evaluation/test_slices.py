"""Slices: everybody in one part of each group, small parts flagged, many parts pooled."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ebbtide.evaluation.calibration import ece
from ebbtide.evaluation.ranking import auroc
from ebbtide.evaluation.slices import MAX_SLICES, Slice, evaluate_slices, range_labels

Scored = Callable[..., Any]


def slices(y: Any, p: Any, **groups: Any) -> tuple[Slice, ...]:
    return evaluate_slices(y, p, np.arange(len(y)), groups, draws=50, seed=0)


def test_each_part_is_judged_on_its_own_rows(scored: Scored) -> None:
    y, p = scored(400)
    country = np.where(np.arange(400) % 4 == 0, "FR", "DE")
    found = slices(y, p, country=country)
    assert [(s.group, s.label, s.rows) for s in found] == [("country", "DE", 300), ("country", "FR", 100)]
    at = country == "FR"
    assert found[1].auroc.value == pytest.approx(auroc(y[at], p[at]))
    assert found[1].ece.value == pytest.approx(ece(y[at], p[at]))
    assert (found[1].churned, found[1].churn_rate.value) == (y[at].sum(), pytest.approx(y[at].mean()))
    assert found[1].mean_probability == pytest.approx(p[at].mean())


def test_every_group_covers_everybody(scored: Scored) -> None:
    y, p = scored(300)
    rng = np.random.default_rng(0)
    found = slices(y, p, many=rng.integers(0, 40, 300), few=rng.choice(["a", "b"], 300))
    for group in ("many", "few"):
        assert sum(s.rows for s in found if s.group == group) == 300
    many = [s.label for s in found if s.group == "many"]
    assert len(many) == MAX_SLICES
    assert many[-1] == "(other)"


def test_unknown_labels_are_a_part_of_their_own(scored: Scored) -> None:
    y, p = scored(6)
    found = slices(y, p, channel=np.array(["web", None, "", "web", np.nan, "web"], object))
    assert [(s.label, s.rows) for s in found] == [("(unknown)", 3), ("web", 3)]


def test_small_parts_are_flagged_and_one_class_has_no_auroc() -> None:
    y = np.r_[np.zeros(40), np.ones(30), np.zeros(30), np.zeros(29), np.ones(29)]
    p = np.linspace(0.01, 0.99, len(y))
    part = np.repeat(["one class", "enough", "small"], [40, 60, 58])
    by_label = {s.label: s for s in slices(y, p, part=part)}
    assert {label: s.small for label, s in by_label.items()} == {"one class": True, "enough": False, "small": True}
    assert by_label["one class"].auroc.value is None
    assert by_label["one class"].churn_rate.low == 0
    json.dumps([s.to_json() for s in by_label.values()], allow_nan=False)


def test_ranges_include_their_upper_end() -> None:
    labels = range_labels(np.array([0.0, 30.0, 30.5, 90.0, 91.0, np.nan]), np.array([30.0, 90.0]))
    assert labels.tolist() == ["<= 30", "<= 30", "30 - 90", "30 - 90", "> 90", None]
