"""Who got an action when, and since when that is known: what training may make of rows whose outcome it may have changed.

A risk says what happens if nothing is done. A row is treated if a real action fell into its outcome window. At each past
moment only the exposures count that were known then, so one that arrives late changes nothing that was learnt before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ebbtide.churn.labels import NEVER_US, Moments

Rule = Literal["keep", "leave_out", "model"]


@dataclass(frozen=True)
class Exposures:
    """Real actions that users got, E of them, sorted by user.

    user (E,) the hash of `Rows.user`; at_us (E,) when; known_us (E,) since when that is known, never before at_us;
    kind (E,) position of the action in `kinds`. `rule`: what training does with treated rows: `keep` learns from them
    like from others, `leave_out` does not, `model` learns from what they would have done without the action.
    """

    user: NDArray[np.uint64]
    at_us: Moments
    known_us: Moments
    kind: NDArray[np.int64]
    kinds: tuple[str, ...]
    rule: Rule

    def known_since(self, user: NDArray[np.uint64], as_of_us: Moments, window_us: int) -> Moments:
        """Since when it is known that an action fell into `(as_of, as_of + window]`, (N,); NEVER_US where none did."""
        found = np.full(len(user), NEVER_US)
        for row, place in self._inside(user, as_of_us, window_us):
            found[row] = np.minimum(found[row], self.known_us[place])
        return found

    def first_known(
        self, user: NDArray[np.uint64], as_of_us: Moments, window_us: int, moment_us: int
    ) -> tuple[Moments, NDArray[np.int64]]:
        """The first action in the window of which `moment_us` knew: when, NEVER_US where none, and its kind, (N,) each."""
        at, kind = np.full(len(user), NEVER_US), np.full(len(user), -1)
        for row, place in self._inside(user, as_of_us, window_us):
            known = self.known_us[place] <= moment_us
            row, place = row[known], place[known]
            # Of two at one time the kind that comes first in `kinds`: the order of arrival must not matter.
            earlier = (self.at_us[place] < at[row]) | ((self.at_us[place] == at[row]) & (self.kind[place] < kind[row]))
            at[row[earlier]], kind[row[earlier]] = self.at_us[place[earlier]], self.kind[place[earlier]]
        return at, kind

    def _inside(
        self, user: NDArray[np.uint64], as_of_us: Moments, window_us: int
    ) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Pairs of rows and positions of exposures inside their windows; within a pair each row stands once."""
        first, end = np.searchsorted(self.user, user, "left"), np.searchsorted(self.user, user, "right")
        pairs = []
        for step in range(int(np.max(end - first, initial=0))):
            row = np.flatnonzero(first + step < end)
            place = first[row] + step
            late = self.at_us[place] - as_of_us[row]
            inside = (late > 0) & (late <= window_us)
            pairs.append((row[inside], place[inside]))
        return pairs
