"""A loop: work that is done again and again in a thread of its own, at its own pace.

What the tree of errors foresees (a store that is away, a full disk) is told, counted and tried again, a little later each
time. What nobody foresaw is tried again too, but after `MOST_DEFECTS` times in a row it blows the fuse: the process ends with
exit code 1 rather than answer calls over work that is not being done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from ebbtide.core.errors import EbbtideError
from ebbtide.serve.service import Service

log = logging.getLogger("ebbtide.worker")
MOST_DEFECTS = 3
LONGEST_WAIT_SECONDS = 5.0
"""Between two tries, however often it failed: how late a loop notices that its store is back."""


@dataclass(frozen=True)
class Round:
    """What a loop does: `work` says whether there is more to do at once; else it rests for `pause`."""

    name: str
    work: Callable[[], bool]
    pause: timedelta


class Loop:
    """Does a round again and again until it is stopped."""

    def __init__(self, todo: Round, service: Service) -> None:
        self.name, self._todo, self._service = todo.name, todo, service
        self._stop = threading.Event()
        self._defects = 0
        self._thread = threading.Thread(
            target=service.fuse.guard, args=(self.name, self._run), name=f"ebbtide-{self.name}", daemon=True
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let the present round end, then stop."""
        self._stop.set()
        self._thread.join()

    @property
    def is_running(self) -> bool:
        """Whether its thread lives."""
        return self._thread.is_alive()

    def _run(self) -> None:
        rest, failures = self._todo.pause.total_seconds(), 0
        while not self._stop.is_set():
            outcome = self._once()
            if outcome is None:
                failures += 1
                self._stop.wait(min(LONGEST_WAIT_SECONDS, max(rest, 0.1) * 2 ** min(failures, 10)))
                continue
            failures = self._defects = 0
            if not outcome:
                self._stop.wait(rest)

    def _once(self) -> bool | None:
        """One round: whether there is more; None if it failed."""
        try:
            return self._todo.work()
        except EbbtideError as fault:
            self._service.metrics.failures.labels(self.name, fault.code).inc()
            log.warning("%s: %s", self.name, fault)
        except Exception as fault:
            self._service.metrics.failures.labels(self.name, "defect").inc()
            self._defects += 1
            if self._defects >= MOST_DEFECTS:
                raise
            log.error("%s: unexpected %s", self.name, type(fault).__name__, exc_info=fault)
        return None
