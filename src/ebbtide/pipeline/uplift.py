"""`uplift`: learn from an experiment what an action changes for whom, judge it honestly, and say whether to use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.actions.boosters import TreeSizes
from ebbtide.actions.choosing import held_out
from ebbtide.actions.learners import CONSIDERED, LEARNERS
from ebbtide.actions.randomness import RandomnessTest, check_randomness
from ebbtide.actions.trial import Trial
from ebbtide.actions.uplift import Judgement, judge
from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.events.table_file import TableFile
from ebbtide.models.base import Vector
from ebbtide.pipeline.score import write_scores
from ebbtide.pipeline.uplift_sections import budget_section, learner_section, treatment_section, win_section
from ebbtide.pipeline.uplift_table import UpliftQuestion, trial_of_table

_RANDOM = Text(
    "assigned at random: a classifier tells the arms apart with AUROC {auroc:.3f} (p = {p:.2g}), as chance would",
    "随机分组：分类器区分各组的 AUROC 为 {auroc:.3f}（p = {p:.2g}），与随机一致",
)
_SRM = Text("; arm sizes fit the plan (p = {p:.2g})", "；各组人数符合计划（p = {p:.2g}）")
_KNOWN = Text("assigned with known chances. Assumed: the chances are right", "按已知概率分组。前提：这些概率是正确的")
_COLUMNS = Text(
    "not assigned at random; chances estimated from the columns. Assumed: every reason for the assignment that also "
    "moves the outcome stands in the columns, and every kind of customer had some chance of every arm. If a reason is "
    "missing, the figures are wrong, however narrow their intervals",
    "并非随机分组；分组概率由各列估计。前提：凡既影响分组又影响结果的原因都在各列之中，且各类顾客都有机会进入每一组。"
    "若缺少某个原因，则无论区间多窄，指标都是错的",
)
_ROWS = Text(
    "{rows:,} customers, {arms} arms, outcome in {rate:.1%}", "{rows:,} 位顾客，{arms} 个组，结果发生率 {rate:.1%}"
)
_MONEY = Text(
    "{rows:,} customers, {arms} arms, mean outcome {rate:,.3f}", "{rows:,} 位顾客，{arms} 个组，平均结果 {rate:,.3f}"
)


@dataclass(frozen=True)
class UpliftReport(Readable):
    """What was learnt. assumptions: how arms were assigned and what is assumed with it. ranked: id, effect of each
    treatment, the best action, and the place by the ranking that the verdict says to follow; judged effects, so nobody's
    is from a model that had seen the customer's own outcome."""

    rows: int
    arms: tuple[str, ...]
    mean_outcome: float
    is_binary: bool
    randomness: RandomnessTest | None
    assumptions: Text
    judgement: Judgement
    notes: tuple[Text, ...]
    ranked: pl.DataFrame

    def save(self, file: Path) -> None:
        """Write the ranked list as Parquet, CSV or JSON lines, by suffix."""
        write_scores(self.ranked, file)

    def sections(self) -> tuple[Section, ...]:
        """The verdict first, then the figures behind it."""
        counted = (_ROWS if self.is_binary else _MONEY).format(
            rows=self.rows, arms=len(self.arms), rate=self.mean_outcome
        )
        return (
            Section(lines=(counted, self.assumptions, self.judgement.verdict)),
            win_section(self.judgement),
            treatment_section(self.judgement),
            budget_section(self.judgement),
            learner_section(self.judgement),
            Section(lines=self.notes),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields; the ranked list itself goes to a file."""
        return {
            "rows": self.rows,
            "arms": list(self.arms),
            "control": self.arms[0],
            "mean_outcome": self.mean_outcome,
            "randomness": None if self.randomness is None else self.randomness.to_json(),
            "assumptions": self.assumptions.en,
            **self.judgement.to_json(),
            "notes": [n.en for n in self.notes],
        }


def uplift_table(
    source: TableFile,
    question: UpliftQuestion,
    *,
    learner: str | None = None,
    shares: tuple[float, ...] | None = None,
    sizes: TreeSizes | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> UpliftReport:
    """Learn from any table with a treatment column and an outcome column. learner: one by name; default: chosen by
    cross-fitting. shares: planned arm sizes, control first, then by name.

    Raises InputError, DataError: see `trial_of_table`; DataError if the assignment was not random and nobody said so.
    """
    names = chosen_learners(learner)
    ready = trial_of_table(source, question, seed=seed)
    if shares is not None and len(shares) != len(ready.trial.arms):
        raise InputError(
            "--shares needs one number an arm: {count} were given for {arms} arms",
            "--shares 需要每组一个数：给了 {count} 个，共 {arms} 组",
            count=len(shares),
            arms=len(ready.trial.arms),
        )
    told = None if question.propensity or question.assigned == "columns" else "random"
    test = check_randomness(ready.trial, shares, seed=seed) if told else None
    if test is not None:
        test.check()
    judged = judge_trial(ready.trial, names, value=ready.value, sizes=sizes, seed=seed, progress=progress)
    return UpliftReport(
        rows=len(ready.trial),
        arms=ready.trial.arms,
        mean_outcome=float(ready.trial.y.mean()),
        is_binary=ready.trial.is_binary,
        randomness=test,
        assumptions=assumptions(test, known=bool(question.propensity)),
        judgement=judged,
        notes=ready.notes,
        ranked=ranked_list(ready.ids, ready.trial, judged, ready.value),
    )


def chosen_learners(learner: str | None) -> tuple[str, ...]:
    """The learners to compare. Raises InputError for a name that there is not."""
    if learner is None or learner == "auto":
        return CONSIDERED
    if learner not in LEARNERS:
        known = ", ".join(("auto", *LEARNERS))
        raise InputError(f"there is no learner of this name; there are {known}", f"没有该名称的学习器；可用：{known}")
    return (learner,)


def judge_trial(
    trial: Trial,
    names: tuple[str, ...],
    *,
    value: Vector | None = None,
    sizes: TreeSizes | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Judgement:
    """Learn, choose and judge, each on other rows."""
    held = held_out(trial, names, sizes=sizes, seed=seed, progress=progress)
    return judge(trial, held, value=value, seed=seed)


def assumptions(test: RandomnessTest | None, *, known: bool) -> Text:
    """How the arms were assigned, and what is assumed with it."""
    if test is None:
        return _KNOWN if known else _COLUMNS
    told = _RANDOM.format(auroc=test.auroc, p=test.p_value)
    return told if test.srm is None else told + _SRM.format(p=test.srm)


def ranked_list(ids: pl.Series, trial: Trial, judged: Judgement, value: Vector | None) -> pl.DataFrame:
    """The customers by the ranking that the verdict says to follow, best first."""
    worth = 1.0 if value is None else value[:, None]
    effect, expected = judged.held_out.effect * worth, judged.held_out.expected
    at_risk = (1 - expected[:, 0]) * (1.0 if value is None else value)
    best = pl.Series(trial.arms[1:]).gather(effect.argmax(axis=1))
    frame = pl.DataFrame({"id": ids}).with_columns(
        *(pl.Series(f"effect_{trial.arms[t]}", effect[:, t - 1]) for t in trial.treatments),
        pl.Series("risk_x_value", at_risk),
        best.alias("best_action"),
    )
    by = pl.Series("by", effect.max(axis=1) if judged.is_followed else at_risk)
    return frame.with_columns(by).sort("by", "id", descending=[True, False]).drop("by")
