"""Teach who of the lapsed comes back, from past cutoffs, by the same steps as churn: cohort, features, rehearsal, fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

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
from ebbtide.models.registry import Setting, candidates
from ebbtide.pipeline.dataset import Shards, collect, label, sample_cohorts
from ebbtide.pipeline.rehearsal import Rehearsed, rehearse

MODEL = "lightgbm"
MOST_ROWS = 20_000
LEAST_EACH = 50
_HELD_OUT = 2

_TOO_FEW = Text(
    "no model of coming back: {returned:,} of {rows:,} lapsed customers at past cutoffs came back, and it takes {least} of "
    "each kind",
    "没有回归模型：过去各时点的 {rows:,} 位已流失顾客中有 {returned:,} 位回归，两类各需至少 {least} 位",
)
_UNTESTED = Text(
    "no model of coming back: the log is too young to test one on a moment that it has not seen",
    "没有回归模型：日志时间太短，无法在未见过的时点检验",
)
_TOLD = Text(
    "coming back: AUROC {auroc:.3f} [{low:.3f}, {high:.3f}] among {users:,} lapsed customers as of {tested_at}, of whom "
    "{observed:.1%} came back ({predicted:.1%} expected)",
    "回归模型：截至 {tested_at} 的 {users:,} 位已流失顾客，AUROC {auroc:.3f} [{low:.3f}, {high:.3f}]，"
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


def fit_comeback(ground: Ground) -> tuple[Comeback | None, Text]:
    """The model, or None where the log cannot teach one; and a sentence that tells its test, or why there is none."""
    rows = _rows(ground)
    returned = int((1 - rows.y).sum())
    if min(returned, len(rows) - returned) < LEAST_EACH:
        return None, _TOO_FEW.format(returned=returned, rows=len(rows), least=LEAST_EACH)
    entries, held_out = candidates(MODEL), list(ground.held_out[:_HELD_OUT])
    past = rehearse(rows, held_out, entries, ground.setting_at, seed=ground.seed, progress=ground.progress)
    if not past or not 0 < past[-1].held.y.sum() < len(past[-1].held.y):
        return None, _UNTESTED
    setting = ground.setting_at(ground.until_us)
    choice = choose([r.held for r in past], entries, known_us=ground.until_us)
    stack, _ = fit_chosen(rows_with_model_columns(rows, setting), choice, entries, setting, seed=ground.seed)
    figures = _figures(rows, past[-1], ground)
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
        observed=figures.observed,
        predicted=figures.predicted,
    )


def _rows(ground: Ground) -> Rows:
    """The lapsed at all closed moments, at most 20,000 rows."""
    until = from_us(ground.until_us)
    cohorts = label(ground.lake, ground.definition, ground.moments, until, ground.progress, lapsed=True)
    used, _ = sample_cohorts(cohorts, min(MOST_ROWS, ground.max_rows), ground.seed)
    return collect(
        ground.lake,
        ground.definition,
        ground.catalogue,
        used,
        ground.items,
        ground.progress,
        sentiment=ground.sentiment,
    )


def _figures(rows: Rows, test: Rehearsed, ground: Ground) -> ComebackFigures:
    y, p = 1 - test.held.y, sigmoid(-test.choice.apply(test.held))
    return ComebackFigures(
        rows=len(rows),
        returned=int((1 - rows.y).sum()),
        tested_at=from_us(test.held.moment_us).isoformat(),
        test_users=len(y),
        test_returned=int(y.sum()),
        auroc=_auroc(y, p, test, ground),
        predicted=float(p.mean()),
        observed=float(y.mean()),
    )


def _auroc(y: Vector, p: Vector, test: Rehearsed, ground: Ground) -> Estimate:
    cells = Ranking(y, p).merged()
    weights = draw_weights(test.held.user, draws=affordable_draws(ground.draws, len(y)), seed=ground.seed)
    return Estimate.of(
        float(auroc_of(cells.count())[0]), np.concatenate([np.empty(0), *(auroc_of(cells.count(w)) for w in weights)])
    )
