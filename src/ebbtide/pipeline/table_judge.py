"""The honest figures of a table: every judged row is predicted by models that had not seen it.

In folds, the weights, the number of boosting rounds and the calibration that a fold is predicted with come from the
other folds. With times, the newest block is predicted with what was chosen on the blocks before it. The same policy on
all parts makes the model that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.config import Config
from ebbtide.core.language import Language, Text
from ebbtide.core.progress import Progress
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.summary import Evaluation, evaluate
from ebbtide.explain.families import families_of, family_names
from ebbtide.features.table_encoding import TableEncoding
from ebbtide.models.auto import Choice, HeldOut, choose, fit_chosen, held_margins
from ebbtide.models.base import Rows, Vector, sigmoid
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.columns import ColumnMaker
from ebbtide.models.registry import Entry, Setting
from ebbtide.models.stack import StackModel
from ebbtide.pipeline.table_data import LabelledTable
from ebbtide.pipeline.table_parts import Index, Part, stratified_parts, time_blocks, time_parts
from ebbtide.pipeline.table_score import Scorer

_STAGE = Text("judging on rows not learnt from", "在未学习过的行上检验")
_MOST_SLICED, _SLICE_LEVELS = 4, 12


@dataclass(frozen=True)
class Policy:
    """How a table is learnt from: the name of the run, the candidates and what they need, the column of each row's
    time ("" without), and how long after it a label is known."""

    run: str
    entries: dict[str, Entry]
    setting: Setting
    time: str
    embargo_us: int
    config: Config
    language: Language

    @property
    def seed(self) -> int:
        """The seed of every random choice."""
        return self.config.train.seed


@dataclass(frozen=True)
class Judged:
    """M rows that were judged: `rows` are their places in the table, p (M,) their calibrated probabilities by models
    that had not seen them. `scored`: the same as list rows with reasons; `terms` (M, K + 1): contributions by
    column of the file, and of what is made from several. members: each candidate alone, AUROC with its interval, and its paired difference to the policy."""

    rows: Index
    p: Vector
    scored: pl.DataFrame
    terms: NDArray[np.float64]
    test: Evaluation
    members: dict[str, tuple[Estimate, Estimate]]
    held: tuple[HeldOut, ...]


def parts_of(table: LabelledTable, policy: Policy) -> list[Part]:
    """Folds, or the past and what followed."""
    if policy.time:
        return time_parts(table.time_us, table.y, policy.embargo_us)
    return stratified_parts(table.y, table.group, seed=policy.seed)


def judge(table: LabelledTable, policy: Policy, progress: Progress) -> Judged:
    """Predict every part, and judge all folds together, or the newest block alone."""
    parts, held, work = parts_of(table, policy), list[HeldOut](), 0
    total = len(parts) * 2 if not policy.time else len(parts) + 1
    for part in parts:
        progress(_STAGE, work, total)
        held.append(_hold_out(table, part, policy))
        work += 1
    asked, choices, predicted = list[Part](), list[Choice](), list[tuple[Vector, pl.DataFrame, NDArray[np.float64]]]()
    for k, part in enumerate(parts):
        if policy.time and k + 1 < len(parts):
            continue
        progress(_STAGE, work, total)
        work += 1
        others = held[:k] if policy.time else held[:k] + held[k + 1 :]
        choices.append(choose_policy(others, policy, part))
        predicted.append(_predict(table, part, choices[-1], policy))
        asked.append(part)
    progress(_STAGE, total, total)
    rows = np.concatenate([part.asked for part in asked])
    p = np.concatenate([found[0] for found in predicted])
    y, user = table.y[rows], table.user[rows]
    test = evaluate(
        y,
        p,
        user=user,
        groups=_slices(table, rows),
        profit=policy.config.profit,
        draws=policy.config.train.bootstrap,
        seed=policy.seed,
    )
    return Judged(
        rows=rows,
        p=p,
        scored=pl.concat([found[1] for found in predicted]),
        terms=np.concatenate([found[2] for found in predicted]),
        test=test,
        members=_members(held[-len(asked) :], choices, y, p, user, policy),
        held=tuple(held),
    )


def choose_policy(held: Sequence[HeldOut], policy: Policy, part: Part | None = None) -> Choice:
    """Variants, weights and calibration from held-out parts, for `part` (None: for what comes after all of them)."""
    latest = max((h.closed_us for h in held), default=0)
    at_us = part.moment_us if part else latest
    found = choose(held, policy.entries, known_us=at_us)
    if policy.time or not held:
        return found
    # folds are of one moment, so nothing drifts: the straight line that fits their rows best
    plain = replace(found, calibration=AffineCalibration())
    margin = np.concatenate([plain.apply(h) for h in held])
    return replace(found, calibration=AffineCalibration.fit(margin, np.concatenate([h.y for h in held])), history=())


def fit_policy(
    table: LabelledTable, choice: Choice, policy: Policy, index: Index | None = None
) -> tuple[TableEncoding, StackModel, tuple[ColumnMaker, ...], Rows]:
    """The policy fitted on the rows at `index` (None: on all), and these rows."""
    encoding, rows = _rows(table, np.arange(len(table)) if index is None else index, policy)
    # a row has a moment of its own: there are no cohorts to anchor on
    stack, makers = fit_chosen(rows, choice, policy.entries, policy.setting, seed=policy.seed, anchored=False)
    return encoding, stack, makers, rows


def usual_values(rows: Rows) -> dict[str, float]:
    """The median of each column of the design; columns that nobody has a value in are left out."""
    known = np.flatnonzero(np.isfinite(rows.X).any(axis=0))
    medians = np.nanmedian(rows.X[:, known], axis=0)
    return {rows.names[i]: float(m) for i, m in zip(known, medians, strict=True)}


def _rows(table: LabelledTable, index: Index, policy: Policy) -> tuple[TableEncoding, Rows]:
    """The encoding fitted on the rows at `index`, and these rows. Their moments are blocks of time, so that models
    which look at the newest moments find some that have rows enough."""
    read = table.read[index]
    encoding = TableEncoding.fit(table.fields, read, policy.time)
    at_us = table.time_us[index]
    if policy.time:
        starts = time_blocks(at_us)
        at_us = starts[np.searchsorted(starts, at_us, side="right") - 1]
    group = table.user if policy.time else table.group
    return encoding, Rows(encoding.design(read), table.y[index], at_us, group[index], encoding.names, embargo_us=1)


def _hold_out(table: LabelledTable, part: Part, policy: Policy) -> HeldOut:
    encoding, rows = _rows(table, part.known, policy)
    asked = replace(
        rows,
        X=encoding.design(table.read[part.asked]),
        y=table.y[part.asked],
        as_of_us=table.time_us[part.asked],
        user=table.user[part.asked],
    )
    margins = held_margins(rows, asked, policy.entries, policy.setting, seed=policy.seed)
    return HeldOut(part.moment_us, part.closed_us, asked.user, asked.y, margins)


def _predict(
    table: LabelledTable, part: Part, choice: Choice, policy: Policy
) -> tuple[Vector, pl.DataFrame, NDArray[np.float64]]:
    """Probabilities, list rows and the contributions of the file's columns, for the rows that are asked."""
    encoding, stack, makers, rows = fit_policy(table, choice, policy, part.known)
    config = policy.config
    scorer = Scorer(
        encoding,
        stack,
        makers,
        choice.calibration,
        usual_values(rows),
        config.bands,
        config.shop.currency,
        policy.run,
    )
    read = table.read[part.asked]
    X = scorer.design(read)
    scored = scorer.score(read, table.ids[part.asked], language=policy.language)
    by_column = _by_field(families_of(scorer.terms(X), scorer.columns), family_names(scorer.columns), table)
    return sigmoid(scorer.log_odds(X)), scored, by_column


def _by_field(terms: NDArray[np.float64], families: Sequence[str], table: LabelledTable) -> NDArray[np.float64]:
    """Contributions in the order of the file's columns, then of all that columns made from several of them add; a
    column that gave none in this part has zeros."""
    place = {field.column: k for k, field in enumerate(table.fields)}
    out = np.zeros((len(terms), len(place) + 1))
    for k, family in enumerate(families):
        out[:, place.get(family, -1)] += terms[:, k]
    return out


def _members(
    held: Sequence[HeldOut], choices: Sequence[Choice], y: Vector, p: Vector, user: NDArray[np.uint64], policy: Policy
) -> dict[str, tuple[Estimate, Estimate]]:
    """Each candidate alone, uncalibrated, in the variant that was chosen on the other parts, beside the policy."""
    found = {}
    for name in policy.entries:
        alone = np.concatenate([h.margins[name][c.variant[name]] for h, c in zip(held, choices, strict=True)])
        own = sigmoid(alone)
        auroc = evaluate(y, own, user=user, draws=policy.config.train.bootstrap, seed=policy.seed).metrics["auroc"]
        found[name] = (auroc, paired_difference(y, p, own, user=user))
    return found


def _slices(table: LabelledTable, rows: Index) -> dict[str, NDArray[np.object_]]:
    """The first few columns of few categories or yes and no, as groups."""
    groups: dict[str, NDArray[np.object_]] = {}
    for field in table.fields:
        values = table.read[field.column][rows]
        if field.kind not in ("category", "flag") or not 2 <= values.drop_nulls().n_unique() <= _SLICE_LEVELS:
            continue
        told = values.replace_strict({1.0: "yes", 0.0: "no"}, default=None) if field.kind == "flag" else values
        groups[field.column] = told.to_numpy().astype(object)
        if len(groups) == _MOST_SLICED:
            break
    return groups
