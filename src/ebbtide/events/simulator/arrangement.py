"""How a mood shows: it arranges what a visit is made of, and changes nothing of it.

Which pages, searches, lists, views, cart and wish-list rows a visit has, of which products, and how long its pauses
are, is drawn without knowing the mood. The mood then chooses the order of the rows, one after the other among those
that are left, by weights for (row before, next row) and for staying with a product; and it hands the longer pauses to
some kinds of row rather than to others. So whatever is counted or summed over a visit, or over any window of visits,
has the same law in every mood, exactly. A product is viewed before it goes onto the wish list or into the cart, and
is in the cart before it is taken out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.events.simulator.chance import Purpose, uniform
from ebbtide.events.simulator.mood import MOODS

Block = dict[str, Any]

ROWS: tuple[str, ...] = ("page_view", "search", "list_view", "product_view", "wishlist_add", "cart_add", "cart_remove")
_PAGE, _SEARCH, _LIST, _VIEW, _WISH, _CART, _OUT = range(len(ROWS))
_START = len(ROWS)

# Log-weights of (row before, next row): finding and taking; weighing up; going round in circles.
_TASTE: dict[str, dict[tuple[int, int], float]] = {
    "content": {
        (_START, _SEARCH): 1.5, (_SEARCH, _LIST): 2.0, (_LIST, _VIEW): 2.0, (_SEARCH, _VIEW): 1.5, (_VIEW, _CART): 2.5,
        (_VIEW, _WISH): 1.5, (_CART, _PAGE): 1.5, (_CART, _OUT): -2.5, (_OUT, _SEARCH): -1.5, (_SEARCH, _SEARCH): -1.5,
    },
    "comparing": {
        (_START, _LIST): 1.5, (_VIEW, _VIEW): 2.0, (_LIST, _LIST): 1.5, (_SEARCH, _SEARCH): 1.0, (_VIEW, _CART): -2.5,
        (_VIEW, _WISH): -1.0, (_PAGE, _PAGE): 1.5, (_CART, _CART): 1.5, (_VIEW, _LIST): -1.0,
    },
    "leaving": {
        (_START, _PAGE): 1.5, (_VIEW, _CART): 1.5, (_CART, _OUT): 3.0, (_OUT, _SEARCH): 3.0, (_SEARCH, _SEARCH): -0.5,
        (_VIEW, _SEARCH): -0.5, (_SEARCH, _VIEW): 1.0, (_LIST, _PAGE): 1.5, (_PAGE, _LIST): 1.5,
    },
}  # fmt: skip
_STAYS = np.array([1.5, -2.0, 0.0])
"""Log-weight, by mood, of a row about the same product as the row before."""
_LINGERS = np.array(
    [
        [0.0, -0.5, 0.0, 0.5, 0.5, 1.0, 0.0],
        [-0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.5],
        [0.5, 1.0, -0.5, -0.5, 0.0, -0.5, 1.0],
    ]
)
"""(mood, row): the higher, the longer the pauses before it."""
_PERTURBED = 0.4


def tastes(grammar: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The weights of one grammar: (M, R + 1, R) next row, (M,) staying with a product, (M, R) lingering.

    Number 0 is the plain one; any other has every log-weight moved a little at random.
    """
    logs = np.zeros((len(MOODS), len(ROWS) + 1, len(ROWS)))
    for mood, name in enumerate(MOODS):
        for (before, after), weight in _TASTE[name].items():
            logs[mood, before, after] = weight
    noise = np.random.default_rng([grammar, 77])
    shifts = [_PERTURBED * (grammar > 0) * noise.standard_normal(a.shape) for a in (logs, _STAYS, _LINGERS)]
    return np.exp(logs + shifts[0]), np.exp(_STAYS + shifts[1]), _LINGERS + 0.5 * shifts[2]


def arranged(
    blocks: list[Block], looks: dict[str, Any], visits: NDArray[np.void], buyers: NDArray[np.void], grammar: int
) -> list[Block]:
    """The blocks with the steps that the moods give them, and `linger`, how long a pause each row calls for.

    A block's `look` is the position of the look that each row belongs to. In: the steps of a row and of those that it
    depends on ascend. Out: the rows of a visit have the steps 1, 2, ...
    """
    step, look = (np.concatenate([block[name] for block in blocks]) for name in ("step", "look"))
    kind = np.concatenate([np.full(len(b["step"]), ROWS.index(b["row"])) for b in blocks])
    place = looks["place"][look]
    order = np.lexsort((step, place))
    kind, look, place = kind[order], look[order], place[order]
    edges = np.searchsorted(place, np.arange(len(visits) + 1))
    visit = visits[place]
    keys, counter = (
        buyers["key"][visit["who"]],
        visit["number"].astype(np.int64) * 128 + np.arange(len(place)) - edges[place],
    )
    follow, stay, linger = tastes(grammar)
    rank = np.empty(len(place), np.int64)
    luck = uniform(keys, Purpose.ARRANGE, counter)
    _arrange(edges, kind, look, looks["goods"][look], visits["mood"], luck, follow, stay, rank)
    wanted = linger[visit["mood"], kind] + 1.5 * uniform(keys, Purpose.LINGER, counter)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    ends = np.cumsum([len(block["step"]) for block in blocks])[:-1]
    steps, wishes = np.split((1 + rank)[back], ends), np.split(wanted[back], ends)
    return [{**b, "step": s, "linger": w} for b, s, w in zip(blocks, steps, wishes, strict=True)]


@njit(cache=True, nogil=True)
def _arrange(
    edges: NDArray[np.int64],
    kind: NDArray[np.int64],
    look: NDArray[np.int64],
    goods: NDArray[np.int64],
    mood: NDArray[np.int8],
    luck: NDArray[np.float64],
    follow: NDArray[np.float64],
    stay: NDArray[np.float64],
    rank: NDArray[np.int64],
) -> None:
    """Fill `rank`, the place of each row in its visit. Rows come sorted by (visit, look, step)."""
    weight = np.empty(128)
    done = np.empty(128, np.bool_)
    for v in range(len(edges) - 1):
        first, count = edges[v], edges[v + 1] - edges[v]
        done[:count] = False
        before, product = len(ROWS), -1
        for n in range(count):
            total = 0.0
            for i in range(count):
                row = first + i
                ready = not done[i]
                if ready and kind[row] >= _WISH:  # the view of its look, and for a removal the cart, come first
                    for j in range(i):
                        if look[first + j] == look[row] and kind[first + j] >= _VIEW and not done[j]:
                            ready = False
                weight[i] = 0.0
                if ready:
                    same = stay[mood[v]] if goods[row] == product else 1.0
                    weight[i] = follow[mood[v], before, kind[row]] * same
                total += weight[i]
            left = luck[first + n] * total
            chosen = -1
            for i in range(count):
                if weight[i] > 0.0:
                    chosen = i
                    left -= weight[i]
                    if left <= 0.0:
                        break
            done[chosen] = True
            rank[first + chosen] = n
            before, product = kind[first + chosen], goods[first + chosen]


def lingering(pause: NDArray[np.int64], place: NDArray[np.int64], linger: NDArray[np.float64]) -> NDArray[np.int64]:
    """The pauses of each visit, dealt out anew: the longest to the row that calls for it most. NaN rows keep theirs."""
    rows = np.flatnonzero(~np.isnan(linger))
    rows = rows[np.argsort(place[rows], kind="stable")]
    edges = np.append(np.flatnonzero(np.diff(place[rows], prepend=-1)), len(rows))
    out = pause.copy()
    out[rows] = _dealt(edges, pause[rows], linger[rows])
    return out


@njit(cache=True, nogil=True)
def _dealt(edges: NDArray[np.int64], pause: NDArray[np.int64], linger: NDArray[np.float64]) -> NDArray[np.int64]:
    out = np.empty_like(pause)
    for v in range(len(edges) - 1):
        here = slice(edges[v], edges[v + 1])
        out[here][np.argsort(linger[here])] = np.sort(pause[here])
    return out
