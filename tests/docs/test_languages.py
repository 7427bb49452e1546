"""Pages in two languages: the twins lead to each other, show the same code, and each keeps its reader in the language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIX = ".zh-CN.md"
CHINESE = sorted(page for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if page.name.endswith(SUFFIX))
DIGESTS = {"models"}
"""Chinese pages that leave out measured tables and lead to the English ones for them."""
TRANSLATIONS = [page for page in CHINESE if page.name.removesuffix(SUFFIX) not in DIGESTS]


def code_of(page: Path) -> list[tuple[str, list[str]]]:
    """Kind and lines of every block, without comments and the blanks before them."""
    blocks = re.findall(r"^[ ]*```(\w*)\n(.*?)^[ ]*```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(kind, [line for line in map(_without_comment, text.splitlines()) if line]) for kind, text in blocks]


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)\s*#.*", "", line).strip()


def twin_of(page: Path) -> Path:
    return page.with_name(page.name.removesuffix(SUFFIX) + ".md")


def links_of(page: Path) -> list[Path]:
    found = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    return [(page.parent / link).resolve() for link in found]


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_twins_lead_to_each_other(page: Path) -> None:
    assert twin_of(page) in links_of(page)
    assert page in links_of(twin_of(page))


@pytest.mark.parametrize("page", TRANSLATIONS, ids=lambda page: page.name)
def test_twins_have_the_same_headings_and_code(page: Path) -> None:
    english, chinese = (code_of(p) for p in (twin_of(page), page))
    assert chinese == english
    levels = [
        re.findall(r"^(#+) ", re.sub(r"```.*?```", "", p.read_text(encoding="utf-8"), flags=re.DOTALL), re.MULTILINE)
        for p in (twin_of(page), page)
    ]
    assert levels[0] == levels[1]


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_a_page_leads_to_pages_of_its_own_language(page: Path) -> None:
    """But for its twin; pages that exist in one language only are led to in both."""
    twin = twin_of(page)
    others = [link for link in links_of(page) if link != twin and not link.name.endswith(SUFFIX)]
    assert [link.name for link in others if link.with_name(link.stem + SUFFIX).exists()] == []
    assert [link.name for link in links_of(twin) if link.name.endswith(SUFFIX) and link != page] == []


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.name)
def test_a_chinese_page_tells_no_measured_figure_that_the_english_one_does_not(page: Path) -> None:
    """So a figure that is measured again changes in both. Decimals only: `20 million` has other digits in Chinese."""
    english, chinese = (set(re.findall(r"\d+\.\d+", p.read_text(encoding="utf-8"))) for p in (twin_of(page), page))
    assert sorted(chinese - english) == []


def test_every_page_that_teaches_has_a_chinese_twin() -> None:
    """How-to pages, the tutorial and the models; the reasons and the measurements are in English alone."""
    teaching = [*(ROOT / "docs" / "howto").glob("*.md"), ROOT / "docs" / "tutorial.md", ROOT / "docs" / "models.md"]
    english = [page for page in teaching if not page.name.endswith(SUFFIX)]
    assert [page.name for page in english if not page.with_name(page.stem + SUFFIX).exists()] == []
