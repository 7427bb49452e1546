"""The plan: a catalogue compiled to small arrays that the generic kernels read. Nothing is compiled per catalogue.

The engine's scratch row P holds every primitive of one (user, moment):

    P = [ cells: slot x bin, cumulative | spans | rhythm: slot x statistic | gap quantiles | decays | clock ]

and each feature is one operation over at most four places of P. Events with the same key behave alike; keys that feed
the same slots form one class, and each class lists its slots (compressed rows: `start[c]:start[c + 1]`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.declarations import Feature
from ebbtide.features.primitives import COLUMNS, KEYS, Cell, Decay, Primitive, Rhythm, Span
from ebbtide.features.selectors import KEY_COUNT, TYPE_CODES, parse_selector

RHYTHM_STATS = (
    "repeat_days",
    "last_age_days",
    "age_days",
    "mean",
    "sd",
    "variation",
    "last",
    "longest",
    "last_over_mean",
    "recent_over_mean",
    "silence_over_median",
    "silence_over_longest",
    "silence_score",
    "silence_rank",
    "regularity",
)
CLOCK_STATS = ("month_sin", "month_cos", "weekday", "days_to_year_end")
UNIQUE_NONE, UNIQUE_DAY = -1, -2
NO_WEIGHT = -1

Ints = NDArray[np.int32]


class Plan(NamedTuple):
    """The arrays that the kernels read; `size` is the length of P."""

    size: int
    bins: int
    slots: int
    seen_slots: int
    class_of_key: Ints
    edges_us: NDArray[np.int64]
    cell_start: Ints
    cell_slot: Ints
    cell_column: Ints
    cell_known: NDArray[np.bool_]
    cell_unique: Ints
    cell_first: NDArray[np.bool_]
    cell_seen: Ints
    span_start: Ints
    span_slot: Ints
    spans: int
    span_at: int
    rhythm_start: Ints
    rhythm_slot: Ints
    rhythms: int
    rhythm_at: int
    quantile_slot: Ints
    quantile: NDArray[np.float64]
    quantile_at: int
    decay_start: Ints
    decay_slot: Ints
    decay_column: Ints
    decay_order: NDArray[np.bool_]
    decay_life: Ints
    half_life_us: NDArray[np.float64]
    decay_at: int
    clock_at: int
    op: Ints
    part: Ints


@dataclass(frozen=True)
class _Rows:
    """The distinct slots of each kind, in order of first use."""

    cells: list[tuple[str, str, str, bool]]
    spans: list[str]
    rhythms: list[str]
    quantiles: list[tuple[str, float]]
    decays: list[tuple[str, float, str]]
    edges_us: list[int]


@lru_cache(maxsize=32)
def make_plan(features: tuple[Feature, ...], outcome: tuple[str, ...]) -> Plan:
    """Compile features, for a definition's outcome types."""
    expressions = [f.expression() for f in features]
    rows = _collect(p for e in expressions for p in e.parts)
    bins = len(rows.edges_us) + 1
    span_at = len(rows.cells) * bins
    rhythm_at = span_at + 2 * len(rows.spans)
    quantile_at = rhythm_at + len(RHYTHM_STATS) * len(rows.rhythms)
    decay_at = quantile_at + len(rows.quantiles)
    clock_at = decay_at + len(rows.decays)

    def place(p: Primitive) -> int:
        if isinstance(p, Cell):
            slot = rows.cells.index((p.of, p.weight, p.unique, p.first))
            return slot * bins + (bins - 1 if p.days is None else rows.edges_us.index(_us(p.days)))
        if isinstance(p, Span):
            return span_at + 2 * rows.spans.index(p.of) + (p.stat == "first")
        if isinstance(p, Rhythm) and p.stat[0] == "q":
            return quantile_at + rows.quantiles.index((p.of, int(p.stat[1:]) / 100))
        if isinstance(p, Rhythm):
            return rhythm_at + len(RHYTHM_STATS) * rows.rhythms.index(p.of) + RHYTHM_STATS.index(p.stat)
        if isinstance(p, Decay):
            return decay_at + rows.decays.index((p.of, p.half_life_days, p.weight))
        return clock_at + CLOCK_STATS.index(p.stat)

    part = np.zeros((len(features), 4), np.int32)
    for i, e in enumerate(expressions):
        part[i, : len(e.parts)] = [place(p) for p in e.parts]
    classes = _classes(rows, outcome)
    return Plan(
        size=clock_at + len(CLOCK_STATS),
        bins=bins,
        slots=len(rows.cells),
        spans=len(rows.spans),
        rhythms=len(rows.rhythms),
        span_at=span_at,
        rhythm_at=rhythm_at,
        quantile_at=quantile_at,
        decay_at=decay_at,
        clock_at=clock_at,
        edges_us=np.array(rows.edges_us, np.int64),
        quantile_slot=_ints([rows.rhythms.index(of) for of, _ in rows.quantiles]),
        quantile=np.array([q for _, q in rows.quantiles], np.float64),
        op=_ints([e.op for e in expressions]),
        part=part,
        **classes,
    )


def _collect(primitives: Iterable[Primitive]) -> _Rows:
    rows = _Rows([], [], [], [], [], [])
    for p in primitives:
        if isinstance(p, Cell):
            _add(rows.cells, (p.of, p.weight, p.unique, p.first))
            if p.days is not None:
                _add(rows.edges_us, _us(p.days))
        elif isinstance(p, Span):
            _add(rows.spans, p.of)
        elif isinstance(p, Rhythm):
            _add(rows.rhythms, p.of)
            if p.stat[0] == "q":
                _add(rows.quantiles, (p.of, int(p.stat[1:]) / 100))
        elif isinstance(p, Decay):
            _add(rows.decays, (p.of, p.half_life_days, p.weight))
    rows.edges_us.sort()
    return rows


def _classes(rows: _Rows, outcome: tuple[str, ...]) -> dict[str, Any]:
    """Group keys into classes and list each class's slots of every kind."""

    def accepts(selectors: Sequence[str]) -> NDArray[np.bool_]:
        found = [parse_selector(s).accepts(outcome) for s in selectors]
        return np.array(found, np.bool_).reshape(len(found), KEY_COUNT)

    kinds = [[c[0] for c in rows.cells], rows.spans, rows.rhythms, [d[0] for d in rows.decays]]
    matches = [accepts(k) for k in kinds]
    is_order = (np.arange(KEY_COUNT) & 31) == TYPE_CODES["order"]
    packed = np.packbits(np.vstack([is_order[None], *matches]).T, axis=1)
    _, example, class_of_key = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    (cell_start, cell_slot), (span_start, span_slot), (rhythm_start, rhythm_slot), (decay_start, decay_slot) = (
        _lists(m[:, example]) for m in matches
    )
    order_class = np.repeat(is_order[example], np.diff(cell_start))
    orderly = [parse_selector(c[0]).counts_orders(outcome) for c in rows.cells]
    unique = _ints([_unique(rows.cells[s][2], orderly[s] and o) for s, o in zip(cell_slot, order_class, strict=True)])
    seen_slots = [i for i, c in enumerate(rows.cells) if c[2] not in ("", "day")]
    seen_row = {s: i for i, s in enumerate(seen_slots)}
    life = sorted({d[1] for d in rows.decays})
    return {
        "class_of_key": _ints(class_of_key.ravel()),
        "cell_start": cell_start,
        "cell_slot": cell_slot,
        "cell_column": _ints([_column(rows.cells[s][1]) for s in cell_slot]),
        "cell_known": np.array([rows.cells[s][1].startswith("known:") for s in cell_slot], np.bool_),
        "cell_unique": unique,
        "cell_first": np.array([rows.cells[s][3] for s in cell_slot], np.bool_),
        "cell_seen": _ints([seen_row.get(int(s), 0) for s in cell_slot]),
        "seen_slots": len(seen_slots),
        "span_start": span_start,
        "span_slot": span_slot,
        "rhythm_start": rhythm_start,
        "rhythm_slot": rhythm_slot,
        "decay_start": decay_start,
        "decay_slot": decay_slot,
        "decay_column": _ints([_column(d[2]) for d in rows.decays]),
        "decay_order": np.array(
            [not d[2] and parse_selector(d[0]).counts_orders(outcome) for d in rows.decays], np.bool_
        ),
        "decay_life": _ints([life.index(d[1]) for d in rows.decays]),
        "half_life_us": np.array(life, np.float64) * DAY_US,
    }


def _lists(match: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """(slots, classes) -> compressed rows: the slots of each class."""
    start = np.concatenate([[0], np.cumsum(match.sum(axis=0))]).astype(np.int32)
    return start, np.nonzero(match.T)[1].astype(np.int32)


def _unique(unique: str, is_order_line: bool) -> int:
    if unique == "order":
        return KEYS.index("order_id") if is_order_line else UNIQUE_NONE
    if unique == "day":
        return UNIQUE_DAY
    return KEYS.index(unique) if unique else UNIQUE_NONE


def _column(weight: str) -> int:
    return COLUMNS.index(weight.removeprefix("known:")) if weight else NO_WEIGHT


def _us(days: float) -> int:
    return round(days * DAY_US)


def _ints(values: Any) -> Ints:
    return np.array(values, np.int32).ravel()


_T = TypeVar("_T")


def _add(items: list[_T], item: _T) -> None:
    if item not in items:
        items.append(item)
