"""What earlier moments teach: the candidates of then, and which of them were bought in the window after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.recommend.evidence import Candidates
from ebbtide.actions.recommend.pairs import keys_of
from ebbtide.evaluation.recommendation import ndcg_at

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lesson:
    """The candidates of U users at one moment. bought (N,): whether in the window after it. start (U + 1,) and wanted:
    all that each user bought in the window, as `evaluation.recommendation` takes it."""

    candidates: Candidates
    start: Ints
    wanted: Ints
    items: int

    @property
    def bought(self) -> NDArray[np.bool_]:
        """Whether each candidate was bought, (N,)."""
        user = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        known = self.wanted < self.items
        asked = keys_of(self.candidates.user, self.candidates.item, self.items)
        return np.isin(asked, keys_of(user[known], self.wanted[known], self.items))

    def of_buyers(self) -> tuple[Candidates, NDArray[np.bool_]]:
        """The candidates of the users one of whose candidates was bought, and which were."""
        bought, user = self.bought, self.candidates.user
        taken = np.isin(user, user[bought])
        return self.candidates.take(taken), bought[taken]

    def ndcg(self, score: Floats, k: int = 10) -> Floats:
        """NDCG@k of each user if candidates are shown by score, (U,); NaN for who bought nothing."""
        return ndcg_at(top(self.candidates, score, len(self.start) - 1, k), self.start, self.wanted, k)


def top(candidates: Candidates, score: Floats, users: int, count: int) -> Ints:
    """The `count` best candidates of each user, (U, count), best first; -1 where there are fewer. Ties by item."""
    order = ranked(candidates, score)
    user = candidates.user[order]
    place = np.arange(len(user)) - np.searchsorted(user, user)
    shown = np.full((users, count), -1, np.int64)
    kept = place < count
    shown[user[kept], place[kept]] = candidates.item[order[kept]]
    return shown


def ranked(candidates: Candidates, score: Floats) -> Ints:
    """The candidates by user, then score, best first; equal scores by item."""
    return np.lexsort((candidates.item, -score, candidates.user))
