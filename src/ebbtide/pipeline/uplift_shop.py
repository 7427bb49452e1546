"""`uplift` on a workspace: learn from the shop's own campaigns, judge, and keep what planning needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ebbtide.actions.boosters import TreeSizes
from ebbtide.actions.calibrated import effect_lines
from ebbtide.actions.choosing import cross_fitted, fit_best, held_out
from ebbtide.actions.fitted import Effects
from ebbtide.actions.learners import LEARNERS, expected_outcomes
from ebbtide.actions.randomness import check_randomness
from ebbtide.actions.trial import Trial
from ebbtide.actions.uplift import judge
from ebbtide.core.config import Config
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Section
from ebbtide.evaluation.policy_value import doubly_robust_scores
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.uplift import UpliftReport, assumptions, chosen_learners, ranked_list
from ebbtide.pipeline.uplift_exposures import ShopTrial, trial_of_exposures
from ebbtide.pipeline.uplift_store import UpliftModel, save_uplift

_FOLDS = 2
_CAMPAIGNS = Text(
    "{rows:,} exposures in {campaigns:,} closed campaigns; {waiting:,} more wait for their outcome",
    "{campaigns:,} 次已结束活动中的 {rows:,} 次触达；另有 {waiting:,} 次尚待结果",
)
_KEPT = Text(
    "effects are kept in the workspace: {action} changes the chance of an outcome by {average:+.4f} on average, at least "
    "{lower:+.4f}",
    "效应已存入工作区：{action} 平均使结果概率变化 {average:+.4f}，至少 {lower:+.4f}",
)


@dataclass(frozen=True)
class ShopUplift:
    """The judgement of the shop's campaigns, and the model that was kept."""

    report: UpliftReport
    model: UpliftModel
    counted: Text

    def save(self, file: Path) -> None:
        """Write the ranked list of the exposed users."""
        self.report.save(file)

    def sections(self) -> tuple[Section, ...]:
        """What was learnt from, the judgement, and what was kept."""
        lines = [
            _KEPT.format(action=name, average=line.average, lower=float(line.lower(np.array([line.centre]))[0]))
            for name, line in zip(self.model.actions, self.model.lines, strict=True)
        ]
        return (Section(lines=(self.counted,)), *self.report.sections(), Section(lines=tuple(lines)))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        lines = {a: line.to_json() for a, line in zip(self.model.actions, self.model.lines, strict=True)}
        return {**self.report.to_json(), "until": self.model.until.isoformat(), "effects": lines}


def uplift_shop(
    config: Config,
    root: Path,
    *,
    until: datetime | None = None,
    learner: str | None = None,
    sizes: TreeSizes | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> ShopUplift:
    """Learn from the workspace's exposures; the model goes to `.ebbtide/uplift`, an older one is replaced.

    Raises DataError where the exposures cannot be learnt from, or their assignment was not random and no chances stand
    beside them.
    """
    names, told = chosen_learners(learner), sizes or TreeSizes()
    ready = trial_of_exposures(config, root, until=until, progress=progress)
    test = None if ready.known_chances else check_randomness(ready.trial, seed=seed)
    if test is not None:
        test.check()
    held = held_out(ready.trial, names, sizes=told, folds=_FOLDS, seed=seed, progress=progress)
    judged = judge(ready.trial, held, seed=seed)
    report = UpliftReport(
        rows=len(ready.trial),
        arms=ready.trial.arms,
        mean_outcome=float(ready.trial.y.mean()),
        is_binary=True,
        randomness=test,
        assumptions=assumptions(test, known=ready.known_chances),
        judgement=judged,
        notes=(),
        ranked=ranked_list(ready.ids, ready.trial, judged, None),
    )
    name, fitted, _ = fit_best(ready.trial, names, sizes=told, seed=seed)
    scores = doubly_robust_scores(ready.trial.y, ready.trial.arm, ready.trial.propensity, held.expected)
    money, money_lines = _money(ready, name, told, seed, follow=judged.is_followed)
    model = UpliftModel(
        definition=ready.definition,
        catalogue=ready.catalogue,
        items=ready.seen.items,
        actions=ready.trial.arms[1:],
        effects=fitted,
        lines=effect_lines(held.effect, scores, follow=judged.is_followed),
        money=money,
        money_lines=money_lines,
        is_followed=judged.is_followed,
        verdict={"en": judged.verdict.en, "zh": judged.verdict.zh},
        until=ready.until,
        judged=judged.to_json(),
    )
    save_uplift(Places(root), model)
    counted = _CAMPAIGNS.format(rows=len(ready.trial), campaigns=ready.campaigns, waiting=ready.waiting)
    return ShopUplift(report, model, counted)


def _money(
    ready: ShopTrial, name: str, sizes: TreeSizes, seed: int, *, follow: bool
) -> tuple[Effects | None, tuple[Any, ...]]:
    """The effects on money spent by the learner that was chosen for outcomes, and their lines."""
    if ready.money is None:
        return None, ()
    trial: Trial = replace(ready.trial, y=ready.money)
    learner = LEARNERS[name]
    held = cross_fitted(trial, learner, sizes, folds=_FOLDS, seed=seed)
    expected = expected_outcomes(trial, sizes, seed)
    scores = doubly_robust_scores(trial.y, trial.arm, trial.propensity, expected)
    return learner.fit(trial, sizes, seed), effect_lines(held, scores, follow=follow)
