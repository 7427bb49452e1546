"""The plan: a catalogue compiled to small arrays that the generic kernels read. Nothing is compiled per catalogue.

The engine's scratch row P holds every primitive of one (user, moment), section by section (`slots.Places`), and each
feature is one operation over at most four places of P. Events with the same key behave alike; keys that feed the same
slots form one class, and each class lists its slots (`Lists`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.columns import Needs, frozen
from ebbtide.features.feature import Feature
from ebbtide.features.primitives import COLUMNS, ITEM_COLUMNS, KEYS, PRICE_CHANGE, Cell, Op
from ebbtide.features.selectors import KEY_COUNT, TYPE_BITS, TYPE_CODES, parse_selector
from ebbtide.features.slots import ALWAYS, Places, Slots, collect_slots, make_places, place_of, window_us

UNIQUE_DAY, UNIQUE_BLOCK = -1, -2
NO_WEIGHT = NO_KEY = -1
ORDER = TYPE_CODES["order"]

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Lists(NamedTuple):
    """The slots of each class: `slot[start[c]:start[c + 1]]`, each with a number beside it that says how; oldest
    (classes,) the last bin in which an event of the class matters to any of them."""

    start: Ints
    slot: Ints
    how: Ints
    oldest: Ints


class FeedPlan(NamedTuple):
    """How sums are fed: `plain` adds 1 (how unused), `weighted` a column (how), `unique` 1 once a value of a key (how).

    counts_known, seen_row (slots,): count known values; where values met are noted, of seen_rows."""

    slots: int
    plain: Lists
    weighted: Lists
    unique: Lists
    counts_known: Flags
    seen_row: Ints
    seen_rows: int


class CellPlan(NamedTuple):
    """Sums over windows, (bins, slots). `followed` adds 1 if followed (how: the follower), `followers` update a
    follower.

    edges_us (bins - 1,); block_us, within_us (slots,); tells_items (classes,) whether an item table is asked; oldest
    (classes,) the last bin in which an event of the class matters, oldest_of_all the same for any class."""

    feed: FeedPlan
    edges_us: Longs
    followed: Lists
    followers: Lists
    follower_count: int
    block_us: Longs
    within_us: Longs
    tells_items: Flags
    oldest: Ints
    oldest_of_all: int


class TotalPlan(NamedTuple):
    """Sums over all history, and the latest values (how: the column); last, lowest (latest,): how many of them are
    read, and whether their lowest is wanted."""

    feed: FeedPlan
    latest: Lists
    latest_count: int
    last: Ints
    lowest: Flags


class RhythmPlan(NamedTuple):
    """First and last times, and gaps; quantile_slot, quantile (quantiles,) the rhythm and the quantile wanted."""

    spans: Lists
    span_count: int
    rhythms: Lists
    rhythm_count: int
    quantile_slot: Ints
    quantile: Floats


class DecayPlan(NamedTuple):
    """Decayed sums (how: the column), by ascending half-life; life, counts_orders (decays,)."""

    lists: Lists
    life: Ints
    counts_orders: Flags
    half_life_us: Floats


class TracePlan(NamedTuple):
    """Firsts (how: the key) and price changes (how: NO_KEY); what is read of them: trace, window, whether the number
    of known changes is wanted (reads,)."""

    lists: Lists
    trace_count: int
    read_trace: Ints
    read_window_us: Longs
    read_known: Flags


class TallyPlan(NamedTuple):
    """Distributions over keys (how: the key); window_us (tallies,), longest_us the longest but ALWAYS."""

    lists: Lists
    window_us: Longs
    longest_us: int


class Plan(NamedTuple):
    """All that the kernels read; class_of_key (KEY_COUNT,). Features are listed by operation: feature (F,) their
    columns, op_start (operations + 1,), scale (F,), part (F, 4) places of P."""

    class_of_key: Ints
    places: Places
    cells: CellPlan
    totals: TotalPlan
    rhythms: RhythmPlan
    decays: DecayPlan
    traces: TracePlan
    tallies: TallyPlan
    visit_windows_us: Longs
    feature: Ints
    op_start: Ints
    part: Ints
    scale: Floats


@lru_cache(maxsize=32)
def plan_of(catalogue: Catalogue, outcome: tuple[str, ...]) -> tuple[Plan, Needs]:
    """A catalogue compiled for a definition's outcome types; the latest ones are kept.

    Raises InputError for too many different windows.
    """
    return make_plan(catalogue.features, outcome)


def make_plan(features: tuple[Feature, ...], outcome: tuple[str, ...]) -> tuple[Plan, Needs]:
    """Compile features, for a definition's outcome types. Raises InputError for too many different windows."""
    expressions = [f.expression() for f in features]
    primitives = list(dict.fromkeys(p for e in expressions for p in e.parts))
    slots = collect_slots(primitives)
    places = make_places(slots)
    place = {p: place_of(p, slots, places) for p in primitives}
    part = np.zeros((len(features), 4), np.int32)
    for i, e in enumerate(expressions):
        part[i, : len(e.parts)] = [place[p] for p in e.parts]
    ops = _ints([e.op for e in expressions])
    order = np.argsort(ops, kind="stable")
    maker = _Maker(slots, outcome)
    plan = Plan(
        class_of_key=maker.class_of_key,
        places=places,
        cells=maker.cells(),
        totals=maker.totals(),
        rhythms=maker.rhythms(),
        decays=maker.decays(),
        traces=maker.traces(),
        tallies=maker.tallies(),
        visit_windows_us=_longs([window_us(d) for d in slots.visits]),
        feature=_ints(order),
        op_start=_ints(np.searchsorted(ops[order], np.arange(len(Op) + 1))),
        part=part[order],
        scale=np.array([e.scale for e in expressions], np.float64)[order],
    )
    return frozen(plan), slots.needs()


class _Maker:
    """Makes the part of each kernel; `class_of_key` (KEY_COUNT,), one example key a class."""

    def __init__(self, slots: Slots, outcome: tuple[str, ...]) -> None:
        self._slots, self._outcome = slots, outcome
        selectors = [c.of for c in (*slots.cells, *slots.totals)] + [c.by for c in slots.cells if c.by]
        selectors += [*slots.spans, *slots.rhythms]
        selectors += [v.of for v in slots.latest] + [d.of for d in slots.decays]
        selectors += [t.of for t in slots.traces] + [t.of for t in slots.tallies]
        match = [parse_selector(s).accepts(outcome) for s in dict.fromkeys(selectors)]
        is_order = (np.arange(KEY_COUNT) & TYPE_BITS) == ORDER
        packed = np.packbits(np.vstack([is_order, *match]).T, axis=1)
        _, self._example, classes = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        self._is_order = is_order[self._example]
        self.class_of_key = _ints(classes)

    def cells(self) -> CellPlan:
        """Sums over windows."""
        slots, cells = self._slots, list(self._slots.cells)
        oldest = [_bin(window, slots.edges_us) for window in slots.cells.values()]
        feed = self._feed(cells, oldest)
        by = list(dict.fromkeys(c.by for c in cells if c.by))
        followed = self._lists([c.of for c in cells], [by.index(c.by) if c.by else 0 for c in cells],
                               self._all([bool(c.by) for c in cells]), oldest)  # fmt: skip
        reach = [max(o for o, c in zip(oldest, cells, strict=True) if c.by == name) for name in by]
        followers = self._lists(by, range(len(by)), oldest=reach)
        tells = self._all([_column(c.weight) >= len(COLUMNS) for c in cells])
        last = np.max([x.oldest for x in (feed.plain, feed.weighted, feed.unique, followed, followers)], axis=0)
        return CellPlan(
            feed=feed,
            edges_us=_longs(slots.edges_us),
            followed=followed,
            followers=followers,
            follower_count=len(by),
            block_us=_longs([_block_us(c.unique) for c in cells]),
            within_us=_longs([window_us(c.within_days) for c in cells]),
            tells_items=np.diff(self._lists([c.of for c in cells], oldest, tells).start) > 0,
            oldest=_ints(last),
            oldest_of_all=int(last.max(initial=-1)),
        )

    def totals(self) -> TotalPlan:
        """Sums over all history, latest values."""
        latest = self._slots.latest
        lists = self._lists([v.of for v in latest], [COLUMNS.index(v.column) for v in latest])
        return TotalPlan(
            self._feed(self._slots.totals, [0] * len(self._slots.totals)),
            lists,
            len(latest),
            _ints([v.last for v in latest]),
            _flags([v.lowest for v in latest]),
        )

    def rhythms(self) -> RhythmPlan:
        """First and last times, gaps."""
        slots = self._slots
        return RhythmPlan(
            self._lists(slots.spans, range(len(slots.spans))),
            len(slots.spans),
            self._lists(slots.rhythms, range(len(slots.rhythms))),
            len(slots.rhythms),
            _ints([slots.rhythms.index(q.of) for q in slots.quantiles]),
            np.array([int(q.stat[1:]) / 100 for q in slots.quantiles], np.float64),
        )

    def decays(self) -> DecayPlan:
        """Decayed sums."""
        decays = self._slots.decays
        lives = sorted({d.half_life_days for d in decays})
        orders = [not d.weight and parse_selector(d.of).counts_orders(self._outcome) for d in decays]
        return DecayPlan(
            self._lists([d.of for d in decays], [_column(d.weight) for d in decays]),
            _ints([lives.index(d.half_life_days) for d in decays]),
            _flags(orders),
            np.array(lives, np.float64) * DAY_US,
        )

    def traces(self) -> TracePlan:
        """First occurrences and price changes."""
        reads = self._slots.traces
        traces = list(dict.fromkeys((t.of, t.what) for t in reads))
        how = [NO_KEY if what == PRICE_CHANGE else KEYS.index(what) for _, what in traces]
        return TracePlan(
            self._lists([of for of, _ in traces], how),
            len(traces),
            _ints([traces.index((t.of, t.what)) for t in reads]),
            _longs([window_us(t.days) for t in reads]),
            _flags([t.known or t.what != PRICE_CHANGE for t in reads]),
        )

    def tallies(self) -> TallyPlan:
        """Distributions over keys."""
        tallies = self._slots.tallies
        windows = [window_us(t.days) for t in tallies]
        return TallyPlan(
            self._lists([t.of for t in tallies], [KEYS.index(t.key) for t in tallies]),
            _longs(windows),
            max((w for w in windows if w != ALWAYS), default=0),
        )

    def _feed(self, cells: Sequence[Cell], oldest: Sequence[int]) -> FeedPlan:
        selectors, columns = [c.of for c in cells], [_column(c.weight) for c in cells]
        thinned = _flags([self._is_thinned(c) for c in cells]).reshape(len(cells), len(self._example))
        weighted, followed = self._all([bool(c.weight) for c in cells]), self._all([bool(c.by) for c in cells])
        simple = ~(weighted | followed)
        seen = [i for i, c in enumerate(cells) if _unique(c.unique) >= 0]
        return FeedPlan(
            slots=len(cells),
            plain=self._lists(selectors, columns, simple & ~thinned, oldest),
            weighted=self._lists(selectors, columns, weighted, oldest),
            unique=self._lists(selectors, [_unique(c.unique) for c in cells], simple & thinned, oldest),
            counts_known=_flags([c.weight.startswith("known:") for c in cells]),
            seen_row=_ints([seen.index(i) if i in seen else 0 for i in range(len(cells))]),
            seen_rows=len(seen),
        )

    def _is_thinned(self, cell: Cell) -> Flags:
        """In which classes a cell counts a value once; orders only among order lines, where orders are meant."""
        if cell.unique == "order":
            return np.asarray(self._is_order & parse_selector(cell.of).counts_orders(self._outcome))
        return np.full(len(self._is_order), bool(cell.unique))

    def _all(self, wanted: Sequence[bool]) -> Flags:
        """(slots,) -> (slots, classes)."""
        return np.repeat(_flags(wanted)[:, None], len(self._example), axis=1)

    def _lists(
        self,
        selectors: Sequence[str],
        how: Sequence[int],
        allowed: Flags | None = None,
        oldest: Sequence[int] | None = None,
    ) -> Lists:
        """The slots of each class; `allowed` (slots, classes) narrows down what the selectors accept, `oldest`
        (slots,) are last bins."""
        match = np.zeros((len(selectors), len(self._example)), np.bool_)
        for i, selector in enumerate(selectors):
            match[i] = parse_selector(selector).accepts(self._outcome)[self._example]
        if allowed is not None:
            match &= allowed
        start = np.concatenate([[0], np.cumsum(match.sum(axis=0))])
        slot = np.nonzero(match.T)[1]
        last = np.where(match, _ints(oldest or [0] * len(selectors))[:, None], -1).max(axis=0, initial=-1)
        return Lists(_ints(start), _ints(slot), _ints(how)[slot], _ints(last))


def _unique(unique: str) -> int:
    if unique == "day" or not unique:
        return UNIQUE_DAY
    if unique.startswith("block:"):
        return UNIQUE_BLOCK
    return KEYS.index("order_id" if unique == "order" else unique)


def _block_us(unique: str) -> int:
    return window_us(float(unique.removeprefix("block:"))) if unique.startswith("block:") else 1


def _column(weight: str) -> int:
    return (*COLUMNS, *ITEM_COLUMNS).index(weight.removeprefix("known:")) if weight else NO_WEIGHT


def _bin(window: int, edges_us: list[int]) -> int:
    return len(edges_us) if window == ALWAYS else edges_us.index(window)


def _ints(values: Any) -> Ints:
    return np.array(values, np.int32).ravel()


def _longs(values: Sequence[int]) -> Longs:
    return np.array(values, np.int64)


def _flags(values: Sequence[Any]) -> Flags:
    return np.array(values, np.bool_)
