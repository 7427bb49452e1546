"""What every feature declaration is: data that names, words and expresses one column.

Windows end at as_of and are half-open, `(as_of - days, as_of]`; `days=None` means all history. `of` is a selector
(`selectors.py`). Counting nothing gives 0, the mean of nothing is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.features.primitives import Expression
from ebbtide.features.selectors import Selector, parse_selector
from ebbtide.features.words import window_slug, window_words

Unit = Literal["count", "days", "money", "share", "ratio", "change", "number", "minutes", "tone"]


@dataclass(frozen=True)
class Feature:
    """One column. `outcome` says what the word "outcome" means in this catalogue and only touches the wording."""

    outcome: tuple[str, ...] = field(default=(), kw_only=True, compare=False)

    @property
    def name(self) -> str:
        """snake_case, unique in a catalogue, with its window."""
        raise NotImplementedError

    @property
    def unit(self) -> Unit:
        """What the number counts."""
        raise NotImplementedError

    @property
    def family(self) -> str:
        """A key of `families.FAMILIES`."""
        raise NotImplementedError

    @property
    def description(self) -> Text:
        """The column in words."""
        raise NotImplementedError

    @property
    def requires(self) -> frozenset[str]:
        """Capabilities (`events/capabilities.py`) without which the column says nothing."""
        raise NotImplementedError

    def expression(self) -> Expression:
        """What the engine computes."""
        raise NotImplementedError

    def speaking_of(self, outcome: tuple[str, ...]) -> Self:
        """The same feature, worded for this outcome."""
        return replace(self, outcome=outcome)


@dataclass(frozen=True)
class SelectedFeature(Feature):
    """A feature of the events of one selector."""

    of: str

    def __post_init__(self) -> None:
        parse_selector(self.of)

    @property
    def selector(self) -> Selector:
        """The parsed `of`."""
        return parse_selector(self.of)

    @property
    def slug(self) -> str:
        """The selector in a name."""
        return self.selector.slug

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires

    @property
    def family(self) -> str:
        return self.selector.family

    @property
    def noun(self) -> Text:
        """The events in words, plural."""
        return self.selector.noun(self.outcome)

    @property
    def count_noun(self) -> Text:
        """The events in words, as a thing that is counted."""
        return self.selector.count_noun(self.outcome)


class Windowed(Feature):
    """A feature over one window; what it is without the window has a slug and words, so that `Trend`, `Shift` and
    `Ratio` can put another window to it."""

    days: float | None

    @property
    def stem_slug(self) -> str:
        """The name without the window."""
        raise NotImplementedError

    @property
    def stem(self) -> Text:
        """The description without the window."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        return f"{self.stem_slug}_{window_slug(self.days)}"

    @property
    def description(self) -> Text:
        return window_words(self.stem, self.days)

    def within(self, days: float | None) -> Self:
        """The same over another window."""
        return replace(self, days=days)  # type: ignore[call-arg]  # every subclass is a dataclass with this field


def check_choice(value: str, choices: tuple[str, ...], what: Text) -> None:
    """Raise InputError if a declaration names something that does not exist."""
    if value not in choices:
        raise InputError(
            "`{value}` is no {what}; choose one of {choices}",
            "`{value}` 不是{what}；可选：{choices}",
            value=value,
            what=what,
            choices=", ".join(choices),
        )
