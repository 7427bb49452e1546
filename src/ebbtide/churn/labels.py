"""Cohorts and labels: who is asked about at a moment, and what they did afterwards.

Two rules make every answer honest. Who is eligible is decided by events known at the moment (`occurred_at` and
`ingested_at` not after it). An outcome counts if it was ingested by `known_until`; a window that reaches past
`known_until` gives null, never "churned".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import LabelWindowError
from ebbtide.core.windows import to_us
from ebbtide.events.schema import TIME

Moments = NDArray[np.int64]
NEVER_US = 2**62
"""Later than every moment."""
_MOMENTS_AT_ONCE = 32


def cohort_at(events: pl.DataFrame, as_of: datetime, definition: ChurnDefinition) -> pl.DataFrame:
    """Who is eligible at `as_of`: users with a known eligible event in `(as_of - eligible_days, as_of]`.

    Columns in: user_id, occurred_at, ingested_at, type; any order. Out: user_id, sorted, each once.
    """
    labelled = labelled_cohorts(events, [as_of], definition, known_until=as_of)
    return labelled.select("user_id")


def churn_labels(
    events: pl.DataFrame,
    cohort: pl.DataFrame,
    *,
    as_of: datetime,
    definition: ChurnDefinition,
    known_until: datetime,
) -> pl.DataFrame:
    """Label each cohort member: did they do nothing of the outcome kind in the outcome window?

    Outcome window: `(as_of + gap, as_of + gap + horizon]`. If it reaches past `known_until`, every label is null.
    A member without any event is labelled like everybody else.

    Columns in: events as for `cohort_at`, cohort user_id. Out: user_id, churned (bool or null), in cohort order.
    Raises LabelWindowError if `as_of` is after `known_until`.
    """
    at, until = to_us(as_of), to_us(known_until)
    _check_order(at, until)
    if at + definition.closing_us > until:
        return cohort.select("user_id", churned=pl.lit(None, pl.Boolean))
    occurred = pl.col("occurred_at").dt.epoch("us")
    inside = (occurred > at + definition.gap_us) & (occurred <= at + definition.closing_us)
    known = pl.col("ingested_at").dt.epoch("us") <= until
    active = events.filter(definition.is_outcome() & inside & known)["user_id"].unique()
    return cohort.select("user_id", churned=~pl.col("user_id").is_in(active.implode()))


def labelled_cohorts(
    events: pl.DataFrame,
    moments: Sequence[datetime],
    definition: ChurnDefinition,
    *,
    known_until: datetime,
    lapsed: bool = False,
) -> pl.DataFrame:
    """The cohorts of many moments with their labels, in one pass over the events.

    Columns in: user_id, occurred_at, ingested_at, type; any order. Out: user_id, as_of, churned (bool, or null where
    the outcome window reaches past `known_until`), stayed_at (the moment from which the first outcome event of the
    window was known; null unless churned is false), sorted by (as_of, user_id); equal moments count once.
    `lapsed`: ask about those instead who had an outcome event known at the moment, but none in
    `(as_of - eligible_days, as_of]`; churned then says that they did not come back.
    Equals `cohort_at` and `churn_labels` moment by moment; and whoever knows less, from an earlier `known_until` on at
    which the window had closed, would say churned where `stayed_at` is null or later.
    Memory: a number for each user at 32 moments.

    Raises LabelWindowError if a moment is after `known_until`.
    """
    at = np.unique(np.array([to_us(m) for m in moments], np.int64))
    until = to_us(known_until)
    if len(at):
        _check_order(int(at[-1]), until)
    known = _encode(events.filter(definition.is_eligible() | definition.is_outcome()), definition, until)
    chunks = np.array_split(at, max(1, -(-len(at) // _MOMENTS_AT_ONCE)))
    return pl.concat([_label_at(known, chunk, definition, until, lapsed) for chunk in chunks])


@dataclass(frozen=True)
class _Known:
    """The relevant events as columns: user code, times in microseconds, and what each event may count as."""

    users: pl.Series
    code: Moments
    occurred: Moments
    ingested: Moments
    eligible: NDArray[np.bool_]
    outcome: NDArray[np.bool_]


def _encode(events: pl.DataFrame, definition: ChurnDefinition, until: int) -> _Known:
    users, code = _encode_users(events["user_id"])
    ingested = events["ingested_at"].dt.epoch("us").to_numpy()
    types = events.with_columns(eligible=definition.is_eligible(), outcome=definition.is_outcome())
    return _Known(
        users=users,
        code=code,
        occurred=events["occurred_at"].dt.epoch("us").to_numpy(),
        ingested=ingested,
        eligible=types["eligible"].to_numpy(),
        outcome=types["outcome"].to_numpy() & (ingested <= until),
    )


def _label_at(known: _Known, at: Moments, definition: ChurnDefinition, until: int, lapsed: bool) -> pl.DataFrame:
    size = (len(known.users), len(at))
    first, end = _eligible_span(known.occurred, known.ingested, at, definition)
    asked = _covered(known.code, first, end, known.outcome if lapsed else known.eligible, size)
    if lapsed:
        ever = _covered(known.code, first, np.full_like(end, len(at)), known.outcome, size)
        asked = ever & ~asked
    first, end = _outcome_span(known.occurred, at, definition)
    since = np.maximum(known.occurred, known.ingested)[known.outcome]
    earliest = _earliest(known.code[known.outcome], first[known.outcome], end[known.outcome], since, size)
    moment, user = np.nonzero(asked.T)
    stayed = earliest[user, moment]
    closed = at[moment] + definition.closing_us <= until
    return pl.DataFrame(
        {
            "user_id": known.users.gather(user),
            "as_of": pl.Series(at[moment]).cast(TIME),
            "churned": stayed == NEVER_US,
            "stayed_at": pl.Series(stayed).cast(TIME),
        }
    ).select(
        "user_id",
        "as_of",
        churned=pl.when(pl.Series(closed)).then("churned"),
        stayed_at=pl.when(pl.Series(closed & (stayed < NEVER_US))).then("stayed_at"),
    )


def _encode_users(user_ids: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
    """Distinct ids in ascending order, and the position of each row's id among them."""
    if user_ids.is_sorted():
        return user_ids.unique(maintain_order=True), user_ids.rle_id().cast(pl.Int64).to_numpy()
    users = user_ids.unique().sort()
    place = pl.DataFrame({"user_id": users, "place": np.arange(len(users))})
    placed = user_ids.to_frame("user_id").join(place, on="user_id", how="left", maintain_order="left")
    return users, placed["place"].to_numpy()


def _eligible_span(occurred: Moments, ingested: Moments, at: Moments, d: ChurnDefinition) -> tuple[Moments, Moments]:
    """Positions [first, end) of the moments at which each event is known and inside the eligibility window."""
    first = np.searchsorted(at, np.maximum(occurred, ingested), side="left")
    return first, np.searchsorted(at, occurred + d.eligible_us, side="left")


def _outcome_span(occurred: Moments, at: Moments, d: ChurnDefinition) -> tuple[Moments, Moments]:
    """Positions [first, end) of the moments in whose outcome window each event lies."""
    first = np.searchsorted(at, occurred - d.closing_us, side="left")
    return first, np.searchsorted(at, occurred - d.gap_us, side="left")


def _covered(
    code: Moments, first: Moments, end: Moments, use: NDArray[np.bool_], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """(users, moments): does any used event of the user span the moment? Spans open with +1 and close with -1."""
    users, moments = size
    use = use & (first < end)
    base = code[use] * (moments + 1)
    cells = users * (moments + 1)
    steps = np.bincount(base + first[use], minlength=cells) - np.bincount(base + end[use], minlength=cells)
    return np.cumsum(steps.reshape(users, moments + 1), axis=1)[:, :moments] > 0


def _earliest(code: Moments, first: Moments, end: Moments, since: Moments, size: tuple[int, int]) -> Moments:
    """(users, moments): the least `since` of the user's events whose span covers the moment; NEVER_US without any."""
    found = np.full(size, NEVER_US)
    for step in range(int(np.max(end - first, initial=0))):
        here = first + step < end
        np.minimum.at(found, (code[here], first[here] + step), since[here])
    return found


def _check_order(as_of: int, known_until: int) -> None:
    if as_of > known_until:
        raise LabelWindowError(
            "a moment is after the end of what is known: labels need as_of <= known_until; "
            "choose an earlier as_of or ingest newer events",
            "时点晚于已知数据的终点：标签要求 as_of <= known_until；请选择更早的 as_of 或导入更新的事件",
        )
