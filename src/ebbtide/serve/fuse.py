"""The fuse: a fault that nobody foresaw in a thread of the service ends the process, so that whoever watches it starts it anew.

A thread that dies silently would leave a service that answers and does nothing. So its end is logged with its place, and
whoever runs the process is told to stop; it then leaves with exit code 1.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ebbtide.core.errors import DefectError

log = logging.getLogger("ebbtide.serve")


class Fuse:
    """Whole until a guarded thread meets a fault that nobody foresaw."""

    def __init__(self) -> None:
        self._blown = threading.Event()
        self._stops: list[Callable[[], None]] = []
        self.where = ""

    @property
    def is_blown(self) -> bool:
        """Whether a thread has ended that should not have."""
        return self._blown.is_set()

    def on_blow(self, stop: Callable[[], None]) -> None:
        """Call `stop` when the fuse blows; at once if it has."""
        self._stops.append(stop)
        if self.is_blown:
            stop()

    def guard(self, name: str, work: Callable[[], None]) -> None:
        """Do the work of a thread, to its end or to the first fault that nobody foresaw."""
        try:
            work()
        except Exception as fault:  # noqa: BLE001  the outermost edge of a thread
            self.blow(name, fault)

    def blow(self, name: str, fault: Exception) -> None:
        """Tell the fault and stop the process. The log shows its kind and place; its words might hold a customer's value."""
        log.critical("%s ended by %s: the service stops", name, type(fault).__name__, exc_info=fault)
        self.where = self.where or name
        self._blown.set()
        for stop in self._stops:
            stop()

    def check(self) -> None:
        """Raise DefectError if the fuse has blown."""
        if self.is_blown:
            raise DefectError(
                "the part `{name}` of the service failed: its log has the place of the defect; please report it",
                "服务的部件 `{name}` 失败：日志中有缺陷位置；请报告",
                name=self.where,
            )
