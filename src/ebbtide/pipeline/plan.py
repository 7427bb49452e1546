"""`plan`: one action a customer, or none, so that a budget brings the most."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from ebbtide.actions.catalogue import Action, catalogue_of
from ebbtide.actions.exploration import Exploration, explore, without_explorers
from ebbtide.actions.hull import Choice, Vector
from ebbtide.actions.limits import picked, total
from ebbtide.actions.policy import Assignment, assign
from ebbtide.core.action_settings import NOTHING
from ebbtide.core.config import Config
from ebbtide.core.errors import InputError
from ebbtide.core.ids import hash_texts
from ebbtide.core.language import Language
from ebbtide.core.progress import Progress, silent
from ebbtide.events.schema import TIME
from ebbtide.pipeline.plan_facts import PlanFacts, gather_facts
from ebbtide.pipeline.plan_findings import plan_findings
from ebbtide.pipeline.plan_ready import Ready, prepare_plan
from ebbtide.pipeline.plan_report import ActionLine, BudgetPoint, PlanReport
from ebbtide.pipeline.plan_why import reasons_for

_SHARES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
_CURVE_USERS = 100_000


def plan(
    config: Config,
    root: Path,
    *,
    budget: float,
    as_of: datetime | None = None,
    bundle: str | None = None,
    language: Language | None = None,
    progress: Progress = silent,
) -> PlanReport:
    """Choose an action for everybody who is eligible at `as_of` (default: the newest event) under a budget.

    Users of the global holdout get nothing. A budget of 0 plans nothing that costs anything, and says so.
    Raises InputError for a negative budget or without declared actions, ConfigError for conditions that cannot be
    evaluated, MissingBundleError without a trained bundle.
    """
    check_budget(budget)
    actions = catalogue_of(config)
    facts = gather_facts(config, root, actions, as_of, bundle, progress)
    return plan_of_facts(config, actions, facts, budget, language=language)


def plan_of_facts(
    config: Config, actions: tuple[Action, ...], facts: PlanFacts, budget: float, *, language: Language | None = None
) -> PlanReport:
    """The plan, once the lake has been looked at."""
    ready = prepare_plan(config, actions, facts, budget)
    chosen, drawn, propensity = _choose(ready, config)
    words = language or config.shop.language
    frame = _frame(ready, chosen, drawn, propensity, words, config.shop.currency)
    worst = np.array([[a.worst_cost for a in actions]])
    return PlanReport(
        frame=frame,
        as_of=facts.as_of,
        bundle=facts.bundle,
        currency=config.shop.currency,
        budget=budget,
        cost=total(picked(ready.cost, chosen.choice)),
        worst_cost=total(picked(np.broadcast_to(worst, ready.cost.shape), chosen.choice)),
        gain=float(picked(ready.gain, chosen.choice).sum()),
        gap=chosen.gap,
        lines=_lines(ready, chosen.choice),
        curve=_curve(ready, budget, chosen),
        suspected=ready.suspicion.list_of(facts.user_id, words),
        findings=plan_findings(ready, config, budget, chosen, drawn),
    )


def check_budget(budget: float) -> None:
    """Raise InputError for what is no budget: a negative number, or none."""
    if not (math.isfinite(budget) and budget >= 0):
        raise InputError(
            "a budget is 0 or more, in shop currency; got {budget:g}",
            "预算应为大于等于 0 的金额（店铺货币）；得到 {budget:g}",
            budget=budget,
        )


def _choose(ready: Ready, config: Config) -> tuple[Assignment, Exploration | None, Vector]:
    """The assignment, what was left to chance, and the chance with which each user got what it says."""
    allowed = ready.eligibility.allowed
    group = ready.limits.group if ready.limits.groups else np.zeros(len(ready.gain), np.int64)
    if ready.sampler is not None:
        chosen = assign(ready.sampler.sampled() - ready.cost, ready.cost, allowed, ready.limits)
        chance = ready.sampler.propensities(chosen.choice, ready.cost, allowed, group, chosen.prices)
        return chosen, None, np.where(allowed.any(axis=1), chance, 1.0)
    if not config.actions.epsilon:
        chosen = assign(ready.gain, ready.cost, allowed, ready.limits)
        return chosen, None, np.ones(len(chosen.choice))
    luck = hash_texts(ready.facts.user_id, seed=config.actions.seed).astype(np.float64) / 2.0**64
    drawn = explore(ready.cost, allowed, ready.limits, config.actions.epsilon, luck)
    rest = without_explorers(ready.limits, ready.cost, drawn)
    settled = allowed & ~drawn.explores[:, None]
    chosen = assign(ready.gain, ready.cost, settled, rest)
    would, _, _ = chosen.prices.choose(ready.gain, ready.cost, allowed, group)
    by_policy = np.where(drawn.explores, would, chosen.choice)
    choice = np.where(drawn.explores, np.maximum(drawn.drawn, -1), chosen.choice)
    done = replace(chosen, choice=choice, missing=ready.limits.missing(choice))
    return done, drawn, drawn.propensities(choice, by_policy)


def _frame(
    ready: Ready, chosen: Assignment, drawn: Exploration | None, propensity: Vector, language: Language, currency: str
) -> pl.DataFrame:
    choice, rows = chosen.choice, np.arange(len(chosen.choice))
    names = np.array([*(a.name for a in ready.actions), NOTHING], dtype=object)
    place = np.maximum(choice, 0)
    told = choice >= 0
    moments = pl.Series(ready.eligibility.not_before[rows, place])
    latest = pl.Series(ready.eligibility.deadline[rows, place])
    frame = pl.DataFrame(
        {
            "user_id": ready.facts.user_id,
            "action": pl.Series(names[choice].astype(str), dtype=pl.String),
            "cost": picked(ready.cost, choice),
            "expected_gain": picked(ready.gain, choice),
            "propensity": propensity,
            "why": reasons_for(ready, chosen, drawn, language, currency),
            "not_before": moments.cast(TIME),
            "deadline": latest.cast(TIME),
            "told": told,
        }
    )
    return (
        frame.with_columns(
            not_before=pl.when("told").then("not_before"),
            deadline=pl.when(pl.col("told") & (pl.col("deadline").dt.epoch("us") > 0)).then("deadline"),
        )
        .sort("told", "expected_gain", "user_id", descending=[True, True, False])
        .drop("told")
    )


def _lines(ready: Ready, choice: Choice) -> tuple[ActionLine, ...]:
    counts = ready.eligibility.counts()
    return tuple(
        ActionLine(
            name=a.name,
            effect=ready.effects.source[p],
            possible=int(ready.eligibility.allowed[:, p].sum()),
            users=int((choice == p).sum()),
            cost=float(ready.cost[choice == p, p].sum()),
            worst_cost=a.worst_cost * int((choice == p).sum()),
            gain=float(ready.gain[choice == p, p].sum()),
            kept_back=counts[p],
        )
        for p, a in enumerate(ready.actions)
    )


def _curve(ready: Ready, budget: float, chosen: Assignment) -> tuple[BudgetPoint, ...]:
    """What other budgets would bring, roughly; with very many users worked out on an even sample of them. The line of
    the budget itself is the plan."""
    users = len(ready.gain)
    if not users:
        return ()
    step = max(1, math.ceil(users / _CURVE_USERS))
    gain, cost, allowed = ready.gain[::step], ready.cost[::step], ready.eligibility.allowed[::step]
    scale = users / max(len(gain), 1)
    sampled = replace(ready.limits, capacity=ready.limits.capacity / scale)
    if sampled.groups:
        sampled = replace(
            sampled, group=sampled.group[::step], least=np.floor(sampled.least / scale), most=sampled.most / scale
        )
    enough = float(np.where(allowed, cost, 0.0).sum()) + 1.0
    most = assign(gain, cost, allowed, replace(sampled, budget=enough), exact=False).cost * scale
    wanted = sorted({*(budget * s for s in _SHARES if budget * s < most), most})
    pays = allowed & (gain > 0) & (cost > 0)
    best = float((gain[pays] / cost[pays]).max()) if pays.any() else 0.0  # where a budget buys nothing yet
    points = []
    for amount in wanted:
        found = assign(gain, cost, allowed, replace(sampled, budget=amount / scale), exact=False)
        next_euro = (found.prices.budget or best) if amount < most else 0.0
        if amount == budget:
            spent, earned = total(picked(ready.cost, chosen.choice)), float(picked(ready.gain, chosen.choice).sum())
            points.append(BudgetPoint(amount, spent, earned, int((chosen.choice >= 0).sum()), next_euro))
        else:
            treated = int((found.choice >= 0).sum() * scale)
            points.append(BudgetPoint(amount, found.cost * scale, found.gain * scale, treated, next_euro))
    return tuple(points)
