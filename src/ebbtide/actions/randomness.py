"""Was the arm assigned by chance? A classifier that must not be able to tell the arms apart, and chances estimated
where the assignment was not random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from ebbtide.actions.boosters import TreeSizes, boost
from ebbtide.actions.trial import CONTROL, Trial, folds_of
from ebbtide.core.errors import DataError
from ebbtide.evaluation.assignment import separation, srm_p_value
from ebbtide.models.base import Vector

ALARM = 0.001
"""p value below which an assignment is not believed to be random."""
_FOLDS = 3
_LEAST_CHANCE = 0.02
_SIZES = TreeSizes(seeds=1, rounds=40)


@dataclass(frozen=True)
class RandomnessTest:
    """auroc: how well the columns tell a treatment from control (1/2: not at all), of the treatment that they tell
    best; p_value: corrected for the number of treatments; column: what tells most. srm: p value of the arm sizes against
    the plan, None without a plan."""

    auroc: float
    p_value: float
    column: str
    srm: float | None

    @property
    def is_suspicious(self) -> bool:
        """Whether chance alone does not explain it."""
        return self.p_value < ALARM or (self.srm is not None and self.srm < ALARM)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"auroc": self.auroc, "p_value": self.p_value, "column": self.column, "srm_p_value": self.srm}

    def check(self) -> None:
        """Raise DataError unless the assignment looks random."""
        if self.srm is not None and self.srm < ALARM:
            raise DataError(
                "the arms are not as large as planned (p = {p:.1g}): rows are missing or the assignment went wrong; "
                "mend that first, or leave out --shares",
                "各组人数与计划不符（p = {p:.1g}）：数据缺行或分组出错；请先查明，或去掉 --shares",
                p=self.srm,
            )
        if self.p_value < ALARM:
            raise DataError(
                "the assignment was not random: the columns tell a treatment from control (AUROC {auroc:.3f}, "
                "p = {p:.1g}), most of all `{column}`. If that was written after the assignment, leave it out with "
                "--drop; else say how it was assigned: --propensity COL, or --assigned columns",
                "分组并非随机：凭各列就能区分处理组与对照组（AUROC {auroc:.3f}，p = {p:.1g}），其中 `{column}` 影响最大。"
                "若该列是分组之后才写入的，请用 --drop 排除；否则请说明分组方式：--propensity COL 或 --assigned columns",
                auroc=self.auroc,
                p=self.p_value,
                column=self.column,
            )


def check_randomness(trial: Trial, planned: tuple[float, ...] | None = None, *, seed: int = 0) -> RandomnessTest:
    """Test a trial. Rows count as they are: with chances that differ by user on purpose, do not ask. `planned` (K,)."""
    worst, area, column = 1.0, 0.5, ""
    for t in trial.treatments:
        part = trial.take(trial.between(t))
        on = (part.arm == t).astype(np.float64)
        fold = folds_of(part.user, part.arm, folds=_FOLDS, seed=seed)
        score = np.empty(len(part))
        for number in range(_FOLDS):
            learnt = fold != number
            fitted = boost(part.X[learnt], on[learnt], sizes=_SIZES, seed=seed, binary=True)
            score[~learnt] = fitted.predict(part.X[~learnt])
        found, p_value = separation(on, score, fold)
        if p_value < worst or not column:
            worst, area, column = min(p_value, worst), found, _loudest(fitted.texts[0], trial.names)
    sizes = np.bincount(trial.arm, minlength=len(trial.arms))
    srm = None if planned is None else srm_p_value(sizes.tolist(), planned)
    return RandomnessTest(area, min(1.0, worst * len(trial.treatments)), column, srm)


def estimated_propensity(trial: Trial, *, seed: int = 0) -> Vector:
    """The chance of each arm given the columns, (N, K), by models that had not seen the row; at least 2 %.

    What is assumed with it: every reason for the assignment that also moves the outcome stands in the columns, and every
    kind of user had some chance of every arm.
    """
    fold = folds_of(trial.user, trial.arm, folds=_FOLDS, seed=seed)
    out = np.empty((len(trial), len(trial.arms)))
    for number in range(_FOLDS):
        held = fold == number
        for arm in range(len(trial.arms)):
            given = (trial.arm[~held] == arm).astype(np.float64)
            out[held, arm] = boost(trial.X[~held], given, sizes=_SIZES, seed=seed, binary=True).predict(trial.X[held])
    out = np.clip(out / out.sum(axis=1, keepdims=True), _LEAST_CHANCE, None)
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def equal_propensity(arm: Any, arms: int) -> Vector:
    """The arms' own shares, the same for every row, (N, K)."""
    share = np.bincount(np.asarray(arm), minlength=arms) / len(arm)
    return np.tile(share, (len(arm), 1))


def _loudest(text: str, names: tuple[str, ...]) -> str:
    gain = lgb.Booster(model_str=text).feature_importance("gain")
    return names[int(np.argmax(gain))] if len(names) else str(CONTROL)
