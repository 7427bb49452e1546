"""The catalogue: an ordered set of feature declarations, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import InputError
from ebbtide.features import declarations
from ebbtide.features.declarations import Feature
from ebbtide.features.defaults import default_features
from ebbtide.features.selectors import TYPE_WORDS

KINDS: dict[str, type[Feature]] = {
    kind.__name__: kind
    for kind in vars(declarations).values()
    if isinstance(kind, type)
    and issubclass(kind, Feature)
    and kind is not Feature
    and not kind.__name__.startswith("_")
    and kind.__module__ == declarations.__name__
}
"""Every kind of declaration by its name in JSON."""
_TYPE_CAPABILITIES = frozenset(w.capability for w in TYPE_WORDS.values()) - {""}


@dataclass(frozen=True)
class Catalogue:
    """Features in column order, and the event types that the word "outcome" stands for.

    Raises InputError if two features share a name.
    """

    features: tuple[Feature, ...]
    outcome: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bound = tuple(dataclasses.replace(f, outcome=self.outcome) for f in self.features)
        object.__setattr__(self, "features", bound)
        names = self.names
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise InputError("two features share a name: {names}", "有特征重名：{names}", names=", ".join(twice))

    def __len__(self) -> int:
        return len(self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names."""
        return tuple(f.name for f in self.features)

    def feature(self, name: str) -> Feature:
        """The declaration of a column. Raises KeyError."""
        return self._by_name()[name]

    def _by_name(self) -> dict[str, Feature]:
        return {f.name: f for f in self.features}

    def available(self, capabilities: Iterable[str]) -> Catalogue:
        """The features whose needs are met; what speaks of any activity needs two kinds of it, unless it is the
        outcome itself."""
        have = frozenset(capabilities)
        several = len(have & _TYPE_CAPABILITIES) > 1
        return self.keep(
            f.name for f in self.features if f.requires <= have and (several or getattr(f, "of", "") != "any")
        )

    def keep(self, names: Iterable[str]) -> Catalogue:
        """Only these columns, in the catalogue's order."""
        wanted = set(names)
        return Catalogue(tuple(f for f in self.features if f.name in wanted), self.outcome)

    def drop(self, names: Iterable[str]) -> Catalogue:
        """Without these names and families."""
        unwanted = set(names)
        return self.keep(f.name for f in self.features if not {f.name, f.family} & unwanted)

    def extended(self, features: Iterable[Feature]) -> Catalogue:
        """With more columns at the end."""
        return Catalogue((*self.features, *features), self.outcome)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe and lossless; `from_json` is the inverse."""
        return {"outcome": list(self.outcome), "features": [_to_json(f) for f in self.features]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote. Raises InputError for an unknown kind."""
        return cls(tuple(_from_json(f) for f in data["features"]), tuple(data["outcome"]))


def default_catalogue(definition: ChurnDefinition, history_days: float) -> Catalogue:
    """The shipped features for a question, with windows and half-lives fitted to horizon and history."""
    return Catalogue(default_features(definition, history_days), definition.outcome)


def _to_json(feature: Feature) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": type(feature).__name__}
    for field in dataclasses.fields(feature):
        value = getattr(feature, field.name)
        if field.name != "outcome":
            fields[field.name] = _to_json(value) if isinstance(value, Feature) else value
    return fields


def _from_json(data: Mapping[str, Any]) -> Feature:
    kind = KINDS.get(str(data["kind"]))
    if kind is None:
        raise InputError(
            "`{kind}` is no kind of feature; the kinds are {kinds}",
            "`{kind}` 不是特征种类；可用种类：{kinds}",
            kind=data["kind"],
            kinds=", ".join(sorted(KINDS)),
        )
    fields: dict[str, Any] = {k: _from_json(v) if isinstance(v, Mapping) else v for k, v in data.items() if k != "kind"}
    return kind(**fields)
