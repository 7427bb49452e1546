"""How a model is chosen, weighed and calibrated: on closed moments, by models that had not seen them.

A held-out moment is one whose cohort is predicted by models fitted only on labels known at that moment. From the
held-out moments known at `L`, `choose` takes the number of boosting rounds, the weights of the stack and the
calibration for a later moment. The very same function judges the past (`L` = a closed moment, predicted with the
choice made before it) and serves the present (`L` = now): the honest figures are those of the policy that is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ebbtide.churn.labels import NEVER_US
from ebbtide.features.selection import rank_importance, select
from ebbtide.models.base import Model, Rows, Vector, labels_known_at
from ebbtide.models.calibration import AffineCalibration, ClosedMoment, calibrate, fitting_shift, settled
from ebbtide.models.columns import ColumnMaker
from ebbtide.models.lightgbm import LightGbmModel
from ebbtide.models.makers import MAKERS, all_columns
from ebbtide.models.rare import with_more_rare
from ebbtide.models.registry import Entry, Setting
from ebbtide.models.stack import Reads, StackModel, as_ranges, fit_weights, read_rows
from ebbtide.models.thinning import thinned
from ebbtide.models.trainable import is_enough
from ebbtide.models.undone import learnable

_READ_ROWS = 4000
_USUAL_VARIANT = LightGbmModel.rounds_grid.index(LightGbmModel.usual_rounds)


@dataclass(frozen=True)
class Learnt:
    """The newest cohort that the candidates had learnt from, M members: labels (M,), margins of each candidate, (V, M)."""

    y: Vector
    margins: dict[str, Vector]


@dataclass(frozen=True)
class HeldOut:
    """One held-out moment, N cohort members: margins of each candidate, (V, N), V = its variants (mostly 1).

    `y` and `stayed_us` (N,) as in `Rows`. `newest` anchors the candidates' common level; None: they are taken as they
    are. `treated_us` (N,): since when it is known that an action may have changed the outcome, None: there was none;
    such rows judge nothing, and with `learns_treated` they still help to choose.
    """

    moment_us: int
    closed_us: int
    user: NDArray[np.uint64]
    y: Vector
    margins: dict[str, Vector]
    stayed_us: NDArray[np.int64] | None = None
    newest: Learnt | None = None
    treated_us: NDArray[np.int64] | None = None
    learns_treated: bool = False

    def known_at(self, moment_us: int) -> HeldOut:
        """The same with the labels that were known then, without whom was known to be treated; its window must have
        closed."""
        held = replace(self, y=labels_known_at(moment_us, self.y, self.stayed_us))
        return held if self.treated_us is None or self.learns_treated else held.take(self.treated_us > moment_us)

    def untreated(self) -> HeldOut:
        """The members by whom a risk can be judged."""
        return self if self.treated_us is None else self.take(self.treated_us == NEVER_US)

    def take(self, index: NDArray[np.bool_]) -> HeldOut:
        """Some members."""
        margins = {name: m[:, index] for name, m in self.margins.items()}
        stayed, treated = (None if t is None else t[index] for t in (self.stayed_us, self.treated_us))
        taken = replace(self, user=self.user[index], y=self.y[index], margins=margins)
        return replace(taken, stayed_us=stayed, treated_us=treated)


def together(same: Sequence[HeldOut]) -> HeldOut:
    """One held-out moment, predicted by several sets of candidates, with the margins of all of them."""
    first, learnt = same[0], [h.newest for h in same if h.newest is not None]
    newest = Learnt(learnt[0].y, {k: m for part in learnt for k, m in part.margins.items()}) if learnt else None
    return replace(first, margins={k: m for h in same for k, m in h.margins.items()}, newest=newest)


@dataclass(frozen=True)
class Choice:
    """What was chosen: variant and weight of each candidate, the calibration, and the history behind it."""

    variant: dict[str, int]
    weight: dict[str, float]
    calibration: AffineCalibration
    history: tuple[ClosedMoment, ...]

    def apply(self, held: HeldOut) -> Vector:
        """Calibrated log-odds of a held-out moment, (N,)."""
        return self.calibration.apply(_blend(held, self.variant, self.weight))


def hold_out(rows: Rows, moment_us: int, entries: dict[str, Entry], setting: Setting, *, seed: int) -> HeldOut | None:
    """Predict the cohort of `moment_us` by candidates fitted on what was known then; None if too little was."""
    known = learnable(rows, moment_us, seed=seed)
    if not (rows.as_of_us == moment_us).any() or not is_enough(known):
        return None
    both, own = with_newest(rows, moment_us)
    margins = held_margins(known, both, entries, setting, seed=seed)
    learnt = Learnt(known.at(int(known.as_of_us.max())).y, {name: m[:, ~own] for name, m in margins.items()})
    return held_cohort(both.take(own), {name: m[:, own] for name, m in margins.items()}, learnt)


def with_newest(rows: Rows, moment_us: int) -> tuple[Rows, NDArray[np.bool_]]:
    """The cohort of `moment_us` together with the newest one that is learnt from then; and which rows are its own."""
    usable = rows.usable_at(moment_us)
    newest = usable & (rows.as_of_us == rows.as_of_us[usable].max())
    both = rows.take(newest | (rows.as_of_us == moment_us))
    return both, both.as_of_us == moment_us


def held_cohort(asked: Rows, margins: dict[str, Vector], newest: Learnt | None) -> HeldOut:
    """The cohort of one moment with the margins of its candidates."""
    moment_us, exposures = int(asked.as_of_us[0]), asked.exposures
    return HeldOut(
        moment_us=moment_us,
        closed_us=moment_us + asked.embargo_us,
        user=asked.user,
        y=asked.y,
        margins=margins,
        stayed_us=asked.stayed_us,
        newest=newest,
        treated_us=None if exposures is None else asked.treated_us(),
        learns_treated=exposures is not None and exposures.rule == "keep",
    )


def held_margins(
    known: Rows, asked: Rows, entries: dict[str, Entry], setting: Setting, *, seed: int
) -> dict[str, Vector]:
    """Margins of the candidates, fitted on `known`, at the rows `asked`, (V, N) each.

    Column makers are fitted on the same rows as the models that read them.
    """
    made = MadeColumns(known, setting, seed)
    margins = {}
    for name, entry in entries.items():
        model, own, wanted = entry.make(setting), made.learnt_rows(entry), made.rows_for(entry, asked)
        if isinstance(model, LightGbmModel):
            margins[name] = model.margin_path(own, wanted.X, seed=seed)
        else:
            margins[name] = model.fit(own, seed=seed).margin(wanted.X)[None, :]
    return margins


class MadeColumns:
    """Column makers, each fitted on the same rows when it is first asked for."""

    def __init__(self, rows: Rows, setting: Setting, seed: int) -> None:
        self._rows, self._setting, self._seed = rows, setting, seed
        self._fitted: dict[str, ColumnMaker] = {}
        self._best: dict[tuple[int, tuple[str, ...]], Reads] = {}

    @property
    def makers(self) -> tuple[ColumnMaker, ...]:
        """The makers that were asked for, in that order."""
        return tuple(self._fitted.values())

    def give(self, maker: ColumnMaker) -> None:
        """Take a maker that is fitted already."""
        self._fitted[maker.name] = maker

    def names_for(self, entry: Entry) -> tuple[str, ...]:
        """The makers that a model reads."""
        return entry.makers if entry.alone else tuple(dict.fromkeys((*self._setting.makers, *entry.makers)))

    def rows_for(self, entry: Entry, rows: Rows) -> Rows:
        """The rows as the model sees them."""
        seen = self._seen(entry, rows)
        return read_rows(seen, self._best_columns(entry)) if entry.columns else seen

    def _seen(self, entry: Entry, rows: Rows) -> Rows:
        seen = rows
        for name in self.names_for(entry):
            maker = self._maker(name)
            names = tuple(c.name for c in maker.declarations())
            seen = seen.widened(names, maker.columns(rows.X, rows.sequences))
        return read_rows(seen, ((len(rows.names), len(seen.names)),)) if entry.alone else seen

    def learnt_rows(self, entry: Entry, *, made_up: bool = True) -> Rows:
        """The rows that a model learns from: with more of the rare class if `[augment]` says so and `made_up`; some of
        the users for a model that reads a net's column, of which it takes the mean alone."""
        if entry.alone:
            return self.rows_for(entry, thinned(self._rows, _READ_ROWS))
        rows = self.rows_for(entry, self._rows)
        return with_more_rare(rows, self._setting.augment, seed=self._seed) if made_up else rows

    def reads_of(self, entry: Entry) -> Reads:
        """Where the model's columns will stand in a bundle: the base columns, then those of all makers in order."""
        ranges = [] if entry.alone else [(0, len(self._rows.names))]
        start = len(self._rows.names)
        for name, maker in self._fitted.items():
            stop = start + len(maker.declarations())
            if name in self.names_for(entry):
                ranges.append((start, stop))
            start = stop
        if not entry.columns:
            return tuple(ranges)
        places = [place for first, stop in ranges for place in range(first, stop)]
        return as_ranges([places[i] for first, stop in self._best_columns(entry) for i in range(first, stop)])

    def _best_columns(self, entry: Entry) -> Reads:
        """The columns, of those that the model would see, that say most about the labels of the rows all are fitted on."""
        key = (entry.columns, self.names_for(entry))
        if key not in self._best:
            rows = self._seen(entry, self._rows)
            importance = rank_importance(rows.X, rows.y, seed=self._seed)
            kept = set(select(rows.X, rows.y, rows.names, importance=importance, most=entry.columns, seed=self._seed))
            self._best[key] = as_ranges([i for i, name in enumerate(rows.names) if name in kept or not kept])
        return self._best[key]

    def _maker(self, name: str) -> ColumnMaker:
        if name not in self._fitted:
            self._fitted[name] = MAKERS[name].make(self._setting).fit(self._rows, seed=self._seed)
        return self._fitted[name]


def choose(held: Sequence[HeldOut], entries: dict[str, Entry], *, known_us: int) -> Choice:
    """Choose from the held-out moments that had closed by `known_us`, with the labels known then.

    Weights add up to 1: how far their sum is trusted is the slope of the calibration. Without any such moment: the
    usual rounds, the prior weights and no calibration.
    """
    closed = [h.known_at(known_us) for h in held if h.closed_us <= known_us]
    variant = {n: _best_variant(closed, n, e) for n, e in entries.items()}
    prior = np.array([1.0 if len(entries) == 1 else e.prior or 0.0 for e in entries.values()])
    if not closed:
        return Choice(variant, dict(zip(entries, prior, strict=True)), AffineCalibration(), ())
    y, group = _joined(closed)
    if len(entries) > 1 and 0 < y.sum() < len(y):
        margins = np.vstack([np.concatenate([h.margins[n][variant[n]] for h in closed]) for n in entries])
        prior = fit_weights(margins, y, group, prior)
        prior = prior / prior.sum()
    weight = dict(zip(entries, (settled(float(w)) for w in prior), strict=True))
    blended = np.concatenate([_blend(h, variant, weight) for h in closed])
    if not 0 < y.sum() < len(y):
        return Choice(variant, weight, AffineCalibration(), ())
    calibration, history = calibrate(blended, y, group)
    return Choice(variant, weight, calibration, tuple(history))


def fit_chosen(
    rows: Rows, choice: Choice, entries: dict[str, Entry], setting: Setting, *, seed: int, anchored: bool = True
) -> tuple[StackModel, tuple[ColumnMaker, ...]]:
    """Fit the candidates that carry weight on all rows, as chosen, and the column makers that they read.

    `anchored`: the stack is brought to the level of the newest cohort, as held-out margins with `newest` were.
    Rows that are made up shift the base rate, which only a calibration puts right: without one none are.
    """
    made = MadeColumns(rows, setting, seed)
    carrying = {name: entry for name, entry in entries.items() if choice.weight[name] > 0}
    members: list[Model] = []
    for name, entry in carrying.items():
        model = entry.make(setting)
        if isinstance(model, LightGbmModel):
            model.rounds = model.rounds_grid[choice.variant[name]]
        calibrated = choice.calibration != AffineCalibration()
        members.append(model.fit(made.learnt_rows(entry, made_up=calibrated), seed=seed))
    weights = [choice.weight[name] for name in carrying]
    reads = [made.reads_of(entry) for entry in carrying.values()]
    stack = StackModel(members, weights, names=list(carrying), reads=reads)
    return anchor(stack, made.makers, rows) if anchored else stack, made.makers


def anchor(stack: StackModel, makers: Sequence[ColumnMaker], rows: Rows) -> StackModel:
    """The stack, fitted on `rows`, brought to the level of the newest cohort among them."""
    newest = rows.at(int(rows.as_of_us.max()))
    margin = stack.margin(all_columns(makers, newest.X, newest.sequences))
    stack.intercept += fitting_shift(margin, newest.y)
    return stack


def _best_variant(closed: Sequence[HeldOut], name: str, entry: Entry) -> int:
    """The variant with the least log loss over the moments, each after a calibration of its own."""
    if not closed:
        return _USUAL_VARIANT if entry.staged else 0
    losses = np.zeros(len(closed[0].margins[name]))
    if len(losses) == 1:
        return 0
    for h in closed:
        for v, margin in enumerate(h.margins[name]):
            losses[v] += _calibrated_loss(margin, h.y)
    return int(np.argmin(losses))


def _calibrated_loss(margin: Vector, y: Vector) -> float:
    """Summed log loss after the intercept that fits best."""
    shift = 0.0
    for _ in range(8):
        p = 1 / (1 + np.exp(-np.clip(margin + shift, -60, 60)))
        shift += float((y.mean() - p.mean()) / max(float((p * (1 - p)).mean()), 1e-9))
    odds = margin + shift
    return float(np.sum(np.logaddexp(0, odds) - y * odds))


def _blend(held: HeldOut, variant: dict[str, int], weight: dict[str, float]) -> Vector:
    """Weighed margins of a held-out moment, (N,), anchored on the newest cohort that the candidates had learnt from."""
    own = _weighed(held.margins, variant, weight)
    if held.newest is None:
        return own
    return own + fitting_shift(_weighed(held.newest.margins, variant, weight), held.newest.y)


def _weighed(margins: dict[str, Vector], variant: dict[str, int], weight: dict[str, float]) -> Vector:
    return np.asarray(sum(w * margins[n][variant[n]] for n, w in weight.items() if w), np.float64)


def _joined(closed: Sequence[HeldOut]) -> tuple[Vector, NDArray[np.int64]]:
    y = np.concatenate([h.y for h in closed])
    group = np.concatenate([np.full(len(h.y), h.moment_us, np.int64) for h in closed])
    return y, group
