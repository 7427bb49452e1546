"""Teach who of the lapsed comes back, from past cutoffs, by the same steps as churn: cohort, features, rehearsal, fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress
from ebbtide.core.windows import from_us
from ebbtide.evaluation.intervals import Estimate, affordable_draws, draw_weights
from ebbtide.evaluation.ranking import auroc_of
from ebbtide.evaluation.tally import Ranking
from ebbtide.events.sentiment.scorer import Sentiment
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.tables import ItemTable
from ebbtide.models.auto import choose, fit_chosen
from ebbtide.models.base import Rows, Vector, sigmoid
from ebbtide.models.columns import rows_with_model_columns
from ebbtide.models.comeback import Comeback, ComebackFigures
from ebbtide.models.exposures import Exposures
from ebbtide.models.registry import Setting, candidates
from ebbtide.models.undone import learnable
from ebbtide.pipeline.dataset import Shards, collect, label, sample_cohorts
from ebbtide.pipeline.rehearsal import Rehearsed, rehearse

MODEL = "lightgbm"
MOST_ROWS = 20_000
LEAST_EACH = 50
LEAST_TESTED = 10

_TOO_FEW = Text(
    "no model of coming back: {returned:,} of {rows:,} lapsed customers at past cutoffs came back, and it takes {least} of "
    "each kind",
    "没有回归模型：过去各时点的 {rows:,} 位已流失顾客中有 {returned:,} 位回归，两类各需至少 {least} 位",
)
_UNTESTED = Text(
    "no model of coming back: at the past moments at which it could be tested {returned:,} of {rows:,} lapsed customers came "
    "back, and it takes {least} of each kind",
    "没有回归模型：可用于检验的过去时点上，{rows:,} 位已流失顾客中有 {returned:,} 位回归，两类各需至少 {least} 位",
)
_TOLD = Text(
    "coming back: AUROC {auroc:.3f} [{low:.3f}, {high:.3f}] among {users:,} lapsed customers at {moments} past moments "
    "until {tested_at}, of whom {observed:.1%} came back ({predicted:.1%} expected)",
    "回归模型：截至 {tested_at} 的 {moments} 个过去时点、{users:,} 位已流失顾客，AUROC {auroc:.3f} [{low:.3f}, {high:.3f}]，"
    "其中 {observed:.1%} 回归（预计 {predicted:.1%}）",
)


@dataclass(frozen=True)
class Ground:
    """What a training run has found out already and this one stands on. Moments and `held_out` (newest first) as there."""

    lake: Shards
    definition: ChurnDefinition
    catalogue: Catalogue
    items: ItemTable
    sentiment: Sentiment
    until_us: int
    moments: Sequence[int]
    held_out: Sequence[int]
    setting_at: Callable[[int], Setting]
    max_rows: int
    draws: int
    seed: int
    progress: Progress
    exposures: Exposures | None = None


def fit_comeback(ground: Ground) -> tuple[Comeback | None, Text]:
    """The model, or None where the log cannot teach one; and a sentence that tells its test, or why there is none."""
    cohorts = _cohorts(ground)
    returned = int((~cohorts["churned"]).sum())
    if min(returned, len(cohorts) - returned) < LEAST_EACH:
        return None, _TOO_FEW.format(returned=returned, rows=len(cohorts), least=LEAST_EACH)
    rows = _rows(ground, cohorts)
    setting = ground.setting_at(ground.until_us)
    learnt = learnable(rows_with_model_columns(rows, setting), ground.until_us, seed=ground.seed)
    stayed_away = int(learnt.y.sum())
    if min(stayed_away, len(learnt) - stayed_away) < LEAST_EACH:
        return None, _TOO_FEW.format(returned=len(learnt) - stayed_away, rows=len(learnt), least=LEAST_EACH)
    entries = candidates(MODEL)
    past = rehearse(rows, ground.held_out, entries, ground.setting_at, seed=ground.seed, progress=ground.progress)
    tested = past[1:]  # at the oldest there was nothing yet to calibrate with
    y = np.concatenate([np.empty(0), *(1 - r.judged.y for r in tested)])
    if min(y.sum(), len(y) - y.sum()) < LEAST_TESTED:
        return None, _UNTESTED.format(returned=int(y.sum()), rows=len(y), least=LEAST_TESTED)
    choice = choose([r.held for r in past], entries, known_us=ground.until_us)
    stack, _ = fit_chosen(learnt, choice, entries, setting, seed=ground.seed)
    figures = _figures(learnt, tested, ground)
    return Comeback(stack, choice.calibration, figures), tell(figures)


def tell(figures: ComebackFigures) -> Text:
    """The test in one sentence."""
    e = figures.auroc
    return _TOLD.format(
        auroc=e.value or 0.0,
        low=e.low or 0.0,
        high=e.high or 0.0,
        users=figures.test_users,
        tested_at=figures.tested_at[:10],
        moments=figures.test_moments,
        observed=figures.observed,
        predicted=figures.predicted,
    )


def _cohorts(ground: Ground) -> pl.DataFrame:
    """The lapsed at all closed moments, at most 20,000 rows."""
    until = from_us(ground.until_us)
    cohorts = label(ground.lake, ground.definition, ground.moments, until, ground.progress, lapsed=True)
    return sample_cohorts(cohorts, min(MOST_ROWS, ground.max_rows), ground.seed)[0]


def _rows(ground: Ground, cohorts: pl.DataFrame) -> Rows:
    return collect(
        ground.lake,
        ground.definition,
        ground.catalogue,
        cohorts,
        ground.items,
        ground.progress,
        sentiment=ground.sentiment,
        exposures=ground.exposures,
    )


def _figures(rows: Rows, tested: Sequence[Rehearsed], ground: Ground) -> ComebackFigures:
    y = np.concatenate([1 - r.judged.y for r in tested])
    p = np.concatenate([sigmoid(-r.choice.apply(r.judged)) for r in tested])
    user = np.concatenate([r.judged.user for r in tested])
    return ComebackFigures(
        rows=len(rows),
        returned=int((1 - rows.y).sum()),
        tested_at=from_us(tested[-1].held.moment_us).isoformat(),
        test_moments=len(tested),
        test_users=len(y),
        test_returned=int(y.sum()),
        auroc=_auroc(y, p, user, ground),
        predicted=float(p.mean()),
        observed=float(y.mean()),
    )


def _auroc(y: Vector, p: Vector, user: NDArray[np.uint64], ground: Ground) -> Estimate:
    cells = Ranking(y, p).merged()
    weights = draw_weights(user, draws=affordable_draws(ground.draws, len(y)), seed=ground.seed)
    return Estimate.of(
        float(auroc_of(cells.count())[0]), np.concatenate([np.empty(0), *(auroc_of(cells.count(w)) for w in weights)])
    )
