"""Vocabularies and bins, fitted on training rows only: events become small whole numbers.

Token 0 stands for "none or unknown", 1 for "not seen in training", the rest for what was seen most.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import DataError, MissingBundleError
from ebbtide.events.schema import EVENT_TYPES
from ebbtide.sequences.event_log import EventLog, Sequences
from ebbtide.sequences.tokens import FITTED, NUMBERS, TokenLog

_FIRST = 2
_PRICE_BINS = 16
_QUANTITY_EDGES = (1.5, 2.5, 4.5, 9.5, 49.5)
_RATING_EDGES = (1.5, 2.5, 3.5, 4.5)
_LEAST_COUNT = 5


@dataclass(frozen=True)
class Vocabulary:
    """What training rows showed: hashes of the most frequent items, categories and channels, and price bins.

    items (I,), categories (C,), channels (K,): ascending hashes; price_edges (P,): ascending, of the logarithm.
    """

    items: NDArray[np.uint64]
    categories: NDArray[np.uint64]
    channels: NDArray[np.uint64]
    price_edges: NDArray[np.float64]

    @classmethod
    def fit(cls, sequences: Sequences, *, most_items: int = 5000, most_others: int = 500) -> Self:
        """Learn from the events that the rows may see. Rare items (under 5 events) and those beyond the most frequent
        share the token "not seen in training", so that a catalogue of millions costs no more than a small one.

        Raises DataError if the rows see no event at all.
        """
        seen, log = sequences.visible(), sequences.log
        if not seen.any():
            raise DataError(
                "no events to learn sequences from: none of the training rows sees an event",
                "没有可供学习的事件序列：训练行看不到任何事件",
            )
        prices = log.price[seen]
        prices = np.log1p(prices[(prices > 0) & np.isfinite(prices)].astype(np.float64))
        shares = np.linspace(0, 1, _PRICE_BINS + 1)[1:-1]
        return cls(
            items=_most_frequent(log.item[seen], most_items),
            categories=_most_frequent(log.category[seen], most_others),
            channels=_most_frequent(log.channel[seen], most_others),
            price_edges=np.unique(np.quantile(prices, shares)) if len(prices) else np.zeros(0),
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each of `TOKENS` can take."""
        return (
            _FIRST + len(EVENT_TYPES),
            _FIRST + len(self.items),
            _FIRST + len(self.categories),
            _FIRST + len(self.channels),
            _FIRST + _PRICE_BINS,
            _FIRST + len(_QUANTITY_EDGES) + 1,
            _FIRST + len(_RATING_EDGES) + 1,
            24 + 1,
            7 + 1,
            4,
        )

    def encode(self, log: EventLog) -> TokenLog:
        """The log in tokens."""
        codes = np.empty((len(log.time), FITTED), np.uint16)
        codes[:, 0] = log.type + np.uint16(_FIRST)
        codes[:, 1] = _places(log.item, self.items)
        codes[:, 2] = _places(log.category, self.categories)
        codes[:, 3] = _places(log.channel, self.channels)
        codes[:, 4] = _bins(np.log1p(np.maximum(log.price, 0)), self.price_edges)
        codes[:, 5] = _bins(log.quantity, np.array(_QUANTITY_EDGES))
        codes[:, 6] = _bins(log.rating, np.array(_RATING_EDGES))
        return TokenLog(log.start, log.time, log.known, codes, log.item)

    def save(self, folder: Path) -> None:
        """Write `vocabulary.json`."""
        data: dict[str, Any] = {
            "items": self.items.tolist(),
            "categories": self.categories.tolist(),
            "channels": self.channels.tolist(),
            "price_edges": self.price_edges.tolist(),
            "numbers": NUMBERS,
        }
        (folder / "vocabulary.json").write_text(json.dumps(data), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises MissingBundleError if it goes with nets that read times in another way."""
        data = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        if data.get("numbers") != list(NUMBERS):
            raise MissingBundleError(
                "the neural net was trained by a version that read the times of events differently; train again",
                "该神经网络由以另一种方式读取事件时间的版本训练；请重新训练",
            )
        hashes = {name: np.array(data[name], np.uint64) for name in ("items", "categories", "channels")}
        return cls(**hashes, price_edges=np.array(data["price_edges"], np.float64))


def _most_frequent(hashes: NDArray[np.uint64], most: int) -> NDArray[np.uint64]:
    """The most frequent hashes, ascending; of equally frequent ones, the smaller. 0 is nobody's."""
    found, count = np.unique(hashes[hashes != 0], return_counts=True)
    enough = count >= _LEAST_COUNT
    found, count = found[enough], count[enough]
    return np.sort(found[np.lexsort((found, -count))[:most]])


def _places(hashes: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.uint16]:
    if not len(known):
        return np.where(hashes == 0, 0, 1).astype(np.uint16)
    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return np.where(hashes == 0, 0, np.where(known[at] == hashes, at + _FIRST, 1)).astype(np.uint16)


def _bins(values: NDArray[np.floating[Any]], edges: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.where(np.isnan(values), 0, np.searchsorted(edges, values) + _FIRST).astype(np.uint16)
