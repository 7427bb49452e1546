"""The report in a real browser: no network, no errors, charts drawn, nothing wider than the screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from ebbtide.core.language import Language
from ebbtide.dashboard.page import render_report
from ebbtide.pipeline.report_data import ReportData


@dataclass
class Visit:
    """An open page, and what it did on its own account."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)


def visit(browser: Browser, file: Path, width: int, scheme: Any = "light") -> Visit:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen = Visit(page)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.goto(file.as_uri())
    return seen


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_whole_quiet_and_fits(
    browser: Browser, report_data: ReportData, tmp_path: Path, width: int, language: Language
) -> None:
    file = tmp_path / "report.html"
    render_report(report_data, language).save(file)
    seen = visit(browser, file, width, "dark" if language == "zh" else "light")
    assert seen.requests == [file.as_uri()]
    assert seen.complaints == []
    assert seen.ask("document.documentElement.scrollWidth") == width
    assert seen.ask("document.querySelectorAll('.chart svg').length") == 6
    wide = "[...document.querySelectorAll('.chart')].filter(c => c.firstChild.clientWidth > c.clientWidth + 1).length"
    assert seen.ask(wide) == 0
    seen.page.close()


def test_charts_follow_the_window(browser: Browser, report_data: ReportData, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    render_report(report_data).save(file)
    seen = visit(browser, file, 1280)
    before = seen.ask("document.querySelector('#chart-survival svg').clientWidth")
    seen.page.set_viewport_size({"width": 600, "height": 900})
    seen.page.wait_for_function(f"document.querySelector('#chart-survival svg').clientWidth < {before} - 300")
    assert seen.ask("document.documentElement.scrollWidth") == 600
    seen.page.close()


def test_colours_follow_the_theme(browser: Browser, report_data: ReportData, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    render_report(report_data).save(file)
    seen = visit(browser, file, 800)
    first = seen.ask("document.querySelector('#chart-drivers svg').innerHTML")
    seen.page.emulate_media(color_scheme="dark")
    seen.page.wait_for_function(
        "before => document.querySelector('#chart-drivers svg').innerHTML !== before", arg=first
    )
    assert seen.complaints == []
    seen.page.close()


def test_the_page_prints(browser: Browser, report_data: ReportData, tmp_path: Path) -> None:
    """A4 paper: a few pages, no endless scroll boxes."""
    file = tmp_path / "report.html"
    render_report(report_data).save(file)
    seen = visit(browser, file, 1280)
    printed = seen.page.pdf(format="A4")
    assert 3 <= printed.count(b"/Type /Page\n") <= 10
    seen.page.close()
