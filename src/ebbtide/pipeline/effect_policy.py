"""`effect --policy`: what another choice of actions would have brought, from the draw of a campaign and its outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.experiment import resolve_users
from ebbtide.core.action_settings import NOTHING
from ebbtide.core.config import Config
from ebbtide.core.errors import DataError, InputError
from ebbtide.core.ids import hash_texts
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.off_policy import Decisions, PolicyValue, policy_value
from ebbtide.evaluation.tally import Vector
from ebbtide.events.table_file import read_table
from ebbtide.pipeline.effect_figures import OUTCOMES
from ebbtide.pipeline.effect_users import Measured, measured_users

FOLDS = 5
MOST_OUTSIDE = 0.05
"""Share of the new policy's decisions that the campaign could not have drawn, up to which it is evaluated."""
_RIDGE = 1.0


@dataclass(frozen=True)
class PolicyEffect(Readable):
    """Mean outcomes a customer under the campaign's own draw and under a new policy; `outside`: the share of the new
    policy's decisions for actions that its customers could not have been drawn for, which therefore count as nothing."""

    name: str
    file: str
    outside: float
    values: tuple[tuple[str, PolicyValue], ...]
    currency: str

    def sections(self) -> tuple[Section, ...]:
        """How much of the log speaks for the policy, then the estimates."""
        first = self.values[0][1]
        lines = [_BASIS.format(file=self.file, decisions=first.decisions, effective=first.effective)]
        lines += [_OUTSIDE.format(outside=self.outside)] if self.outside else []
        lines += [] if first.weights_fit else [_UNFIT.format(mean=first.mean_weight)]
        rows = tuple(
            (OUTCOMES[n], *(_told(e, n) for e in (v.logged, v.dr, v.snips, v.ips, v.dm))) for n, v in self.values
        )
        return (Section(Text("Another policy", "另一策略"), tuple(lines), _COLUMNS, rows),)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return vars(self) | {"values": {n: v.to_json() for n, v in self.values}}


def policy_effect(config: Config, root: Path, name: str, file: Path, *, progress: Progress = silent) -> PolicyEffect:
    """Evaluate the policy of a file on the completed outcomes of a campaign.

    The file holds `user_id`, `action` and perhaps `propensity`, the chance of that action (1 without); several rows of
    a user share the chance out, and what is left of 1 is nothing. Customers that it does not name get nothing.
    Raises DataError where the log is worth too little under the policy (`campaign.effective_floor`), or where it asks
    for actions that nobody could have drawn; InputError for a file that is no policy.
    """
    measured = measured_users(config, root, name, progress)
    if measured.users.is_empty():
        raise DataError("no outcome of `{name}` is complete yet", "`{name}` 尚无完整结果", name=name)
    chances = _chances(measured, read_policy(file))
    outside = float(np.clip(1 - chances.sum(axis=1), 0, 1).mean())
    if outside > MOST_OUTSIDE:
        raise DataError(
            "{outside:.0%} of the policy's decisions are actions that the campaign did not plan for these customers, so "
            "nothing is known of them: test them in a campaign of their own",
            "该策略有 {outside:.0%} 的决策是此活动未为这些顾客计划的动作，因此无从得知：请另设活动检验",
            outside=outside,
        )
    floor = config.campaign.effective_floor
    told = [n for n in OUTCOMES if n in ("retained", "net") and measured.users[n].null_count() == 0]
    values = tuple((n, policy_value(_decisions(measured, n, chances), floor=floor)) for n in told)
    return PolicyEffect(name, file.name, outside, values, config.shop.currency)


def read_policy(file: Path) -> pl.DataFrame:
    """user_id, action, chance. Raises InputError for chances outside [0, 1], or that add up to more than 1 for a user."""
    table = read_table(file)
    table.check_columns(["user_id", "action"])
    chance = pl.col("propensity").cast(pl.Float64, strict=False) if "propensity" in table.frame.columns else pl.lit(1.0)
    rows = table.frame.select(pl.col("user_id", "action").cast(pl.String), chance=chance).unique(maintain_order=True)
    rows = rows.with_columns(resolve_users(rows["user_id"]))
    wrong = rows.filter(~pl.col("chance").is_between(0, 1).fill_null(False)).height
    sums = rows.group_by("user_id").agg(pl.col("chance").sum())
    over = sums.filter(pl.col("chance") > 1 + 1e-9).height
    if wrong or over:
        raise InputError(
            "{file} is no policy: {wrong:,} rows have no chance in [0, 1], and {over:,} users have chances that add up to "
            "more than 1 (a user named twice needs a propensity in each row)",
            "{file} 不是策略：{wrong:,} 行的概率不在 [0, 1] 内，{over:,} 位用户的概率之和超过 1（出现多次的用户每行都需 propensity）",
            file=file.name,
            wrong=wrong,
            over=over,
        )
    return rows


def _chances(measured: Measured, policy: pl.DataFrame) -> Vector:
    """(N, 2): the new policy's chance of nothing and of the action that the campaign planned for the user."""
    users = measured.users.select("user_id", "action")
    named = policy.group_by("user_id", "action").agg(pl.col("chance").sum())
    planned = users.join(named, on=["user_id", "action"], how="left", maintain_order="left")["chance"]
    some = named.filter(pl.col("action") != NOTHING).group_by("user_id").agg(pl.col("chance").sum())
    acting = users.join(some, on="user_id", how="left", maintain_order="left")["chance"]
    return np.column_stack([1 - acting.fill_null(0.0).to_numpy(), planned.fill_null(0.0).to_numpy()])


def _decisions(measured: Measured, name: str, chances: Vector) -> Decisions:
    treated = measured.treated
    y = measured.users[name].to_numpy().astype(np.float64)
    expected = _expected(measured, y)
    rows = np.arange(len(y))
    return Decisions(
        reward=y,
        propensity=measured.users["propensity"].to_numpy(),
        target=chances[rows, treated.astype(np.int64)],
        expected=expected[rows, treated.astype(np.int64)],
        expected_new=(chances * expected).sum(axis=1),
    )


def _expected(measured: Measured, y: Vector) -> Vector:
    """(N, 2): the outcome without and with the user's planned action, by ridge regression on the other folds: arm,
    planned action, their product, and what was known before."""
    X = _standard(measured.covariates())
    actions = [(measured.users["action"] == a).to_numpy() for a in measured.users["action"].unique().sort()[1:]]
    base = np.column_stack([np.ones(len(y)), X, *(a.astype(np.float64) for a in actions)])
    fold = (hash_texts(measured.users["user_id"], seed=17) % np.uint64(FOLDS)).astype(np.int64)
    found = np.zeros((len(y), 2))
    for part in range(FOLDS):
        here = fold == part
        arm = measured.treated.astype(np.float64)
        beta = _ridge(_with_arm(base[~here], arm[~here]), y[~here])
        for given in (0, 1):
            found[here, given] = _with_arm(base[here], np.full(int(here.sum()), float(given))) @ beta
    return found


def _with_arm(base: Vector, arm: Vector) -> Vector:
    return np.column_stack([base, base * arm[:, None]])


def _ridge(X: Vector, y: Vector) -> Vector:
    return np.asarray(np.linalg.solve(X.T @ X + _RIDGE * np.eye(X.shape[1]), X.T @ y))


def _standard(X: NDArray[np.float64]) -> Vector:
    known = np.isfinite(X)
    middle = np.where(known, X, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    centred = np.where(known, X - middle, 0.0)
    spread = centred.std(0)
    return np.asarray(centred / np.where(spread > 0, spread, 1.0))


def _told(e: Estimate, name: str) -> str | None:
    if e.value is None:
        return None
    parts: Sequence[float | None] = (e.value, e.low, e.high)
    value, low, high = (f"{x or 0.0:.1%}" if name == "retained" else f"{x or 0.0:,.2f}" for x in parts)
    return f"{value} [{low}, {high}]"


_BASIS = Text(
    "{file}: {decisions:,} customers of the campaign, worth {effective:,.0f} under this policy",
    "{file}：活动中的 {decisions:,} 位顾客，对该策略相当于 {effective:,.0f} 位",
)
_OUTSIDE = Text(
    "{outside:.1%} of its decisions could not have been drawn; they count as nothing",
    "其 {outside:.1%} 的决策不可能被抽到，按不采取动作计",
)
_UNFIT = Text(
    "the weights average {mean:.2f} instead of 1: the propensities do not fit the log, do not trust the estimates",
    "权重平均为 {mean:.2f} 而非 1：倾向值与记录不符，请勿相信这些估计",
)
_COLUMNS = (
    Text("outcome", "结果"),
    Text("as drawn", "按原抽取"),
    Text("doubly robust", "双重稳健"),
    Text("SNIPS", "SNIPS"),
    Text("IPS", "IPS"),
    Text("model alone", "仅模型"),
)
