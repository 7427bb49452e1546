"""Who could take part in a campaign: the users of a plan file, or the eligible ones, each with one action and its cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from ebbtide.actions.catalogue import Action
from ebbtide.actions.conditions import Condition, answers_to
from ebbtide.actions.eligibility import deadlines, waits
from ebbtide.actions.experiment import resolve_users
from ebbtide.core.action_settings import NOTHING
from ebbtide.core.errors import DataError, InputError
from ebbtide.core.language import Text, join_texts
from ebbtide.events.schema import TIME
from ebbtide.events.table_file import read_table

_NEEDED = ("user_id", "action", "cost")
CANDIDATE = {
    "user_id": pl.String(),
    "action": pl.String(),
    "cost": pl.Float64(),
    "expected_gain": pl.Float64(),
    "propensity": pl.Float64(),
    "why": pl.String(),
    "not_before": TIME,
    "deadline": TIME,
}
"""`propensity`: the chance with which the policy planned this action for this user; 1 where it left nothing to chance.
`not_before`, `deadline`: when to contact at the earliest (quiet hours) and at the latest; null: no such bound."""
_MOMENTS = ("not_before", "deadline")
_FORMATS = ("%+", "%Y-%m-%d %H:%M:%S%.f")
"""How a file may write a moment: ISO 8601 with its zone, or UTC without."""


def read_plan(file: Path) -> pl.DataFrame:
    """The planned users of a plan file, as it orders them; rows that plan nothing are left out.

    Raises InputError with all that is wrong with it: columns, users named twice, missing costs, impossible chances,
    unreadable moments.
    """
    table = read_table(file)
    table.check_columns(list(_NEEDED))
    told = table.frame.with_columns(
        pl.lit(None, CANDIDATE[n]).alias(n) for n in CANDIDATE if n not in table.frame.columns
    )
    read = {n: _moment(told[n]) if n in _MOMENTS else told[n].cast(t, strict=False) for n, t in CANDIDATE.items()}
    lost = [told[n].is_not_null() & read[n].is_null() for n in _MOMENTS]
    planned = pl.DataFrame(read).with_columns(unclear=lost[0] | lost[1])
    planned = planned.filter(pl.col("action").fill_null("") != NOTHING)
    planned = planned.with_columns(resolve_users(planned["user_id"]).alias("user_id")).unique(
        maintain_order=True, keep="first"
    )
    problems = _plan_problems(planned)
    if problems:
        raise InputError("{file}: {problems}", "{file}：{problems}", file=file.name, problems=join_texts(problems))
    if planned.is_empty():
        raise DataError("{file} plans an action for nobody", "{file} 没有为任何人安排动作", file=file.name)
    return planned.with_columns(pl.col("propensity").fill_null(1.0)).drop("unclear")


def candidates_of_action(
    profile: pl.DataFrame, action: Action, where: str, zones: Callable[[pl.DataFrame], pl.Series], as_of: datetime
) -> pl.DataFrame:
    """Every eligible user who fits `where` and may get the action, most at risk first. Columns in: those of a profile;
    `zones`: says in which time zone each user of a profile lives.

    Raises ConfigError for a condition that cannot be evaluated, DataError if nobody is left.
    """
    asked = [
        Condition(Text("--where", "--where"), where),
        Condition(Text(f"action {action.name}", f"action {action.name}"), action.who),
    ]
    eligible = profile.filter("eligible")
    fitting = eligible.filter(pl.Series(answers_to(eligible, asked).all(axis=1)))
    if fitting.is_empty():
        raise DataError(
            "nobody may get the action `{action}`: of {all:,} customers none fits the conditions; loosen --where, or "
            "`who` of the action",
            "没有人可以获得动作 `{action}`：{all:,} 位顾客中无人符合条件；请放宽 --where 或动作的 `who`",
            action=action.name,
            all=eligible.height,
        )
    chosen = fitting.sort("churn_probability", "user_id", descending=[True, False])
    earliest, latest = waits(zones(chosen), [action], as_of)[:, 0], deadlines(chosen["band"], [action], as_of)[:, 0]
    return chosen.select(
        "user_id",
        action=pl.lit(action.name),
        cost=pl.lit(action.expected_cost),
        expected_gain=pl.lit(None, pl.Float64),
        propensity=pl.lit(1.0),
        why=pl.lit(None, pl.String),
        not_before=pl.Series(earliest).cast(TIME),
        deadline=pl.Series(latest).replace(0, None).cast(TIME),
    )


def check_budget(budget: float, costs: pl.Series) -> None:
    """Raise InputError for a budget with which not even one action could be paid."""
    least = float(costs.min() or 0.0)  # type: ignore[arg-type]
    if budget > 0 and budget >= least:
        return
    raise InputError(
        "the budget of {budget:g} pays for no action: the cheapest costs {least:g}; raise it, or leave --budget out",
        "预算 {budget:g} 不足以支付任何动作：最便宜的为 {least:g}；请提高预算，或不写 --budget",
        budget=budget,
        least=least,
    )


def _moment(told: pl.Series) -> pl.Series:
    """Moments of a typed file as they are, texts as far as they can be read."""
    if told.dtype != pl.String:
        return told.cast(TIME, strict=False)
    found = (pl.lit(told).str.to_datetime(f, time_unit="us", time_zone="UTC", strict=False) for f in _FORMATS)
    return pl.select(pl.coalesce(*found)).to_series()


def _plan_problems(planned: pl.DataFrame) -> list[Text]:
    cost, chance = pl.col("cost"), pl.col("propensity")
    counted = planned.select(
        nobody=(pl.col("user_id").fill_null("") == "").sum(),
        nothing=(pl.col("action").fill_null("") == "").sum(),
        twice=pl.col("user_id").is_duplicated().sum(),
        unpriced=(cost.is_null() | ~cost.is_finite() | (cost < 0)).sum(),
        chance=(chance.is_not_null() & ~((chance > 0) & (chance <= 1))).sum(),
        unclear=pl.col("unclear").sum(),
    ).row(0, named=True)
    return [text.format(count=counted[name]) for name, text in _PROBLEMS if counted[name]]


_PROBLEMS: Sequence[tuple[str, Text]] = (
    ("nobody", Text("{count:,} rows have no user_id", "{count:,} 行没有 user_id")),
    ("nothing", Text("{count:,} rows have no action", "{count:,} 行没有动作")),
    (
        "twice",
        Text(
            "{count:,} rows plan different things for a user who stands in another row: one user, one arm, one action",
            "{count:,} 行为已在其他行出现的用户安排了不同内容：一位用户只能有一个组和一个动作",
        ),
    ),
    (
        "unpriced",
        Text(
            "{count:,} rows have no cost of 0 or more: without costs no net value can be told",
            "{count:,} 行没有大于等于 0 的成本：没有成本就无法计算净值",
        ),
    ),
    ("chance", Text("{count:,} rows have a propensity outside (0, 1]", "{count:,} 行的倾向值不在 (0, 1] 内")),
    (
        "unclear",
        Text(
            "{count:,} rows have a `not_before` or `deadline` that is no moment: write 2024-05-01T09:00:00Z, or nothing",
            "{count:,} 行的 `not_before` 或 `deadline` 不是时间：请写成 2024-05-01T09:00:00Z，或留空",
        ),
    ),
)
