"""What a channel is for the outbox: something that takes a message and says whether it has arrived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ebbtide.store.outbox import Message


@dataclass(frozen=True)
class Outcome:
    """Whether a message has arrived: yes if `reason` is empty.

    `reason`: a code, never what the receiver said; `wait_seconds`: how long the receiver asked to be left alone;
    `is_final`: trying again is of no use.
    """

    reason: str = ""
    wait_seconds: float = 0.0
    is_final: bool = False

    @property
    def has_arrived(self) -> bool:
        """Whether the receiver has taken it."""
        return not self.reason


ARRIVED = Outcome()


class Sender(Protocol):
    """One channel. `send` never raises for what a receiver or the network does, and ends within the channel's timeout."""

    async def send(self, message: Message) -> Outcome: ...

    async def close(self) -> None: ...
