"""The charts of the page as plain data: `report.js` turns each into ECharts options in the colours of the theme.

A chart is `{"kind": "lines" | "bars", "x", "y", ...}`; shares are given in percent. Every line may carry the two
ends of its interval, drawn as a band (`"band"`) or as bars (`"whiskers"`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ebbtide.core.language import Language
from ebbtide.dashboard.words import Words
from ebbtide.explain.stages import BAND_WORDS
from ebbtide.pipeline.report_data import CurvePoint, Interval, ReportData

Chart = dict[str, Any]


def charts_of(data: ReportData, language: Language) -> dict[str, Chart]:
    """The charts by the id of their place on the page; charts without data are left out."""
    w = Words(language)
    charts = {"chart-distribution": _distribution(data, language, w)}
    if data.drivers:
        charts["chart-drivers"] = _drivers(data, language, w)
    if data.gain:
        charts["chart-gain"] = _gain(data, w)
    if data.calibration:
        charts["chart-calibration"] = _calibration(data, w)
    if data.backtest:
        charts["chart-backtest"] = _backtest(data, w)
    if data.survival:
        charts["chart-survival"] = _survival(data, w)
    return charts


def _distribution(data: ReportData, language: Language, w: Words) -> Chart:
    edges = data.distribution.edges
    return {
        "kind": "bars",
        "x": w.probability,
        "y": w.users,
        "labels": [f"{100 * edge:.0f}%" for edge in edges[:-1]],
        "values": list(data.distribution.counts),
        "tones": [_band_at((a + b) / 2, data) for a, b in pairwise(edges)],
        "marks": [
            {"at": _position(band.limit, edges), "label": f"{BAND_WORDS[band.name][language]} {band.limit:.0%}"}
            for band in data.bands
            if band.limit > 0
        ],
    }


def _band_at(probability: float, data: ReportData) -> str:
    return max((b for b in data.bands if b.limit <= probability), key=lambda b: b.limit).name


def _position(limit: float, edges: Sequence[float]) -> float:
    """Where a probability lies on the axis of bars, in bars from the left edge of the first one."""
    for i, (low, high) in enumerate(pairwise(edges)):
        if low <= limit <= high:
            return i + (limit - low) / (high - low)
    return float(len(edges) - 1)


def _drivers(data: ReportData, language: Language, w: Words) -> Chart:
    shown = data.drivers[:12]
    return {
        "kind": "bars",
        "flat": True,
        "x": w.mean_size,
        "y": "",
        "labels": [d.family[language] for d in shown],
        "values": [round(d.mean_size, 4) for d in shown],
    }


def _gain(data: ReportData, w: Words) -> Chart:
    return {
        "kind": "lines",
        "x": w.contacted,
        "y": w.found,
        "percent": ["x", "y"],
        "square": True,
        "lines": [
            {"name": w.ranked, "style": "band", **_points([_percent(p) for p in data.gain])},
            {"name": w.random, "style": "reference", "points": [[0, 0], [100, 100]]},
        ],
    }


def _calibration(data: ReportData, w: Words) -> Chart:
    bins = [CurvePoint(b.predicted, b.observed) for b in data.calibration]
    return {
        "kind": "lines",
        "x": w.predicted,
        "y": w.observed,
        "percent": ["x", "y"],
        "square": True,
        "lines": [
            {"name": w.observed, "style": "whiskers", **_points([_percent(p) for p in bins])},
            {"name": w.exact, "style": "reference", "points": [[0, 0], [100, 100]]},
        ],
    }


def _backtest(data: ReportData, w: Words) -> Chart:
    points = [CurvePoint(m.as_of.timestamp() * 1000, m.auroc) for m in data.backtest if m.auroc]
    ends = [points[0].x, points[-1].x] if points else []
    return {
        "kind": "lines",
        "x": w.moment,
        "y": w.auroc,
        "time": True,
        "lines": [
            {"name": w.auroc, "style": "band", **_points(points)},
            {"name": w.random, "style": "reference", "points": [[end, 0.5] for end in ends]},
        ],
    }


def _survival(data: ReportData, w: Words) -> Chart:
    return {
        "kind": "lines",
        "x": w.days,
        "y": w.still_active,
        "percent": ["y"],
        "lines": [
            {
                "name": w.still_active,
                "style": "band",
                **_points([CurvePoint(p.x, _percent(p).y) for p in data.survival]),
            }
        ],
    }


def _percent(point: CurvePoint) -> CurvePoint:
    y = point.y
    low, high = (None if end is None else 100 * end for end in (y.low, y.high))
    return CurvePoint(100 * point.x, Interval(100 * y.value, low, high))


def _points(points: Sequence[CurvePoint]) -> Chart:
    return {
        "points": [[round(p.x, 4), round(p.y.value, 4)] for p in points],
        "low": [round(p.y.value if p.y.low is None else p.y.low, 4) for p in points],
        "high": [round(p.y.value if p.y.high is None else p.y.high, 4) for p in points],
    }
