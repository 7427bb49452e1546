"""The report page as text: self-contained, escaped, complete in both languages, and honest about what is missing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import pytest

from ebbtide.core.language import LANGUAGES, Language, Text
from ebbtide.dashboard.page import render_report
from ebbtide.dashboard.words import WORDS, Words
from ebbtide.pipeline.report_data import ReportData


class _Outline(HTMLParser):
    """Collects what the laws below ask about: elements with attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> Language:
    return request.param  # type: ignore[no-any-return]


def test_the_page_names_nothing_outside_itself(report_data: ReportData, language: Language) -> None:
    """No element fetches anything, no style imports anything, and the policy would forbid it."""
    page = render_report(report_data, language).html
    outline = _Outline(page)
    fetching = {"src", "href", "srcset", "data", "poster", "action"}
    assert [(tag, a) for tag, a in outline.elements if fetching & set(a)] == []
    style = page.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page


def test_a_hostile_user_id_is_text_and_nothing_else(report_data: ReportData, language: Language) -> None:
    hostile = report_data.top[0].user_id
    assert hostile == "<script>alert('owned')</script>"
    page = render_report(report_data, language).html
    assert hostile not in page
    assert hostile in _Outline(page).text


def test_a_hostile_name_cannot_leave_the_data_of_the_charts(report_data: ReportData) -> None:
    driver = replace(report_data.drivers[0], family=Text("</script><b>bold", "</script>"))
    page = render_report(replace(report_data, shop="</title><script>", drivers=(driver,))).html
    assert page.count("<script") == 3  # the data, ECharts, ours
    inside = page.split('id="charts">')[1].split("</script>")[0]
    assert json.loads(inside)["chart-drivers"]["labels"] == ["</script><b>bold"]


def test_a_shop_that_knows_little_still_gets_a_page_that_says_so(report_data: ReportData, language: Language) -> None:
    bare = replace(
        report_data,
        health=None, drivers=(), gain=(), calibration=(), metrics=(), tested_at=None, backtest=(), retention=(),
        survival=(), slices=(), card=(), top=(), quality_index=None,
    )  # fmt: skip
    page = render_report(bare, language).html
    assert page.count(Words(language).unknown) >= 8
    assert set(json.loads(page.split('id="charts">')[1].split("</script>")[0])) == {"chart-distribution"}


def test_value_is_left_out_where_the_shop_records_no_money(report_data: ReportData) -> None:
    bands = tuple(replace(band, value_at_risk=None) for band in report_data.bands)
    text = _Outline(render_report(replace(report_data, bands=bands)).html).text
    assert "£166,201" not in text


def test_headings_descend_without_gaps(report_data: ReportData) -> None:
    levels = [int(tag[1]) for tag, _ in _Outline(render_report(report_data).html).elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_chart_has_a_name_and_every_table_a_caption(report_data: ReportData) -> None:
    elements = _Outline(render_report(report_data).html).elements
    charts = [a for _, a in elements if a.get("role") == "img"]
    assert len(charts) == 6
    assert all(a["aria-label"] for a in charts)
    tags = [tag for tag, _ in elements]
    assert tags.count("table") == tags.count("caption")


def test_the_chinese_page_has_no_english_fixed_text(report_data: ReportData) -> None:
    text = _Outline(render_report(report_data, "zh").html).text
    english = [t.en for t in WORDS.values() if t.en != t.zh and len(t.en) > 12 and "{" not in t.en]
    assert [word for word in english if word in text] == []


def test_every_word_is_used_and_every_used_word_exists() -> None:
    root = files("ebbtide.dashboard")
    sources = [f.read_text(encoding="utf-8") for f in (root / "templates").iterdir() if f.name.endswith(".html")]
    sources.append((root / "charts.py").read_text(encoding="utf-8"))
    used = set(re.findall(r"\bw\.(\w+)", "\n".join(sources)))
    assert used == set(WORDS)


def test_an_unknown_word_is_an_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = Words("en").nonsense
