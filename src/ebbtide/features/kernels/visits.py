"""A user's visits: how many events, how long. A visit is the on-site events of one session id; on-site events without
a session id form a visit as long as no more than half an hour passes between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.features.columns import Batch, Columns
from ebbtide.features.primitives import KEYS, VISIT_STATS
from ebbtide.features.selectors import TYPE_BITS, TYPE_CODES

_MINUTE_US = 60_000_000
PAUSE_US = 30 * _MINUTE_US
ON_SITE = (
    "session_start", "page_view", "search", "list_view", "product_view", "cart_add", "cart_remove", "cart_view",
    "wishlist_add", "wishlist_remove", "checkout_start", "checkout_step", "order",
)  # fmt: skip
_ON_SITE_BITS = np.int64(sum(1 << TYPE_CODES[t] for t in ON_SITE))
_SESSION = KEYS.index("session_id")
_STATS = len(VISIT_STATS)


class Visits(NamedTuple):
    """number (1,) visits so far; walk, place (codes,) the visit of a session in the walk that met it; open_at, open_visit (1,) the last event
    without a session id and its visit; events, began, ended by visit."""

    number: NDArray[np.int64]
    walk: NDArray[np.int64]
    place: NDArray[np.int64]
    open_visit: NDArray[np.int64]
    events: NDArray[np.int64]
    began: NDArray[np.int64]
    ended: NDArray[np.int64]


@njit(cache=True, nogil=True)
def make_visits(longest: int, codes: int) -> Visits:
    """Scratch for one thread, for users of at most `longest` events."""
    return Visits(
        np.zeros(1, np.int64),
        np.full(codes, -1, np.int64),
        np.empty(codes, np.int64),
        np.full(1, -1, np.int64),
        np.empty(longest, np.int64),
        np.empty(longest, np.int64),
        np.empty(longest, np.int64),
    )


@njit(cache=True, nogil=True)
def fill_visits(
    batch: Batch,
    columns: Columns,
    windows_us: NDArray[np.int64],
    visits: Visits,
    place: NDArray[np.float64],
) -> None:
    """Fill the visit statistics of each row of `place` (rows, windows x statistics)."""
    time, known, key, codes = columns.time, columns.known, columns.key, columns.codes
    row, number, open_visit = columns.code_row[_SESSION], visits.number, visits.open_visit
    walks, numbers, events, began, ended = visits.walk, visits.place, visits.events, visits.began, visits.ended
    for i in range(len(batch.end)):
        as_of, delayed, walk = batch.as_of[i], batch.delayed[i], batch.walk[i]
        if batch.fresh[i]:
            number[0], open_visit[0] = 0, -1
        for e in range(batch.resume[i], batch.end[i]):
            if not (_ON_SITE_BITS >> (key[e] & TYPE_BITS)) & 1 or (delayed and known[e] > as_of):
                continue
            t = time[e]
            code = codes[row, e] if row >= 0 else -1
            if code >= 0:
                visit = numbers[code] if walks[code] == walk else -1
            else:
                visit = open_visit[0]
                if visit >= 0 and t - ended[visit] > PAUSE_US:
                    visit = -1
            if visit < 0:
                visit = number[0]
                number[0] += 1
                events[visit], began[visit] = 0, t
                if code >= 0:
                    walks[code], numbers[code] = walk, visit
                else:
                    open_visit[0] = visit
            events[visit] += 1
            ended[visit] = t
        _read(as_of, number[0], windows_us, events, began, ended, place[i])


@njit(cache=True, nogil=True)
def _read(
    as_of: int,
    number: int,
    windows_us: NDArray[np.int64],
    events: NDArray[np.int64],
    began: NDArray[np.int64],
    ended: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Fill `out` (windows x VISIT_STATS) over the visits that ended in each window; NaN without any.

    All sums are of whole numbers, so their order does not matter.
    """
    for w in range(len(windows_us)):
        count, total, length, single = 0, 0, 0, 0
        for v in range(number):
            if as_of - ended[v] < windows_us[w]:
                count += 1
                total += events[v]
                length += ended[v] - began[v]
                single += events[v] == 1
        at = w * _STATS
        out[at] = total / count if count else np.nan
        out[at + 1] = length / count / _MINUTE_US if count else np.nan
        out[at + 2] = single / count if count else np.nan
