"""A stack that goes on: the parts of it that can learn from more rows, and the stack that they make with the rest anew."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ebbtide.core.errors import InputError
from ebbtide.models.auto import Choice, MadeColumns, anchor
from ebbtide.models.base import Model, Rows, Vector
from ebbtide.models.columns import ColumnMaker
from ebbtide.models.continues import ways_of
from ebbtide.models.read import ReadModel
from ebbtide.models.registry import Entry, Setting
from ebbtide.models.stack import Reads, StackModel, as_ranges, read, read_rows


@dataclass(frozen=True)
class Part:
    """What goes on of one member: its model, or the column maker that it believes. `core` keeps `Continues`.

    `reads`: the columns that a model looks at; a maker sees all base columns.
    """

    name: str
    core: Any
    reads: Reads = ()
    is_maker: bool = False

    @property
    def ways(self) -> tuple[str, ...]:
        """How it can go on."""
        return ways_of(self.core)

    def anew(self, rows: Rows, *, seed: int) -> Part:
        """A twin with the same settings, fitted on `rows` alone."""
        return replace(self, core=copy.copy(self.core).fit(self._own(rows), seed=seed))

    def more(self, rows: Rows, *, seed: int, way: str) -> Part:
        """The same, gone on with `rows`, old ones included."""
        return replace(self, core=self.core.fit_more(self._own(rows), seed=seed, way=way))

    def margin(self, known: Rows, asked: Rows) -> Vector:
        """Log-odds of churn of the asked, (N,). `known`: what it was fitted on, whose mean stands in for unknown."""
        if not self.is_maker:
            return np.asarray(self.core.margin(read(asked.X, self.reads)))
        believed, wanted = (self.core.columns(r.X, r.sequences) for r in (known, asked))
        names = tuple(c.name for c in self.core.declarations())
        return ReadModel(self.name).fit(replace(known, X=believed, names=names), seed=0).margin(wanted)

    def _own(self, rows: Rows) -> Rows:
        return rows if self.is_maker else read_rows(rows, self.reads)


def parts_of(
    stack: StackModel,
    makers: Sequence[ColumnMaker],
    entries: Mapping[str, Entry],
    was: Sequence[str],
    now: Sequence[str],
) -> dict[str, Part]:
    """The members that can go on, by name. `was`: the base columns that the stack was fitted on, `now`: those of today.

    A model that reads makers' columns beside the base ones is left out: its makers would have to stand still. A maker is
    left out if the base columns are not the same. Raises InputError if a column is not computed any more.
    """
    made, found = {m.name: m for m in makers}, {}
    for name, model, reads in zip(stack.names, stack.members, stack.reads, strict=True):
        entry = entries[name]
        if entry.alone and list(was) == list(now) and ways_of(made[entry.makers[0]]):
            found[name] = Part(name, made[entry.makers[0]], is_maker=True)
        elif ways_of(model) and not entry.alone and max((stop for _, stop in reads), default=0) <= len(was):
            found[name] = Part(name, model, _where(reads, was, now))
    return found


def _where(reads: Reads, was: Sequence[str], now: Sequence[str]) -> Reads:
    names = [n for first, stop in reads or ((0, len(was)),) for n in was[first:stop]]
    place = {n: i for i, n in enumerate(now)}
    gone = [n for n in names if n not in place]
    places = [place[n] for n in names if n in place]
    if gone or places != sorted(places):
        raise InputError(
            "the bundle reads columns that are not computed any more or stand in another order ({count}: {names}); run"
            " `ebbtide train` without --continue",
            "模型读取的列已不再计算或次序不同（{count} 列：{names}）；请不带 --continue 运行 `ebbtide train`",
            count=len(gone) or len(names),
            names=", ".join((gone or names)[:3]),
        )
    return as_ranges(places)


def carry_on(
    rows: Rows,
    parts: Mapping[str, Part],
    choice: Choice,
    entries: Mapping[str, Entry],
    setting: Setting,
    *,
    seed: int,
) -> tuple[StackModel, tuple[ColumnMaker, ...]]:
    """The stack on all `rows`: parts go on in the chosen way (`choice.variant`), other members are fitted anew."""
    made = MadeColumns(rows, setting, seed)
    carrying = {name: entry for name, entry in entries.items() if choice.weight[name] > 0}
    moved = {
        name: parts[name].more(rows, seed=seed, way=parts[name].ways[choice.variant[name]])
        for name in carrying
        if name in parts
    }
    for part in moved.values():
        if part.is_maker:
            made.give(part.core)
    own = {name: part for name, part in moved.items() if not part.is_maker}
    members: list[Model] = [
        own[name].core if name in own else entry.make(setting).fit(made.rows_for(entry, rows), seed=seed)
        for name, entry in carrying.items()
    ]
    reads = [own[name].reads if name in own else made.reads_of(entry) for name, entry in carrying.items()]
    weights = [choice.weight[name] for name in carrying]
    stack = StackModel(members, weights, names=list(carrying), reads=reads)
    return anchor(stack, made.makers, rows), made.makers
