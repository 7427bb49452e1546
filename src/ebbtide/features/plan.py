"""The plan: a catalogue compiled to small arrays that the generic kernels read. Nothing is compiled per catalogue.

The engine's scratch row P holds every primitive of one (user, moment), section by section (`Places`), and each feature
is one operation over at most four places of P. Events with the same key behave alike; keys that feed the same slots
form one class, and each class lists its slots (`Lists`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import InputError
from ebbtide.core.windows import DAY_US
from ebbtide.features.feature import Feature
from ebbtide.features.primitives import (
    BASKET_STATS,
    CLOCK_STATS,
    COLUMNS,
    DERIVED,
    KEYS,
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
    Visit,
)
from ebbtide.features.selectors import KEY_COUNT, TYPE_CODES, parse_selector

UNIQUE_DAY, UNIQUE_BLOCK = -1, -2
NO_WEIGHT = -1
BIN_BITS = 8
MOST_WINDOWS = (1 << BIN_BITS) - 2
ORDER = TYPE_CODES["order"]

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_T = TypeVar("_T")


class Lists(NamedTuple):
    """The slots of each class: `slot[start[c]:start[c + 1]]`, each with a number beside it that says how."""

    start: Ints
    slot: Ints
    how: Ints


class Places(NamedTuple):
    """Where each section of P begins, and P's length."""

    spans: int
    rhythms: int
    quantiles: int
    decays: int
    tallies: int
    latest: int
    baskets: int
    visits: int
    clock: int
    size: int


class CellPlan(NamedTuple):
    """Cells: (slots, bins) totals. `plain` adds 1 (how unused); `weighted` adds a column (how); `unique` adds 1 once a
    value of a key (how); `followed` adds 1 if followed (how: the follower); `followers` update a follower.

    counts_known, keeps_first, seen_row, block_us, within_us (slots,); edges_us (bins - 1,)."""

    slots: int
    bins: int
    edges_us: Longs
    plain: Lists
    weighted: Lists
    unique: Lists
    followed: Lists
    followers: Lists
    counts_known: Flags
    keeps_first: Flags
    seen_row: Ints
    seen_rows: int
    block_us: Longs
    within_us: Longs
    follower_count: int
    derives: Flags


class HistoryPlan(NamedTuple):
    """What is carried forward in time: spans, rhythms and decays, and the latest values (how: the column)."""

    spans: Lists
    span_count: int
    rhythms: Lists
    rhythm_count: int
    quantile_slot: Ints
    quantile: Floats
    decays: Lists
    decay_orders: Flags
    decay_life: Ints
    half_life_us: Floats
    latest: Lists
    latest_count: int
    baskets: bool
    visit_windows_us: Longs


class TallyPlan(NamedTuple):
    """Distributions over keys: how is the key; `bins` (tallies,) the last bin that is inside the window."""

    lists: Lists
    last_bin: Ints


class Plan(NamedTuple):
    """All that the kernels read; class_of_key (KEY_COUNT,), op and scale (F,), part (F, 4) places of P."""

    class_of_key: Ints
    places: Places
    cells: CellPlan
    history: HistoryPlan
    tallies: TallyPlan
    op: Ints
    part: Ints
    scale: Floats


@dataclass
class _Slots:
    """The distinct slots of each kind, in order of first use."""

    cells: list[Cell] = field(default_factory=list)  # without their windows
    spans: list[str] = field(default_factory=list)
    rhythms: list[str] = field(default_factory=list)
    quantiles: list[tuple[str, float]] = field(default_factory=list)
    decays: list[Decay] = field(default_factory=list)
    tallies: list[tuple[str, str, float | None]] = field(default_factory=list)
    latest: list[Latest] = field(default_factory=list)
    visits: list[float | None] = field(default_factory=list)
    edges_us: list[int] = field(default_factory=list)
    followers: list[str] = field(default_factory=list)


@lru_cache(maxsize=32)
def make_plan(features: tuple[Feature, ...], outcome: tuple[str, ...]) -> Plan:
    """Compile features, for a definition's outcome types. Raises InputError for too many different windows."""
    expressions = [f.expression() for f in features]
    primitives = list(dict.fromkeys(p for e in expressions for p in e.parts))
    slots = _collect(primitives)
    places = _places(slots)
    place_of = {p: _place(p, slots, places) for p in primitives}
    part = np.zeros((len(features), 4), np.int32)
    for i, e in enumerate(expressions):
        part[i, : len(e.parts)] = [place_of[p] for p in e.parts]
    class_of_key, example = _classes(slots, outcome)
    make_lists = _ListMaker(example, outcome).make
    return Plan(
        class_of_key=class_of_key,
        places=places,
        cells=_cell_plan(slots, example, outcome, make_lists),
        history=_history_plan(slots, any(isinstance(p, Basket) for p in primitives), outcome, make_lists),
        tallies=TallyPlan(
            make_lists([t[1] for t in slots.tallies], [KEYS.index(t[0]) for t in slots.tallies]),
            _ints([_bin(slots, t[2]) for t in slots.tallies]),
        ),
        op=_ints([e.op for e in expressions]),
        part=part,
        scale=np.array([e.scale for e in expressions], np.float64),
    )


def _collect(primitives: Iterable[Primitive]) -> _Slots:
    slots = _Slots()
    for p in primitives:
        match p:
            case Cell():
                _add(slots.cells, _windowless(p))
                if p.by:
                    _add(slots.followers, p.by)
            case Span():
                _add(slots.spans, p.of)
            case Rhythm():
                _add(slots.rhythms, p.of)
                if p.stat[0] == "q":
                    _add(slots.quantiles, (p.of, _quantile(p)))
            case Decay():
                _add(slots.decays, p)
            case Tally():
                _add(slots.tallies, (p.key, p.of, p.days))
            case Latest():
                _add(slots.latest, p)
            case Visit():
                _add(slots.visits, p.days)
        if isinstance(p, Cell | Tally) and p.days is not None:
            _add(slots.edges_us, _us(p.days))
    slots.edges_us.sort()
    if len(slots.edges_us) > MOST_WINDOWS:
        raise InputError(
            "the catalogue has {count} different windows; the engine keeps at most {most} apart: use fewer",
            "特征目录有 {count} 种不同窗口；引擎最多区分 {most} 种：请减少窗口",
            count=len(slots.edges_us),
            most=MOST_WINDOWS,
        )
    return slots


def _places(slots: _Slots) -> Places:
    sizes = [
        len(slots.cells) * (len(slots.edges_us) + 1),
        2 * len(slots.spans),
        len(RHYTHM_STATS) * len(slots.rhythms),
        len(slots.quantiles),
        len(slots.decays),
        len(TALLY_STATS) * len(slots.tallies),
        len(slots.latest),
        len(BASKET_STATS),
        len(VISIT_STATS) * len(slots.visits),
        len(CLOCK_STATS),
    ]
    return Places(*(int(n) for n in np.cumsum(sizes)))


def _place(p: Primitive, slots: _Slots, places: Places) -> int:
    match p:
        case Cell():
            return slots.cells.index(_windowless(p)) * (len(slots.edges_us) + 1) + _bin(slots, p.days)
        case Span():
            return places.spans + 2 * slots.spans.index(p.of) + (p.stat == "first")
        case Rhythm() if p.stat[0] == "q":
            return places.quantiles + slots.quantiles.index((p.of, _quantile(p)))
        case Rhythm():
            return places.rhythms + len(RHYTHM_STATS) * slots.rhythms.index(p.of) + RHYTHM_STATS.index(p.stat)
        case Decay():
            return places.decays + slots.decays.index(p)
        case Tally():
            tally = slots.tallies.index((p.key, p.of, p.days))
            return places.tallies + len(TALLY_STATS) * tally + TALLY_STATS.index(p.stat)
        case Latest():
            return places.latest + slots.latest.index(p)
        case Basket():
            return places.baskets + BASKET_STATS.index(p.stat)
        case Visit():
            return places.visits + len(VISIT_STATS) * slots.visits.index(p.days) + VISIT_STATS.index(p.stat)
        case Clock():
            return places.clock + CLOCK_STATS.index(p.stat)


def _classes(slots: _Slots, outcome: tuple[str, ...]) -> tuple[Ints, Longs]:
    """The class of each key, and one example key of each class."""
    selectors = [c.of for c in slots.cells] + slots.followers + slots.spans + slots.rhythms
    selectors += [d.of for d in slots.decays] + [t[1] for t in slots.tallies] + [v.of for v in slots.latest]
    match = [parse_selector(s).accepts(outcome) for s in dict.fromkeys(selectors)]
    is_order = (np.arange(KEY_COUNT) & 31) == ORDER
    packed = np.packbits(np.vstack([is_order, *match]).T, axis=1)
    _, example, class_of_key = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    return _ints(class_of_key), example.astype(np.int64)


class _ListMaker:
    """Lists the slots of each class, given each slot's selector and how it is fed."""

    def __init__(self, example: Longs, outcome: tuple[str, ...]) -> None:
        self._example, self._outcome = example, outcome

    def make(self, selectors: Sequence[str], how: Sequence[int], allowed: Flags | None = None) -> Lists:
        """`allowed` (slots, classes) narrows down what the selectors accept."""
        match = np.zeros((len(selectors), len(self._example)), np.bool_)
        for i, selector in enumerate(selectors):
            match[i] = parse_selector(selector).accepts(self._outcome)[self._example]
        if allowed is not None:
            match &= allowed
        start = np.concatenate([[0], np.cumsum(match.sum(axis=0))])
        slot = np.nonzero(match.T)[1]
        return Lists(_ints(start), _ints(slot), _ints(how)[slot] if len(slot) else _ints([]))


def _cell_plan(slots: _Slots, example: Longs, outcome: tuple[str, ...], make_lists: Callable[..., Lists]) -> CellPlan:
    cells = slots.cells
    selectors = [c.of for c in cells]
    columns = [_column(c.weight) for c in cells]
    weighted, followed = _flags([c.weight for c in cells]), _flags([c.by for c in cells])
    order_class = (example & 31) == ORDER
    thinned = np.array([_is_thinned(c, outcome, order_class) for c in cells], np.bool_).reshape(len(cells), -1)
    simple = ~(weighted | followed)[:, None]
    seen = [i for i, c in enumerate(cells) if c.unique and c.unique != "day" and not c.unique.startswith("block:")]
    derived = np.array([c >= len(COLUMNS) for c in columns], np.bool_)
    derived_lists = make_lists(selectors, columns, np.repeat(derived[:, None], len(example), axis=1))
    return CellPlan(
        slots=len(cells),
        bins=len(slots.edges_us) + 1,
        edges_us=np.array(slots.edges_us, np.int64),
        plain=make_lists(selectors, columns, simple & ~thinned),
        weighted=make_lists(selectors, columns, np.repeat(weighted[:, None], len(example), axis=1)),
        unique=make_lists(selectors, [_unique(c.unique) for c in cells], simple & thinned),
        followed=make_lists(
            selectors,
            [slots.followers.index(c.by) if c.by else 0 for c in cells],
            np.repeat((followed & ~weighted)[:, None], len(example), axis=1),
        ),
        followers=make_lists(slots.followers, range(len(slots.followers))),
        counts_known=_flags([c.weight.startswith("known:") for c in cells]),
        keeps_first=_flags([c.first for c in cells]),
        seen_row=_ints([seen.index(i) if i in seen else 0 for i in range(len(cells))]),
        seen_rows=len(seen),
        block_us=np.array([_block_us(c.unique) for c in cells], np.int64),
        within_us=np.array([_us(c.within_days) for c in cells], np.int64),
        follower_count=len(slots.followers),
        derives=np.diff(derived_lists.start) > 0,
    )


def _history_plan(
    slots: _Slots, baskets: bool, outcome: tuple[str, ...], make_lists: Callable[..., Lists]
) -> HistoryPlan:
    decays = slots.decays
    lives = sorted({d.half_life_days for d in decays})
    windows = [_us(d) if d is not None else np.iinfo(np.int64).max for d in slots.visits]
    return HistoryPlan(
        spans=make_lists(slots.spans, range(len(slots.spans))),
        span_count=len(slots.spans),
        rhythms=make_lists(slots.rhythms, range(len(slots.rhythms))),
        rhythm_count=len(slots.rhythms),
        quantile_slot=_ints([slots.rhythms.index(of) for of, _ in slots.quantiles]),
        quantile=np.array([q for _, q in slots.quantiles], np.float64),
        decays=make_lists([d.of for d in decays], [_column(d.weight) for d in decays]),
        decay_orders=_flags([not d.weight and parse_selector(d.of).counts_orders(outcome) for d in decays]),
        decay_life=_ints([lives.index(d.half_life_days) for d in decays]),
        half_life_us=np.array(lives, np.float64) * DAY_US,
        latest=make_lists([v.of for v in slots.latest], [COLUMNS.index(v.column) for v in slots.latest]),
        latest_count=len(slots.latest),
        baskets=baskets,
        visit_windows_us=np.array(windows, np.int64),
    )


def _is_thinned(cell: Cell, outcome: tuple[str, ...], order_class: Flags) -> Flags:
    """In which classes a cell counts a value once; orders only among order lines, and only where orders are meant."""
    if cell.unique == "order":
        return order_class & parse_selector(cell.of).counts_orders(outcome)
    return np.full(len(order_class), bool(cell.unique))


def _unique(unique: str) -> int:
    if unique == "day" or not unique:
        return UNIQUE_DAY
    if unique.startswith("block:"):
        return UNIQUE_BLOCK
    return KEYS.index("order_id" if unique == "order" else unique)


def _block_us(unique: str) -> int:
    return _us(float(unique.removeprefix("block:"))) if unique.startswith("block:") else 1


def _column(weight: str) -> int:
    return (*COLUMNS, *DERIVED).index(weight.removeprefix("known:")) if weight else NO_WEIGHT


def _windowless(cell: Cell) -> Cell:
    return Cell(cell.of, None, cell.weight, cell.unique, cell.first, cell.by, cell.within_days)


def _quantile(p: Rhythm) -> float:
    return int(p.stat[1:]) / 100


def _bin(slots: _Slots, days: float | None) -> int:
    return len(slots.edges_us) if days is None else slots.edges_us.index(_us(days))


def _us(days: float) -> int:
    return round(days * DAY_US)


def _ints(values: Any) -> Ints:
    return np.array(values, np.int32).ravel()


def _flags(values: Sequence[Any]) -> Flags:
    return np.array([bool(v) for v in values], np.bool_)


def _add(items: list[_T], item: _T) -> None:
    if item not in items:
        items.append(item)
