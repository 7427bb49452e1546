"""The report as one HTML text: styles, scripts and data inside, nothing from the network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ebbtide.core.errors import RetryError
from ebbtide.core.language import Language, Text
from ebbtide.core.sections import Readable, Section
from ebbtide.dashboard import numbers
from ebbtide.dashboard.charts import charts_of
from ebbtide.dashboard.words import Words
from ebbtide.explain.stages import BAND_WORDS
from ebbtide.pipeline.report_data import ReportData

_ABOUT = Text(
    "report on {users:,} customers as of {as_of:%Y-%m-%d}, {at_risk:,} of them at high risk",
    "报告：截至 {as_of:%Y-%m-%d} 的 {users:,} 位顾客，其中高风险 {at_risk:,} 位",
)


@dataclass(frozen=True)
class Page(Readable):
    """A finished page, and the data that it shows."""

    html: str
    data: ReportData

    def save(self, file: Path) -> Path:
        """Write the page whole or not at all. Raises RetryError if the disk refuses."""
        aside = file.with_name(f".{file.name}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            aside.write_text(self.html, encoding="utf-8")
            aside.replace(file)
        except OSError as fault:
            reason = fault.strerror or "disk"
            raise RetryError(
                "the page could not be written: {reason}", "无法写出页面：{reason}", reason=reason
            ) from None
        return file

    def sections(self) -> tuple[Section, ...]:
        """What the page is about, in a sentence."""
        about = _ABOUT.format(users=self.data.users, at_risk=self.data.users_at_risk, as_of=self.data.as_of)
        return (Section(lines=(about,)),)

    def to_json(self) -> dict[str, Any]:
        """What the page is about, without the page."""
        d = self.data
        bands = {band.name: band.users for band in d.bands}
        return {"as_of": d.as_of.isoformat(), "model": d.model, "users": d.users, "bands": bands}

    def _repr_html_(self) -> str:
        """In a notebook the page keeps to a frame of its own."""
        return f'<iframe srcdoc="{escape(self.html)}" style="width:100%;height:80vh;border:0"></iframe>'


def render_report(data: ReportData, language: Language = "en") -> Page:
    """The page for one shop in one language. Every text from the data is escaped, also inside the scripts."""
    html = (
        _environment()
        .get_template("report.html")
        .render(
            d=data,
            w=Words(language),
            bands=BAND_WORDS,
            language=language,
            charts=charts_of(data, language),
            charts_json=_script_json(charts_of(data, language)),
            style=_asset("report.css"),
            script=_asset("report.js"),
            echarts=_asset("echarts.common.min.js"),
        )
    )
    return Page(html, data)


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
