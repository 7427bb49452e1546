"""A result told to people: sentences and tables, the same on the terminal and in a notebook."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ebbtide.core.language import Language, Text

_FIGURE = re.compile(r"[-+]?[^\w\s]?\d[\d,.]*%?( – .*)?")


@dataclass(frozen=True)
class Section:
    """A part of a result: a title, sentences, then a table whose cells are numbers, strings, Texts or None."""

    title: Text | None = None
    lines: tuple[Text, ...] = ()
    columns: tuple[Text, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()

    def holds_figures(self, column: int) -> bool:
        """Whether a column is one of figures, which stand right."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and all(_is_figure(cell) for cell in cells)


class Readable:
    """A result that tells itself in sections, and so shows itself in a notebook: English, and Chinese to unfold."""

    def sections(self) -> tuple[Section, ...]:
        """The result in the order in which a person reads it."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        told = self.sections()
        chinese = f"<details><summary>中文</summary>{html_of(told, 'zh')}</details>"
        return html_of(told, "en") + chinese


def cell_text(cell: Any, language: Language) -> str:
    """How a cell is written: None as a dash, whole numbers with separators, others with three places.

    >>> cell_text(None, "en"), cell_text(1234, "en"), cell_text(0.12345, "en"), cell_text(Text("yes", "是"), "zh")
    ('–', '1,234', '0.123', '是')
    """
    if cell is None:
        return "–"
    if isinstance(cell, Text):
        return cell[language]
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return f"{cell:,.3f}" if isinstance(cell, float) else str(cell)


def html_of(sections: Sequence[Section], language: Language) -> str:
    """The sections as HTML; everything is escaped.

    >>> html_of([Section(lines=(Text("<b>", "<b>"),))], "en")
    '<p>&lt;b&gt;</p>'
    """
    return "".join(_section_html(section, language) for section in sections)


def _section_html(section: Section, language: Language) -> str:
    parts = [f"<h4>{escape(section.title[language])}</h4>"] if section.title else []
    parts += [f"<p>{escape(line[language])}</p>" for line in section.lines]
    if section.rows:
        align = [' style="text-align:right"' if section.holds_figures(i) else "" for i in range(len(section.columns))]
        head = "".join(f"<th{a}>{escape(c[language])}</th>" for a, c in zip(align, section.columns, strict=True))
        body = "".join(
            "<tr>"
            + "".join(f"<td{a}>{_cell_html(cell, language)}</td>" for a, cell in zip(align, row, strict=True))
            + "</tr>"
            for row in section.rows
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    return "".join(parts)


def _cell_html(cell: Any, language: Language) -> str:
    return escape(cell_text(cell, language)).replace("\n", "<br>")


def _is_figure(cell: Any) -> bool:
    if isinstance(cell, str):
        return bool(_FIGURE.fullmatch(cell))
    return isinstance(cell, int | float) and not isinstance(cell, bool)
