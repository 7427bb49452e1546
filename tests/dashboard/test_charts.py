"""The charts as data: the figures are those of the report, shares in percent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ebbtide.dashboard.charts import charts_of
from ebbtide.pipeline.report_data import BandTotal, CurvePoint, Histogram, Interval, ReportData


def test_bars_take_the_tone_of_their_band(report_data: ReportData) -> None:
    chart = charts_of(report_data, "en")["chart-distribution"]
    assert chart["tones"] == ["low"] * 4 + ["medium"] * 3 + ["high"] * 3
    assert chart["values"] == list(report_data.distribution.counts)


@pytest.mark.parametrize(("limit", "at"), [(0.4, 4.0), (0.45, 4.5), (1.0, 10.0)])
def test_a_band_limit_stands_at_its_place_between_the_bars(report_data: ReportData, limit: float, at: float) -> None:
    bands = (BandTotal("high", limit, 1, 1.0, None), BandTotal("low", 0.0, 1, 0.0, None))
    chart = charts_of(replace(report_data, bands=bands), "en")["chart-distribution"]
    assert [mark["at"] for mark in chart["marks"]] == [pytest.approx(at)]


def test_a_limit_beyond_the_last_bar_stands_at_the_right_end(report_data: ReportData) -> None:
    narrow = replace(report_data, distribution=Histogram((0.0, 0.1, 0.2), (3, 4)))
    assert [mark["at"] for mark in charts_of(narrow, "en")["chart-distribution"]["marks"]] == [2.0, 2.0]


def test_curves_are_in_percent_with_both_ends_of_the_interval(report_data: ReportData) -> None:
    gain = (CurvePoint(0.1, Interval(0.25, 0.2, 0.3)), CurvePoint(1.0, Interval(1.0)))
    line = charts_of(replace(report_data, gain=gain), "en")["chart-gain"]["lines"][0]
    assert line["points"] == [[10.0, 25.0], [100.0, 100.0]]
    assert (line["low"], line["high"]) == ([20.0, 100.0], [30.0, 100.0])  # no interval: no width


def test_a_survival_curve_counts_days_not_percent(report_data: ReportData) -> None:
    chart = charts_of(replace(report_data, survival=(CurvePoint(30.0, Interval(0.8)),)), "zh")["chart-survival"]
    assert chart["lines"][0]["points"] == [[30.0, 80.0]]


def test_labels_follow_the_language(report_data: ReportData) -> None:
    english, chinese = (charts_of(report_data, language) for language in ("en", "zh"))
    assert english["chart-drivers"]["labels"][0] == "Rhythm of ordering"
    assert chinese["chart-drivers"]["labels"][0] == "下单节奏"
