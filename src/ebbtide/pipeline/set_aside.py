"""Setting aside: a customer whose history cannot be scored must not keep the others from being scored.

A group that fails is halved until the one is alone. That one is set aside with a reason, and tried again, alone, whenever
there is something new of it. What the tree of errors foresees (a store that is away) is nobody's fault and goes through.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import polars as pl

from ebbtide.core.errors import DefectError, EbbtideError
from ebbtide.core.language import Text

log = logging.getLogger("ebbtide.worker")
MOST_IN_A_ROW = 8
"""After so many who fail one after the other, somebody who could be scored before is asked again: is it the model?"""
_MOST_REMEMBERED = 10_000
Part = TypeVar("Part")
"""Scores of some users, in whatever form: only who is eligible is in it."""
Score = Callable[[Sequence[str]], Part]
Look = Callable[[Part], tuple[str | None, bool]]
"""One of those who were scored, None if nobody was, and whether every probability is a number."""


class Cause(Enum):
    """Why a customer was set aside: a closed list."""

    FAILED = "failed"
    NOT_FINITE = "not_finite"

    @property
    def text(self) -> Text:
        """What the code means, in words."""
        return _TEXTS[self]


_TEXTS = {
    Cause.FAILED: Text("scoring the history failed", "对该历史评分失败"),
    Cause.NOT_FINITE: Text("the history gives a probability that is no number", "由该历史得出的概率不是数值"),
}


@dataclass(frozen=True)
class Outcome:
    """The scores of those who could be scored, and by user why the others could not."""

    scored: pl.DataFrame
    aside: Mapping[str, Cause]

    def counts(self) -> Counter[str]:
        """How many could not be scored, by reason code."""
        return Counter(cause.value for cause in self.aside.values())


class SetAside:
    """Who could not be scored, of one shop in one process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[str, Cause] = {}
        self._witness: str | None = None
        self._in_a_row = 0

    @property
    def count(self) -> int:
        """How many are set aside now."""
        return len(self._known)

    def score(self, users: Sequence[str], score: Score[pl.DataFrame]) -> Outcome:
        """Score all who can be scored, as `apart` does; `score` gives the columns of `score_shard`."""
        parts, failed = self.apart(users, score, _look)
        return Outcome(pl.concat(parts) if parts else score([]), failed)

    def apart(self, users: Sequence[str], score: Score[Part], look: Look[Part]) -> tuple[list[Part], dict[str, Cause]]:
        """Score all who can be scored: their scores in one or more parts, and by user why the others could not.

        `score` must be able to score any customer of the shop. Raises what it raised if that is an EbbtideError, or if
        the customer who was scored last cannot be scored any more either.
        """
        failed = dict[str, Cause]()
        parts = self._halved([user for user in users if user not in self._known], score, look, failed)
        for user in [user for user in users if user in self._known]:
            parts += self._halved([user], score, look, failed)
        return parts, failed

    def _halved(
        self, users: Sequence[str], score: Score[Part], look: Look[Part], failed: dict[str, Cause]
    ) -> list[Part]:
        if not users:
            return []
        found, somebody, cause, fault = _tried(users, score, look)
        if found:
            if somebody is not None:
                self._in_a_row, self._witness = 0, somebody
            for user in users:
                self._known.pop(user, None)
            return found
        if len(users) > 1:
            middle = len(users) // 2
            halves = (users[:middle], users[middle:])
            return [part for half in halves for part in self._halved(half, score, look, failed)]
        self._hear_the_witness(score, look, fault)
        failed[users[0]] = cause
        if len(self._known) < _MOST_REMEMBERED:
            self._known[users[0]] = cause
        log.error("a customer is set aside (%s): %s", cause.value, cause.text.en, exc_info=fault)
        return []

    def _hear_the_witness(self, score: Score[Part], look: Look[Part], fault: BaseException | None) -> None:
        """After so many in a row: raise if it is not the customers' histories that are at fault."""
        self._in_a_row += 1
        if self._in_a_row < MOST_IN_A_ROW:
            return
        if self._witness is None or not _tried([self._witness], score, look)[0]:
            raise fault or DefectError("the model gives no number for anybody", "模型对任何人都给不出数值")
        self._in_a_row = 0


def _look(scored: pl.DataFrame) -> tuple[str | None, bool]:
    return scored["user_id"].first(), bool(scored["churn_probability"].is_finite().all())  # type: ignore[return-value]


def _tried(
    users: Sequence[str], score: Score[Part], look: Look[Part]
) -> tuple[list[Part], str | None, Cause, BaseException | None]:
    """What came of it: scores and one of those who have one, or none and why."""
    try:
        found = score(users)
        somebody, is_sound = look(found)
    except EbbtideError:
        raise
    except (Exception, pl.exceptions.PanicException) as fault:  # noqa: BLE001  whatever a history may do to a model
        return [], None, Cause.FAILED, fault
    return [found] if is_sound else [], somebody, Cause.NOT_FINITE, None
