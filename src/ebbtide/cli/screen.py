"""What a command shows: results on stdout (tables for people, one JSON object for programs), progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text as Line

from ebbtide.core.language import Language, Text
from ebbtide.core.sections import Section, cell_text

_PLAIN_WIDTH = 160


class Screen:
    """Stdout in one language. Texts are never read as markup: user ids may hold brackets."""

    def __init__(self, language: Language) -> None:
        self.language = language
        width = None if sys.stdout.isatty() else _PLAIN_WIDTH
        self._console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)

    def say(self, text: Text | str | None, style: str = "") -> None:
        """One paragraph; None says nothing."""
        if text is None:
            return
        self._console.print(Line(text if isinstance(text, str) else text[self.language], style), soft_wrap=True)

    def show(self, sections: Sequence[Section]) -> None:
        """Titles, sentences and tables, a blank line between sections that have a title."""
        for place, section in enumerate(sections):
            if section.title:
                self.say("" if place else None)
                self.say(section.title, "bold")
            for line in section.lines:
                self.say(line)
            if section.rows:
                self._table(section)

    def _table(self, section: Section) -> None:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for place, title in enumerate(section.columns):
            table.add_column(Line(title[self.language]), justify="right" if section.holds_figures(place) else "left")
        for row in section.rows:
            table.add_row(*(Line(cell_text(cell, self.language)) for cell in row))
        self._console.print(table)


def write_json(value: Any) -> None:
    """One JSON object on stdout, in one line; moments and paths as text, never NaN."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_as_text)
    sys.stdout.write(text + "\n")


def _as_text(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


class ProgressBars:
    """Shows long work as bars on stderr, one a stage; silent when stderr is not a terminal.

    It is a `core.progress.Progress`, and a context manager that clears the bars at the end.
    """

    def __init__(self, language: Language) -> None:
        self._language = language
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: Text, done: int, total: int) -> None:
        name = stage[self._language]
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name)
        self._bars.update(self._tasks[name], completed=done, total=total or None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
