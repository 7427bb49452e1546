"""Results told in sections: the same on the terminal and in a notebook, always escaped, figures to the right."""

from __future__ import annotations

from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section, cell_text, html_of

MIXED = Section(
    Text("Title", "标题"),
    (Text("one line", "一行"),),
    (Text("who", "谁"), Text("count", "数量"), Text("when", "何时"), Text("range", "区间")),
    (("<script>", 1200, "2024-01-01", "1.0% – 2.0%"), (Text("b", "乙"), None, "2024-01-02", "€3,000")),
)


class Result(Readable):
    def sections(self) -> tuple[Section, ...]:
        return (MIXED,)


def test_columns_of_figures_stand_right_and_dates_do_not() -> None:
    assert [MIXED.holds_figures(column) for column in range(4)] == [False, True, False, True]


def test_a_column_of_nothing_holds_no_figures() -> None:
    assert not Section(columns=(Text("a", "a"),), rows=((None,), (None,))).holds_figures(0)


def test_cells_speak_the_language_and_escape_nothing_by_themselves() -> None:
    assert [cell_text(cell, "zh") for cell in (Text("b", "乙"), None, True, 0.5, "x")] == [
        "乙",
        "–",
        "True",
        "0.500",
        "x",
    ]


def test_html_is_escaped_and_in_one_language() -> None:
    page = html_of([MIXED], "zh")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "标题" in page
    assert "Title" not in page


def test_a_notebook_shows_english_with_chinese_to_unfold() -> None:
    shown = Result()._repr_html_()
    english, chinese = shown.split("<details>")
    assert "one line" in english
    assert "一行" in chinese
