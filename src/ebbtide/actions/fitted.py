"""Fitted effects: columns in, what each treatment would change in the outcome out. Trees as text, the rest as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from ebbtide.actions.boosters import Boosted
from ebbtide.actions.linear_effects import Linear
from ebbtide.actions.shifted import Shifted
from ebbtide.models.base import Matrix, Vector
from ebbtide.models.sealed import read_json, write_json


class Effects(Protocol):
    """What a learner has learnt."""

    kind: ClassVar[str]

    def effects(self, X: Matrix) -> Vector:
        """What each treatment adds to the outcome of each row, in the outcome's unit, (N, K - 1)."""

    def save(self, folder: Path) -> None:
        """Write into a folder of its own."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""


@dataclass(frozen=True)
class Contrast:
    """One model an arm, (K,), control first: each treatment's expectation less control's."""

    kind: ClassVar[str] = "contrast"
    models: tuple[Boosted, ...]

    def effects(self, X: Matrix) -> Vector:
        """(N, K - 1)."""
        control, *treated = (m.predict(X) for m in self.models)
        return np.column_stack([t - control for t in treated])

    def save(self, folder: Path) -> None:
        """One folder a model."""
        _save_models(folder, self.models)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        return cls(_load_models(folder))


@dataclass(frozen=True)
class Switch:
    """One model that also sees the arm, one column a treatment: what it expects with the arm switched on, less off."""

    kind: ClassVar[str] = "switch"
    model: Boosted
    treatments: int

    def expected(self, X: Matrix) -> Vector:
        """The expectation under each arm, (N, K)."""
        return np.column_stack([self.model.predict(with_arm(X, arm, self.treatments)) for arm in self._arms()])

    def effects(self, X: Matrix) -> Vector:
        """(N, K - 1)."""
        expected = self.expected(X)
        return np.asarray(expected[:, 1:] - expected[:, :1])

    def save(self, folder: Path) -> None:
        """The trees and the number of treatments."""
        _save_models(folder, (self.model,))
        write_json(folder / "switch.json", {"treatments": self.treatments})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        return cls(_load_models(folder)[0], int(read_json(folder / "switch.json")["treatments"]))

    def _arms(self) -> range:
        return range(self.treatments + 1)


@dataclass(frozen=True)
class Direct:
    """Models of the effect itself: `weights` (K - 1, M) sums M models up for each treatment, plus `shift` (K - 1,)."""

    kind: ClassVar[str] = "direct"
    models: tuple[Boosted, ...]
    weights: tuple[tuple[float, ...], ...]
    shift: tuple[float, ...]

    def effects(self, X: Matrix) -> Vector:
        """(N, K - 1)."""
        predicted = np.column_stack([m.predict(X) for m in self.models])
        return np.asarray(predicted @ np.array(self.weights).T + np.array(self.shift))

    def save(self, folder: Path) -> None:
        """The trees and how they are summed."""
        _save_models(folder, self.models)
        write_json(folder / "direct.json", {"weights": self.weights, "shift": self.shift})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        told = read_json(folder / "direct.json")
        return cls(_load_models(folder), tuple(tuple(w) for w in told["weights"]), tuple(told["shift"]))


@dataclass(frozen=True)
class Mixture:
    """The mean of several, each with its weight."""

    kind: ClassVar[str] = "mixture"
    members: tuple[Effects, ...]
    weights: tuple[float, ...]

    def effects(self, X: Matrix) -> Vector:
        """(N, K - 1)."""
        return np.asarray(sum(w * m.effects(X) for w, m in zip(self.weights, self.members, strict=True)))

    def save(self, folder: Path) -> None:
        """One folder a member."""
        for k, member in enumerate(self.members):
            save_effects(folder / f"member-{k}", member)
        write_json(folder / "mixture.json", {"weights": self.weights})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        weights = tuple(read_json(folder / "mixture.json")["weights"])
        return cls(tuple(load_effects(folder / f"member-{k}") for k in range(len(weights))), weights)


_KINDS: dict[str, Any] = {c.kind: c for c in (Contrast, Switch, Direct, Linear, Shifted, Mixture)}


def save_effects(folder: Path, fitted: Effects) -> None:
    """Write fitted effects of any kind."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted.save(folder)
    write_json(folder / "effects.json", {"kind": fitted.kind})


def load_effects(folder: Path) -> Effects:
    """Read what `save_effects` wrote."""
    loaded: Effects = _KINDS[read_json(folder / "effects.json")["kind"]].load(folder)
    return loaded


def with_arm(X: Matrix, arm: Any, treatments: int) -> Matrix:
    """X with one 0/1 column a treatment at the end; `arm` is one number for all rows, or one a row."""
    given = np.broadcast_to(np.asarray(arm), (len(X),))
    switched = given[:, None] == np.arange(1, treatments + 1)
    return np.column_stack([X, switched.astype(np.float32)])


def _save_models(folder: Path, models: tuple[Boosted, ...]) -> None:
    for k, model in enumerate(models):
        model.save(folder / f"model-{k:02}")


def _load_models(folder: Path) -> tuple[Boosted, ...]:
    return tuple(Boosted.load(f) for f in sorted(folder.glob("model-*")))
