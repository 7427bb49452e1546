"""The figures of one campaign: outcomes, guardrails and groups, each treatment against control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ebbtide.core.action_settings import CampaignConfig
from ebbtide.core.language import Text
from ebbtide.evaluation.effects import (
    Effect,
    adjusted_difference,
    adjusted_outcome,
    difference,
    ratio_difference,
    unit_differences,
)
from ebbtide.evaluation.false_discovery import benjamini_hochberg
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.sequential import confidence_sequence
from ebbtide.evaluation.shrinkage import shrink
from ebbtide.pipeline.effect_users import Measured

OUTCOMES: Mapping[str, Text] = {
    "retained": Text("retained", "留存"),
    "orders": Text("orders per user", "人均订单"),
    "value": Text("money per user", "人均金额"),
    "net": Text("net value per user", "人均净值"),
}
GUARDRAILS: Mapping[str, tuple[Text, int]] = {
    "unsubscribed": (Text("unsubscribed", "退订"), 1),
    "refund": (Text("refunded per user", "人均退款"), 1),
    "margin": (Text("margin per user, before the action's cost", "人均毛利（未扣动作成本）"), -1),
    "discount_share": (Text("discount share of turnover", "折扣占比"), 1),
}
"""Title, and the sign of a change that does harm."""
GROUPED_BY = ("band", "action", "stage", "segment")
"""Columns of the assignment, so known before anybody was treated."""


@dataclass(frozen=True)
class Outcome:
    """One outcome: the plain difference, the one after CUPAC or CUPED, and the interval that holds however often one
    looks."""

    name: str
    plain: Effect
    adjusted: Effect
    always: Estimate

    @property
    def narrowed(self) -> float | None:
        """By which share the adjustment narrowed the interval."""
        plain, adjusted = self.plain.width, self.adjusted.width
        return None if not plain or adjusted is None else 1 - adjusted / plain

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        parts = {"plain": self.plain.to_json(), "adjusted": self.adjusted.to_json(), "always": self.always.to_json()}
        return {"name": self.name, "narrowed": self.narrowed, **parts}


@dataclass(frozen=True)
class Guardrail:
    """Something that must not get worse."""

    name: str
    effect: Effect

    @property
    def harmed(self) -> bool:
        """Whether it got worse beyond doubt."""
        return self.effect.sign == GUARDRAILS[self.name][1]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"name": self.name, "harmed": self.harmed, "effect": self.effect.to_json()}


@dataclass(frozen=True)
class GroupEffect:
    """The change in the retained share of a group: as measured, and drawn towards all groups (`shrunk`); `q`: its
    p-value adjusted for the number of groups."""

    campaign: str
    by: str
    group: str
    effect: Effect
    shrunk: Estimate = Estimate(None, None, None)  # noqa: RUF009
    q: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return vars(self) | {"effect": self.effect.to_json(), "shrunk": self.shrunk.to_json()}


def outcomes_told(measured: Measured, settings: CampaignConfig) -> tuple[Outcome, ...]:
    """The outcomes that the log or the files can tell, retention first."""
    told = (n for n in OUTCOMES if measured.users.height and measured.users[n].null_count() == 0)
    return tuple(_outcome(measured, name, settings.alpha) for name in told)


def guardrails_told(measured: Measured, settings: CampaignConfig) -> tuple[Guardrail, ...]:
    """The guardrails that can be told; one of which nobody shows anything is not tracked here, and left out."""
    users, treated, found = measured.users, measured.treated, []
    for name in GUARDRAILS:
        if name == "discount_share":
            if users["gross"].null_count() == 0 and users.height:
                above, below = users["discount"].to_numpy(), users["gross"].to_numpy()
                found.append(Guardrail(name, ratio_difference(above, below, treated, alpha=settings.alpha)))
        elif users.height and users[name].null_count() == 0:
            found.append(Guardrail(name, difference(users[name].to_numpy(), treated, alpha=settings.alpha)))
    return tuple(g for g in found if g.effect.standard_error)


def groups_told(measured: Measured, settings: CampaignConfig) -> tuple[GroupEffect, ...]:
    """The effect on retention in each band, stage and segment and for each action, where both arms of it have enough users."""
    found = []
    covariates = measured.covariates()
    for by in GROUPED_BY:
        groups = measured.users[by].drop_nulls().unique().sort()
        for group in groups if len(groups) > 1 else ():
            inside = (measured.users[by] == group).fill_null(False).to_numpy()
            treated = measured.treated[inside]
            if min(treated.sum(), (~treated).sum()) >= settings.least_group:
                y = measured.users["retained"].to_numpy()[inside]
                effect = adjusted_difference(y, treated, covariates[inside], alpha=settings.alpha)
                found.append(GroupEffect(measured.campaign.name, by, str(group), effect))
    return told_together(found)


def told_together(groups: list[GroupEffect]) -> tuple[GroupEffect, ...]:
    """The same groups, shrunken towards each other within each way of grouping, with q over all of them."""
    usable = [g for g in groups if g.effect.value is not None and g.effect.standard_error]
    qs = dict(zip(map(id, usable), benjamini_hochberg([g.effect.p_value for g in usable]), strict=True))
    drawn: dict[int, Estimate] = {}
    for by in {g.by for g in usable}:
        some = [g for g in usable if g.by == by]
        shrunk = shrink([g.effect.value or 0.0 for g in some], [g.effect.standard_error or 0.0 for g in some])
        drawn |= dict(zip(map(id, some), shrunk.effects, strict=True))
    return tuple(GroupEffect(g.campaign, g.by, g.group, g.effect, drawn[id(g)], qs[id(g)]) for g in usable)


def _outcome(measured: Measured, name: str, alpha: float) -> Outcome:
    y, treated, X = measured.users[name].to_numpy().astype(np.float64), measured.treated, measured.covariates()
    mean, spread = unit_differences(adjusted_outcome(y, X), treated)
    always = confidence_sequence(mean, spread, len(y), planned=measured.campaign.planned, alpha=alpha)
    return Outcome(name, difference(y, treated, alpha=alpha), adjusted_difference(y, treated, X, alpha=alpha), always)
