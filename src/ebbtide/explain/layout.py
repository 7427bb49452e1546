"""What reasons need to know of a set of columns, worked out once: names, families, phrases, companions."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ebbtide.explain.phrase import Column, Phrase
from ebbtide.explain.phrases import phrase_of
from ebbtide.explain.silence import silence_of

Columns: TypeAlias = Sequence[Column]
"""What describes the columns of a design matrix, in their order: `Catalogue.features`, then the models' columns."""


@dataclass(frozen=True)
class Layout:
    """F columns in K families, numbered in order of first appearance.

    names, phrases: of the columns. family (F,): each column's family; family_names: the families.
    companion (F,): the column that holds what is usual for the user, or -1.
    order (F,): the columns family by family, in each in their order; those of family k are `order[start[k] : start[k + 1]]`.
    speaks (K,): whether a family says anything about a user; is_plain (F,): as in `Phrase`.
    silent_on (F,): the kind of event whose silence a column may tell, numbered, or -1; silent_when (F,): as in `silence_of`.
    """

    names: tuple[str, ...]
    phrases: tuple[Phrase, ...]
    family: NDArray[np.int64]
    family_names: tuple[str, ...]
    companion: NDArray[np.int64]
    order: NDArray[np.int64]
    start: NDArray[np.int64]
    speaks: NDArray[np.bool_]
    is_plain: NDArray[np.bool_]
    silent_on: NDArray[np.int64]
    silent_when: NDArray[np.int64]


_recent: deque[tuple[tuple[Column, ...], Layout]] = deque(maxlen=4)


def layout_of(columns: Columns) -> Layout:
    """The layout of the columns; the last few are kept, since one user at a time must not pay for it again.

    The same tuple is known again without a look at what is in it.
    """
    for known, layout in tuple(_recent):
        if known is columns:
            return layout
    # Features compare equal whatever their outcome is called, but are worded by it.
    layout = _layout_of(tuple(columns), tuple(getattr(c, "outcome", ()) for c in columns))
    if isinstance(columns, tuple):
        _recent.append((columns, layout))
    return layout


@lru_cache(maxsize=8)
def _layout_of(columns: tuple[Column, ...], outcomes: tuple[tuple[str, ...], ...]) -> Layout:
    names, families = tuple(c.name for c in columns), tuple(c.family for c in columns)
    position = {name: i for i, name in enumerate(names)}
    number = {name: k for k, name in enumerate(dict.fromkeys(families))}
    phrases = tuple(phrase_of(c) for c in columns)
    family = np.array([number[name] for name in families], np.int64)
    order, speaks = np.argsort(family, kind="stable"), np.zeros(len(number), np.bool_)
    speaks[family[[p.is_personal for p in phrases]]] = True
    silences = [silence_of(c) for c in columns]
    kinds = {kind: k for k, kind in enumerate(dict.fromkeys(kind for kind, _ in silences if kind))}
    return Layout(
        names,
        phrases,
        family,
        tuple(number),
        np.array([position.get(p.own_usual, -1) for p in phrases], np.int64),
        order,
        np.searchsorted(family[order], np.arange(len(number) + 1)),
        speaks,
        np.array([p.is_plain for p in phrases], np.bool_),
        np.array([kinds.get(kind, -1) for kind, _ in silences], np.int64),
        np.array([when for _, when in silences], np.int64),
    )
