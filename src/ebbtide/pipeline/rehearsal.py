"""The rehearsal: the training policy run at past moments as if each of them were today.

Training cutoffs step back densely from the newest closed moment; some of them, one horizon apart, are held out in
turn. Each held-out cohort is predicted by models fitted on the labels known then, weighed and calibrated with what
was known then. Every headline figure comes from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ebbtide.churn.cutoffs import closed_moments, shortest_lookback_us
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress
from ebbtide.core.windows import DAY_US
from ebbtide.models.auto import Choice, HeldOut, choose, hold_out
from ebbtide.models.base import Rows
from ebbtide.models.columns import rows_with_model_columns
from ebbtide.models.registry import Entry, Setting

STEPS_IN_HORIZON = 3
MOST_HELD_OUT = 4


@dataclass(frozen=True)
class Rehearsed:
    """One past moment: the held-out margins, and the choice that was made with what was known then."""

    held: HeldOut
    choice: Choice

    @property
    def judged(self) -> HeldOut:
        """The members by whom the policy is judged: those without an action in their window."""
        return self.held.untreated()


def training_moments(first_us: int, until_us: int, definition: ChurnDefinition, most: int) -> list[int]:
    """Training cutoffs, oldest first: a third of a horizon apart, in whole days where the horizon allows.

    Half of the shortest lookback suffices before the oldest one: a young log is better learnt from than not at all.
    """
    step = definition.horizon_us // STEPS_IN_HORIZON
    if step >= DAY_US:
        step = round(step / DAY_US) * DAY_US
    lookback = shortest_lookback_us(definition) // 2
    return closed_moments(first_us, until_us, definition, most, step_us=step, lookback_us=lookback)


def held_out_moments(moments: Sequence[int], embargo_us: int, most: int = MOST_HELD_OUT) -> list[int]:
    """Moments to hold out, newest first, at least an embargo apart, each with a moment before it to learn from."""
    chosen: list[int] = []
    for moment in reversed(moments):
        apart = not chosen or chosen[-1] - moment >= embargo_us
        if apart and moments[0] + embargo_us <= moment:
            chosen.append(moment)
    return chosen[:most]


def rehearse(
    rows: Rows,
    moments: Sequence[int],
    entries: dict[str, Entry],
    setting_at: Callable[[int], Setting],
    *,
    seed: int,
    progress: Progress,
) -> list[Rehearsed]:
    """Rehearse each moment (given newest first); the result stands oldest first, without moments that had nothing to
    learn from."""
    held = predict_past(rows, moments, entries, setting_at, seed=seed, progress=progress)
    return choose_in_turn(held, entries)


def predict_past(
    rows: Rows,
    moments: Sequence[int],
    entries: dict[str, Entry],
    setting_at: Callable[[int], Setting],
    *,
    seed: int,
    progress: Progress,
) -> list[HeldOut]:
    """The held-out margins of each moment, oldest first, without moments that had nothing to learn from.

    A candidate's margins do not depend on which others take part.
    """
    held: list[HeldOut] = []
    for done, moment in enumerate(moments):
        progress(Text("rehearsing past moments", "演练过去时点"), done, len(moments))
        full = rows_with_model_columns(rows, setting_at(moment))
        found = hold_out(full, moment, entries, setting_at(moment), seed=seed)
        held += [found] if found else []
    progress(Text("rehearsing past moments", "演练过去时点"), len(moments), len(moments))
    return sorted(held, key=lambda h: h.moment_us)


def choose_in_turn(held: Sequence[HeldOut], entries: dict[str, Entry]) -> list[Rehearsed]:
    """At each held-out moment, the choice among the candidates with what was known then."""
    return [Rehearsed(h, choose(held, entries, known_us=h.moment_us)) for h in held]


def usual_values(rows: Rows) -> dict[str, float]:
    """The median of each column among the newest cohort; columns that nobody there knows are left out."""
    newest = rows.at(int(rows.moments()[-1]))
    known = np.flatnonzero(np.isfinite(newest.X).any(axis=0))
    medians = np.nanmedian(newest.X[:, known], axis=0)
    return {rows.names[i]: float(median) for i, median in zip(known, medians, strict=True)}
