"""The catalogue: an ordered set of feature declarations, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import InputError
from ebbtide.features.declarations import KINDS
from ebbtide.features.defaults import default_features, item_features
from ebbtide.features.families import FAMILIES
from ebbtide.features.feature import Feature
from ebbtide.features.selectors import TYPE_WORDS
from ebbtide.features.user_file import load_user_features

__all__ = ["Catalogue", "default_catalogue", "load_user_features"]

_TYPE_CAPABILITIES = frozenset(w.capability for w in TYPE_WORDS.values()) - {""}


@dataclass(frozen=True)
class Catalogue:
    """Features in column order, and the event types that the word "outcome" stands for.

    Raises InputError if two features share a name.
    """

    features: tuple[Feature, ...]
    outcome: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(f.speaking_of(self.outcome) for f in self.features))
        names = self.names
        twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise InputError("two features share a name: {names}", "有特征重名：{names}", names=", ".join(twice))

    def __len__(self) -> int:
        return len(self.features)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Worked out once: there are many features, and a catalogue is looked up with every user who is asked about."""
        return hash((self.features, self.outcome))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Column names."""
        return tuple(f.name for f in self.features)

    def feature(self, name: str) -> Feature:
        """The declaration of a column. Raises KeyError."""
        return {f.name: f for f in self.features}[name]

    def available(self, capabilities: Iterable[str]) -> Catalogue:
        """The features whose needs are met. What speaks of any activity needs two kinds of it, unless it is the
        outcome itself."""
        have = frozenset(capabilities)
        several = len(have & _TYPE_CAPABILITIES) > 1
        return self._where(lambda f: f.requires <= have and (several or getattr(f, "of", "") != "any"))

    def keep(self, names: Iterable[str]) -> Catalogue:
        """Only these columns, in the catalogue's order."""
        wanted = set(names)
        return self._where(lambda f: f.name in wanted)

    def drop(self, names: Iterable[str]) -> Catalogue:
        """Without these names and families. Raises InputError for what is neither."""
        unwanted = set(names)
        unknown = unwanted - set(self.names) - set(FAMILIES)
        if unknown:
            raise InputError(
                "neither a feature nor a family: {unknown}; the families are {families}",
                "既不是特征也不是特征族：{unknown}；特征族有 {families}",
                unknown=", ".join(sorted(unknown)),
                families=", ".join(FAMILIES),
            )
        return self._where(lambda f: not {f.name, f.family} & unwanted)

    def extended(self, features: Iterable[Feature]) -> Catalogue:
        """With more columns at the end. Raises InputError if a name is taken."""
        return Catalogue((*self.features, *features), self.outcome)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe and lossless; `from_json` is the inverse."""
        return {"outcome": list(self.outcome), "features": [_to_json(f) for f in self.features]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote. Raises InputError for an unknown kind."""
        return cls(tuple(_from_json(f) for f in data["features"]), tuple(data["outcome"]))

    def _where(self, fits: Callable[[Feature], bool]) -> Catalogue:
        return Catalogue(tuple(f for f in self.features if fits(f)), self.outcome)


def default_catalogue(definition: ChurnDefinition, history_days: float, *, with_item_table: bool = False) -> Catalogue:
    """The shipped features for a question, with windows and half-lives fitted to horizon and history.

    `with_item_table` adds the columns that `compute` fills only when it gets an item table.
    """
    features = default_features(definition, history_days)
    if with_item_table:
        features += item_features(definition, history_days)
    return Catalogue(features, definition.outcome)


def _to_json(feature: Feature) -> dict[str, Any]:
    values = {f.name: getattr(feature, f.name) for f in dataclasses.fields(feature) if f.name != "outcome"}
    return {
        "kind": type(feature).__name__,
        **{name: _to_json(value) if isinstance(value, Feature) else value for name, value in values.items()},
    }


def _from_json(data: Mapping[str, Any]) -> Feature:
    kind = KINDS.get(str(data["kind"]))
    if kind is None:
        raise InputError(
            "`{kind}` is no kind of feature; the kinds are {kinds}",
            "`{kind}` 不是特征种类；可用种类：{kinds}",
            kind=data["kind"],
            kinds=", ".join(KINDS),
        )
    fields: dict[str, Any] = {k: _from_json(v) if isinstance(v, Mapping) else v for k, v in data.items() if k != "kind"}
    return kind(**fields)
