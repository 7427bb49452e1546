"""What a column maker with a net is made of, for those who serve it in another form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import nn

from ebbtide.models.basis import Basis
from ebbtide.models.columns import ModelColumn
from ebbtide.sequences.items.vectors import ItemVectors
from ebbtide.sequences.vocabulary import Vocabulary


@dataclass(frozen=True)
class Parts:
    """`net`: forward(events, base) gives its one column, (B,), or all of them, (B, C). It reads the newest `max_len`
    events in the tokens of `vocabulary`, base columns on the scale of `basis`, and vectors of items, where given."""

    net: nn.Module
    vocabulary: Vocabulary
    max_len: int
    basis: Basis | None = None
    items: ItemVectors | None = None


class Exportable(Protocol):
    """A fitted column maker that tells its parts."""

    @property
    def name(self) -> str: ...

    def declarations(self) -> tuple[ModelColumn, ...]: ...

    def parts(self) -> Parts: ...
