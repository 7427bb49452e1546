"""Batches: what calls leave behind, written together by one thread, at most a moment after it was left.

A process that is killed loses what its last moment (`FLUSH_SECONDS`) left and nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ebbtide.core.errors import RetryError
from ebbtide.serve.fuse import Fuse

log = logging.getLogger("ebbtide.serve")
FLUSH_SECONDS = 0.1
_MOST, _LOOK_SECONDS = 100_000, 0.01
Item = TypeVar("Item")


class Batches(Generic[Item]):
    """Takes items from any thread and gives them, in their order, to `write`, which raises RetryError to get them again.

    `name`: of the thread, and of what is written.
    """

    def __init__(self, name: str, write: Callable[[Sequence[Item]], None], *, fuse: Fuse) -> None:
        self._name, self._write = name, write
        self._waiting: list[
            Item
        ] = []  # to append to a list, to copy it and to cut it is one step each: there is no lock
        self._closed = threading.Event()
        self._thread = threading.Thread(target=fuse.guard, args=(name, self._run), name=f"ebbtide-{name}", daemon=True)
        self._thread.start()

    def add(self, item: Item) -> None:
        """Leave an item. Waits if `write` cannot follow."""
        while len(self._waiting) >= _MOST and not self._closed.wait(_LOOK_SECONDS):
            pass
        self._waiting.append(item)

    def close(self) -> None:
        """Write what waits, then stop."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._closed.wait(FLUSH_SECONDS)
            taken = self._waiting[:]
            if not taken:
                continue
            try:
                self._write(taken)
            except RetryError as fault:
                log.warning("the %s could not be written yet: %s", self._name, fault)
            else:
                del self._waiting[: len(taken)]
