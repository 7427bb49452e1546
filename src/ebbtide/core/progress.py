"""Progress of long work: the code that works reports to a `Progress`, the edge decides what is shown."""

from __future__ import annotations

from typing import Protocol

from ebbtide.core.language import Text


class Progress(Protocol):
    """Receives the stages of one piece of work. `done` of `total` units; `total` 0 means unknown."""

    def __call__(self, stage: Text, done: int, total: int) -> None: ...


def silent(stage: Text, done: int, total: int) -> None:
    """Report to nobody: the default everywhere below the edges."""
