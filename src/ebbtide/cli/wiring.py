"""The composition root: from the flags of one command to the workspace, language, screen and progress that it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import typer

from ebbtide.cli.flags import Flags
from ebbtide.cli.screen import ProgressBars, Screen, write_json
from ebbtide.core.errors import EbbtideError
from ebbtide.core.language import Language
from ebbtide.core.progress import Progress
from ebbtide.workspace import Workspace


class Answer(Protocol):
    """What every use case returns: it can say itself as JSON."""

    def to_json(self) -> dict[str, object]: ...


A = TypeVar("A", bound=Answer)


@dataclass(frozen=True)
class Edge:
    """Everything a command needs from outside."""

    flags: Flags
    workspace: Workspace
    language: Language
    progress: Progress

    def show(self, answer: A, draw: Callable[[A, Screen], None]) -> None:
        """Print the answer: as JSON if asked, else as `draw` lays it out."""
        if self.flags.as_json:
            write_json(answer.to_json())
        else:
            draw(answer, Screen(self.language))


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
