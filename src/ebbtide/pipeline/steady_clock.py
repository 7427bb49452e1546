"""A clock that neither runs back nor stands still, whatever is done to the machine's.

A service that only refused to go back would wait for as long as the clock was set back by: no timer would end and nothing
would be tried again until the machine's clock has caught up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

PACE = 0.5
"""Of time that goes on by itself: slower than the machine's clock, which therefore catches up."""


class SteadyClock:
    """The machine's time; where that was set back, the time told last and half of what has passed since.

    `least`: a moment that was told before, by another process or an earlier one. Safe to use from several threads.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        least: datetime | None = None,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._passed, self._lock = clock, passed, Lock()
        self._told, self._at = max(filter(None, (clock(), least))), passed()

    def __call__(self) -> datetime:
        """The time now, never earlier than it was told before."""
        with self._lock:
            at = self._passed()
            self._told = max(self._clock(), self._told + timedelta(seconds=PACE * (at - self._at)))
            self._at = at
            return self._told
