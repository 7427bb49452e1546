"""A column in a sentence: what the words need to know of it, and what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ebbtide.core.language import Text


class Column(Protocol):
    """What a column must tell about itself to be worded: every `Feature` does."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def description(self) -> Text: ...


@dataclass(frozen=True)
class Phrase:
    """A column in a sentence. `stated` holds {value}; `none` and `one` replace it for 0 and 1; `unknown` for NaN.

    unit: how the value is said (`amounts.say`). is_plain: an analyst understands it at once; plain columns speak for
    their family first. own_usual: the column that holds what is usual for this user, or "". has_usual: comparing it
    with others makes sense. is_personal: it says something about the user, not only about the moment.
    """

    stated: Text
    unknown: Text
    unit: str
    none: Text | None = None
    one: Text | None = None
    is_plain: bool = True
    own_usual: str = ""
    has_usual: bool = True
    is_personal: bool = True

    def about(self, value: float) -> Text:
        """The template that fits the value."""
        if value != value:
            return self.unknown
        if value == 0 and self.none is not None:
            return self.none
        return self.one if value == 1 and self.one is not None else self.stated
