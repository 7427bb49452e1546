"""The report as one HTML text: styles, scripts and data inside, nothing from the network."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ebbtide.core.language import Language
from ebbtide.dashboard import numbers
from ebbtide.dashboard.charts import charts_of
from ebbtide.dashboard.words import BANDS, Words
from ebbtide.pipeline.report_data import ReportData


def render_report(data: ReportData, language: Language = "en") -> str:
    """The page for one shop in one language. Every text from the data is escaped, also inside the scripts."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            d=data,
            w=Words(language),
            bands=BANDS,
            language=language,
            charts=charts_of(data, language),
            charts_json=_script_json(charts_of(data, language)),
            style=_asset("report.css"),
            script=_asset("report.js"),
            echarts=_asset("echarts.common.min.js"),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ebbtide.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=numbers.percent,
        number=numbers.number,
        money=numbers.money,
        date=numbers.date,
        interval=numbers.interval,
        estimate=numbers.estimate,
    )
    return environment


@cache
def _asset(name: str) -> Markup:
    return Markup((files("ebbtide.dashboard") / "assets" / name).read_text(encoding="utf-8"))


def _script_json(value: object) -> Markup:
    """JSON that cannot leave its `<script>` element: `<`, `>` and `&` are written as escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
