"""The composition root: from the flags of one command to the workspace, language, screen and progress that it uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import typer

from ebbtide.cli.flags import Flags
from ebbtide.cli.screen import ProgressBars, Screen, write_json
from ebbtide.core.errors import EbbtideError
from ebbtide.core.language import Language, Text
from ebbtide.core.progress import Progress
from ebbtide.core.sections import Section
from ebbtide.workspace import Workspace


class Answer(Protocol):
    """What every use case returns: it can tell itself to programs and to people."""

    def to_json(self) -> dict[str, Any]: ...

    def sections(self) -> tuple[Section, ...]: ...


@dataclass(frozen=True)
class Edge:
    """Everything a command needs from outside."""

    flags: Flags
    workspace: Workspace
    language: Language
    progress: Progress

    def show(
        self, answer: Answer, *, sections: tuple[Section, ...] | None = None, closing: Text | None = None, **more: Any
    ) -> None:
        """Print the answer: as JSON with `more` beside it if asked, else in words.

        `sections` stand in for the answer's own; `closing` is said at the end.
        """
        if self.flags.as_json:
            write_json(answer.to_json() | more)
            return
        screen = Screen(self.language)
        screen.show(answer.sections() if sections is None else sections)
        screen.say(closing)


@contextmanager
def edge_of(ctx: typer.Context) -> Iterator[Edge]:
    """The wiring of one command, with progress bars for as long as it lasts."""
    flags: Flags = ctx.obj
    language = spoken_language(flags)
    with ProgressBars(language) as bars:
        yield Edge(flags, Workspace(flags.workspace, language=language, progress=bars), language, bars)


def spoken_language(flags: Flags) -> Language:
    """The flag or variable, else the shop's language, else English."""
    if flags.language:
        return flags.language
    try:
        return Workspace(flags.workspace).config.shop.language
    except EbbtideError:
        return "en"
