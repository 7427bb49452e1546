"""Slots: which quantities a set of features needs, each listed once, and where each stands in the scratch row P."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np

from ebbtide.core.errors import InputError
from ebbtide.core.windows import DAY_US
from ebbtide.features.columns import Needs
from ebbtide.features.primitives import (
    BASKET_STATS,
    CLOCK_STATS,
    COLUMNS,
    ITEM_COLUMNS,
    KEYS,
    PRICE_CHANGE,
    RHYTHM_STATS,
    TALLY_STATS,
    VISIT_STATS,
    Basket,
    Cell,
    Clock,
    Decay,
    Latest,
    Primitive,
    Rhythm,
    Span,
    Tally,
    Trace,
    Visit,
)

ALWAYS = np.iinfo(np.int64).max
"""A window over all history, in microseconds."""
MOST_WINDOWS = 250
_T = TypeVar("_T")


@dataclass
class Slots:
    """The distinct slots of each kind. Cells stand here without their windows, with the longest one in us."""

    edges_us: list[int] = field(default_factory=list)
    cells: dict[Cell, int] = field(default_factory=dict)
    totals: list[Cell] = field(default_factory=list)
    latest: list[Latest] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    rhythms: list[str] = field(default_factory=list)
    quantiles: list[Rhythm] = field(default_factory=list)
    decays: list[Decay] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    visits: list[float | None] = field(default_factory=list)
    baskets: bool = False

    def needs(self) -> Needs:
        """What of the events the slots read. Orders are always told apart."""
        weights = {c.weight.removeprefix("known:") for c in (*self.cells, *self.totals)} | {
            d.weight for d in self.decays
        }
        told = bool(weights & set(ITEM_COLUMNS))
        priced = told or any(t.what == PRICE_CHANGE for t in self.traces)
        columns = (weights | {v.column for v in self.latest}) & set(COLUMNS)
        columns |= {"unit_price"} if priced else set()
        columns |= {"value", "discount"} if self.baskets else set()
        keys = {c.unique for c in (*self.cells, *self.totals)} | {t.what for t in self.traces}
        keys |= {t.key for t in self.tallies} | {"order_id"}
        keys |= {"item_id"} if priced else set()
        keys |= {"session_id"} if self.visits else set()
        return Needs(frozenset(columns), frozenset(keys & set(KEYS)))


class Places(NamedTuple):
    """Where each section of P begins, and P's length."""

    totals: int
    latest: int
    spans: int
    rhythms: int
    quantiles: int
    decays: int
    traces: int
    tallies: int
    baskets: int
    visits: int
    clock: int
    size: int


def collect_slots(primitives: Iterable[Primitive]) -> Slots:
    """List what the primitives need. Raises InputError for too many different windows."""
    slots = Slots()
    for p in primitives:
        match p:
            case Cell() if is_total(p):
                _add(slots.totals, p)
            case Cell():
                slot = replace(p, days=None)
                slots.cells[slot] = max(slots.cells.get(slot, 0), window_us(p.days))
                if p.days is not None:
                    _add(slots.edges_us, window_us(p.days))
            case Latest():
                _add(slots.latest, p)
            case Span():
                _add(slots.spans, p.of)
            case Rhythm():
                _add(slots.rhythms, p.of)
                if is_quantile(p):
                    _add(slots.quantiles, p)
            case Decay():
                _add(slots.decays, p)
            case Trace():
                _add(slots.traces, p)
            case Tally():
                _add(slots.tallies, replace(p, stat=""))
            case Visit():
                _add(slots.visits, p.days)
            case Basket():
                slots.baskets = True
            case Clock():
                pass
    slots.edges_us.sort()
    slots.decays.sort(key=lambda d: (d.half_life_days, d.of, d.weight))
    if len(slots.edges_us) > MOST_WINDOWS:
        raise InputError(
            "the catalogue has {count} different windows; the engine keeps at most {most} apart: use fewer",
            "特征目录有 {count} 种不同窗口；引擎最多区分 {most} 种：请减少窗口",
            count=len(slots.edges_us),
            most=MOST_WINDOWS,
        )
    return slots


def make_places(slots: Slots) -> Places:
    """Lay the sections out."""
    sizes = (
        len(slots.cells) * (len(slots.edges_us) + 1),
        len(slots.totals),
        len(slots.latest),
        2 * len(slots.spans),
        len(RHYTHM_STATS) * len(slots.rhythms),
        len(slots.quantiles),
        len(slots.decays),
        len(slots.traces),
        len(TALLY_STATS) * len(slots.tallies),
        len(BASKET_STATS) * slots.baskets,
        len(VISIT_STATS) * len(slots.visits),
        len(CLOCK_STATS),
    )
    return Places(*(int(end) for end in np.cumsum(sizes)))


def place_of(p: Primitive, slots: Slots, places: Places) -> int:
    """The place of a primitive in P."""
    match p:
        case Cell() if is_total(p):
            return places.totals + slots.totals.index(p)
        case Cell():
            return bin_of(p.days, slots) * len(slots.cells) + list(slots.cells).index(replace(p, days=None))
        case Latest():
            return places.latest + slots.latest.index(p)
        case Span():
            return places.spans + 2 * slots.spans.index(p.of) + (p.stat == "first")
        case Rhythm() if is_quantile(p):
            return places.quantiles + slots.quantiles.index(p)
        case Rhythm():
            return places.rhythms + len(RHYTHM_STATS) * slots.rhythms.index(p.of) + RHYTHM_STATS.index(p.stat)
        case Decay():
            return places.decays + slots.decays.index(p)
        case Trace():
            return places.traces + slots.traces.index(p)
        case Tally():
            tally = slots.tallies.index(replace(p, stat=""))
            return places.tallies + len(TALLY_STATS) * tally + TALLY_STATS.index(p.stat)
        case Basket():
            return places.baskets + BASKET_STATS.index(p.stat)
        case Visit():
            return places.visits + len(VISIT_STATS) * slots.visits.index(p.days) + VISIT_STATS.index(p.stat)
        case Clock():
            return places.clock + CLOCK_STATS.index(p.stat)


def is_total(cell: Cell) -> bool:
    """Whether a cell over all history can be carried forward: its events count the same at any later moment."""
    moving = cell.by or cell.unique.startswith("block:") or cell.weight.removeprefix("known:") in ITEM_COLUMNS
    return cell.days is None and not moving


def is_quantile(p: Rhythm) -> bool:
    """Whether a rhythm statistic is `q` and a percentage."""
    return p.stat not in RHYTHM_STATS


def bin_of(days: float | None, slots: Slots) -> int:
    """The last bin of a window; all history ends one past the longest window."""
    return len(slots.edges_us) if days is None else slots.edges_us.index(window_us(days))


def window_us(days: float | None) -> int:
    """A window in microseconds."""
    return ALWAYS if days is None else round(days * DAY_US)


def _add(items: list[_T], item: _T) -> None:
    if item not in items:
        items.append(item)
