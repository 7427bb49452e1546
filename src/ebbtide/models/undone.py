"""What a model may learn from at a moment: treated rows as they are, not at all, or as if nothing had been done.

The last of these: a treated row keeps its columns, and its label becomes what the customer would have done without the
action, as far as the log tells. For that a logistic regression says the risk without an action, and for each action one
number, its effect, says by how much the log-odds of churn moved among those who had not yet come back when they got it.
Whoever came back before the action would have stayed anyway. Whoever churned in spite of an action that helps would
have churned without it; of those who stayed after it, so many would have churned as the two risks differ by. Who they
are is drawn, once, by a hash. Risk and effects are found in turn (expectation and maximisation, Dempster et al. 1977).

Assumed: given the columns and that a customer had not yet come back, who got the action is as good as chance; and an
action that helps on the whole makes nobody leave who would have stayed. Nothing is asked of an action at scoring.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ebbtide.churn.labels import NEVER_US
from ebbtide.models.base import Rows, Vector, sigmoid
from ebbtide.models.calibration import AffineCalibration, fitting_shift
from ebbtide.models.logistic import LogisticConfig, LogisticModel
from ebbtide.models.trainable import is_enough

LEAST_OF_A_KIND = 50
_ROUNDS = 4
_GROUPS = 5
_LEAST_LEFT = 1e-3
_SLOPE_SPREAD = 3.0


@dataclass(frozen=True)
class ActionEffect:
    """What one action did inside the outcome window: the change of the log-odds of churn, below 0 where it helps, its
    standard error, and of how many rows. `kind` None: the actions that too few rows had, together."""

    kind: str | None
    rows: int
    log_odds: float
    error: float


@dataclass(frozen=True)
class Learnable:
    """The rows to learn from, and what was found about the actions in them: nothing unless they are modelled."""

    rows: Rows
    effects: tuple[ActionEffect, ...] = ()


def learnable(rows: Rows, moment_us: int, *, seed: int) -> Rows:
    """The rows that a model fitted at `moment_us` may learn from, with the labels to learn; without exposures."""
    return learn_from(rows, moment_us, seed=seed).rows


def learn_from(rows: Rows, moment_us: int, *, seed: int) -> Learnable:
    """The same, with what was found about the actions. Needs columns, labels and exposures known at `moment_us` only."""
    known, exposures = rows.known_at(moment_us), rows.exposures
    plain = replace(known, exposures=None)
    if exposures is None or exposures.rule != "model" or not len(known):
        return Learnable(plain)
    at, kind = exposures.first_known(known.user, known.as_of_us, known.embargo_us, moment_us)
    stayed = _stayed(known)
    hit = (at < NEVER_US) & (stayed > at)
    if not hit.any():
        return Learnable(plain)
    start = plain.take(at == NEVER_US)
    if not is_enough(start):  # of what happens without an action nothing is known
        return Learnable(start)
    share = (np.minimum(at, stayed) - known.as_of_us) / known.embargo_us
    told = _common(kind, hit)
    return _Undoing(plain, hit, told, np.minimum(share, 1.0), draws(known, seed)).run(start, exposures.kinds)


def draws(rows: Rows, seed: int) -> Vector:
    """A number in [0, 1) for each row, (N,), which depends on its user and moment only."""
    mixed = rows.user ^ (rows.as_of_us.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64, Steele et al. 2014
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))).astype(np.float64) / 2.0**64


def churned_anyway(y: Vector, without: Vector, with_action: Vector) -> Vector:
    """P(churn without the action) given the label with it and both risks, (N,).

    An action that helps makes nobody leave, one that harms makes nobody stay.

    >>> churned_anyway(np.array([1.0, 0.0]), np.array([0.6, 0.6]), np.array([0.5, 0.5])).round(3).tolist()
    [1.0, 0.2]
    """
    saved = np.maximum(without - with_action, 0) / np.maximum(1 - with_action, 1e-9)
    driven = np.minimum(without / np.maximum(with_action, 1e-9), 1)
    return np.where(y == 1, driven, saved)


def not_back_yet(share: Vector, back: NDArray[np.bool_], asked: Vector) -> tuple[Vector, float]:
    """Kaplan-Meier: which part has not come back after each share of the window in `asked`, and at its end.

    `share` (N,): when each row came back (`back`) or, treated by then, was watched no longer; 1 for those watched to
    the end.
    """
    order = np.lexsort((~back, share))
    share, back = share[order], back[order]
    here = np.arange(len(share), 0, -1)
    curve = np.cumprod(np.where(back, 1 - 1 / here, 1.0))
    place = np.searchsorted(share, asked, "right") - 1
    return np.where(place >= 0, curve[place], 1.0), float(curve[-1])


@dataclass(frozen=True)
class _Undoing:
    """N known rows. `hit` (N,): an action came before the row was decided; `told` (N,): which one, -1 where none, -2 for
    a rare one; `share` (N,): the part of the window after which the row was decided or hit, whichever came first."""

    rows: Rows
    hit: NDArray[np.bool_]
    told: NDArray[np.int64]
    share: Vector
    luck: Vector

    def run(self, start: Rows, kinds: tuple[str, ...]) -> Learnable:
        usual = LogisticModel(strength=LogisticConfig().usual).fit(self.rows, seed=0)  # on the scale of all rows
        model, rows, effects = usual.fit_more(start, seed=0, way="warm"), start, {}
        for _ in range(_ROUNDS):
            odds = self.odds_when_hit(_unshrunk(model, rows, self.rows))
            effects = {int(k): self.effect(int(k), odds) for k in np.unique(self.told[self.hit])}
            shift = np.array([effects[int(k)].log_odds for k in self.told[self.hit]])
            y = self.rows.y.copy()
            anyway = churned_anyway(y[self.hit], sigmoid(odds), sigmoid(odds + shift))
            y[self.hit] = self.luck[self.hit] < anyway
            rows = replace(self.rows, y=y)
            model = model.fit_more(rows, seed=0, way="warm")
        named = [replace(e, kind=None if k < 0 else kinds[k]) for k, e in effects.items()]
        return Learnable(replace(rows, stayed_us=None), tuple(sorted(named, key=lambda e: e.kind or "~")))

    def odds_when_hit(self, margin: Vector) -> Vector:
        """Log-odds of churn without an action of those who got one, given that they had not come back by then."""
        edges = np.quantile(margin, np.linspace(0, 1, _GROUPS + 1)[1:-1])
        group = np.searchsorted(edges, margin)
        left = np.ones(len(margin))
        back = (self.rows.y == 0) & ~self.hit
        for g in range(_GROUPS):
            own = group == g
            if own.any():
                curve, end = not_back_yet(self.share[own], back[own], self.share[own])
                left[own] = (curve - end) / max(1 - end, 1e-9)
        return margin[self.hit] - np.log(np.maximum(left[self.hit], _LEAST_LEFT))

    def effect(self, kind: int, odds: Vector) -> ActionEffect:
        own = self.told[self.hit] == kind
        y, odds = self.rows.y[self.hit][own], odds[own]
        shift = fitting_shift(odds, y)
        p = sigmoid(odds + shift)
        return ActionEffect(None, int(own.sum()), shift, float(1 / np.sqrt(np.sum(p * (1 - p)) + 1 / 9)))


def _stayed(rows: Rows) -> NDArray[np.int64]:
    """Since when it was known that each row stayed; without that, the window's end."""
    if rows.stayed_us is not None:
        return rows.stayed_us
    return np.where(rows.y == 1, NEVER_US, rows.as_of_us + rows.embargo_us)


def _unshrunk(model: LogisticModel, learnt: Rows, asked: Rows) -> Vector:
    """Log-odds of the asked, (N,), spread as far as the labels learnt want it: the ridge pulls them together, and those
    treated are at one end."""
    line = AffineCalibration.fit(model.margin(learnt.X), learnt.y, slope_spread=_SLOPE_SPREAD)
    return line.apply(model.margin(asked.X))


def _common(kind: NDArray[np.int64], hit: NDArray[np.bool_]) -> NDArray[np.int64]:
    counts = np.bincount(kind[hit], minlength=1)
    rare = hit & (counts[np.maximum(kind, 0)] < LEAST_OF_A_KIND)
    return np.where(rare, -2, np.where(hit, kind, -1))
