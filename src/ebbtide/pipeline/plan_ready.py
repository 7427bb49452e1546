"""Who may get which action, at which cost and expected gain: all that a plan is chosen from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.catalogue import Action
from ebbtide.actions.conditions import conditions_met
from ebbtide.actions.effects import LEARNT, Effects, effects_of, known_value_at_risk
from ebbtide.actions.eligibility import (
    Eligibility,
    caps_kept,
    consents_given,
    cooled_down,
    deadlines,
    first_failures,
    waits,
)
from ebbtide.actions.guard import Suspicion, suspect
from ebbtide.actions.hull import Vector
from ebbtide.actions.limits import Limits
from ebbtide.actions.thompson import Sampler, context_of, learn, prior_of
from ebbtide.core.config import Config
from ebbtide.core.errors import ConfigError
from ebbtide.core.language import Text
from ebbtide.core.settings import did_you_mean
from ebbtide.pipeline.plan_facts import PlanFacts
from ebbtide.pipeline.plan_history import history_of


@dataclass(frozen=True)
class Ready:
    """Everything about N users and A actions that a plan is chosen from; all matrices (N, A). `sampler`: where effects
    are still being learnt."""

    actions: tuple[Action, ...]
    facts: PlanFacts
    effects: Effects
    eligibility: Eligibility
    suspicion: Suspicion
    cost: Vector
    gain: Vector
    limits: Limits
    groups: tuple[str, ...]
    sampler: Sampler | None = None


def prepare_plan(config: Config, actions: tuple[Action, ...], facts: PlanFacts, budget: float) -> Ready:
    """Who may get what, at which cost and expected gain."""
    probability = facts.number("churn_probability")
    at_risk, _ = known_value_at_risk(facts.number("value_at_risk"), probability, config.profit.clv)
    sampler = None
    if config.actions.assignment == "thompson" and facts.profile.height:
        sampler = _sampler(config, actions, facts, probability, at_risk)
        effects = Effects(sampler.expected(), (LEARNT,) * len(actions))
    else:
        shared = config.actions
        effects = effects_of(
            at_risk, actions, facts.measured, margin=shared.margin, cautious=shared.cautious,
            assumed_error=shared.assumed_error,
        )  # fmt: skip
    suspicion = _suspicion(config, facts)
    eligibility = _eligibility(config, actions, facts, effects, suspicion)
    cost = np.tile([a.expected_cost for a in actions], (facts.profile.height, 1))
    capacity = np.array([math.inf if a.capacity is None else a.capacity for a in actions])
    limits, groups = Limits(budget, capacity), tuple[str, ...]()
    if config.actions.group and facts.profile.height:
        codes, groups = _groups(facts.profile, config.actions.group)
        limits = limits.with_shares(codes, config.actions.min_share, config.actions.max_share)
    return Ready(actions, facts, effects, eligibility, suspicion, cost, effects.worth - cost, limits, groups, sampler)


def _sampler(
    config: Config, actions: Sequence[Action], facts: PlanFacts, probability: Vector, at_risk: Vector
) -> Sampler:
    posterior = learn(
        prior_of(actions, float(probability.mean())), history_of(facts.history, [a.name for a in actions])
    )
    x = context_of(facts.number("outcome_days"), facts.number("days_since_outcome"))
    value = config.actions.margin * at_risk / np.maximum(probability, 1e-6)
    return Sampler(posterior, x, probability, value, config.actions.seed)


def _eligibility(
    config: Config, actions: Sequence[Action], facts: PlanFacts, effects: Effects, suspicion: Suspicion
) -> Eligibility:
    users = facts.user_id
    moments, latest = waits(facts.zones, actions, facts.as_of), deadlines(facts.profile["band"], actions, facts.as_of)
    discount = np.array([[a.is_discount for a in actions]])
    passed = {
        "holdout": ~facts.held_out[:, None],
        "condition": conditions_met(facts.profile, actions),
        "consent": consents_given(users, facts.consents, actions, facts.as_of),
        "guard": ~(suspicion.kept_back[:, None] & discount),
        "cap": caps_kept(users, facts.contacts, actions, config.actions, facts.as_of),
        "cooldown": cooled_down(users, facts.contacts, actions, facts.as_of),
        "quiet": (latest == 0) | (moments <= latest),
        "unknown": effects.is_known,
    }
    return Eligibility(first_failures(passed, (len(users), len(actions))), moments, latest)


def _suspicion(config: Config, facts: PlanFacts) -> Suspicion:
    shared = config.actions
    behaviour = facts.behaviour if shared.guard else facts.behaviour.head(0)
    found = suspect(
        behaviour, share=shared.guard_share, allow=shared.allow, seed=shared.seed,
        unlike=facts.unlike if shared.guard else None,
    )  # fmt: skip
    if shared.guard:
        return found
    nobody = np.zeros(facts.behaviour.height, np.bool_)
    return Suspicion(nobody, nobody, (None,) * len(nobody))


def _groups(profile: pl.DataFrame, column: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if column not in profile.columns:
        listed = ", ".join(profile.columns)
        hint = did_you_mean(column, profile.columns)
        raise ConfigError(
            [
                Text(
                    f"actions.group: `{column}` is not a column of the profile{hint}; its columns are {listed}",
                    f"actions.group：画像中没有列 `{column}`{hint}；可用的列：{listed}",
                )
            ]
        )
    told = profile[column].cast(pl.String).fill_null("-")
    names = told.unique().sort()
    codes = told.replace_strict(names, pl.Series(range(len(names))), return_dtype=pl.Int64)
    return codes.to_numpy(), tuple(names)
