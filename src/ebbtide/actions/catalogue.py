"""The shop's own actions, with what each is expected to cost; what is not declared is not guessed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time, timedelta

from ebbtide.core.action_settings import NOTHING, ActionConfig, ActionKind, ActionsConfig, quiet_hours
from ebbtide.core.config import Config
from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.core.settings import did_you_mean
from ebbtide.core.windows import parse_duration

KINDS: dict[ActionKind, Text] = {
    "coupon": Text("coupon", "优惠券"),
    "recommendation": Text("recommendation", "推荐"),
    "message": Text("message", "消息"),
    "call": Text("call", "电话"),
    "service_fix": Text("service fix", "服务补救"),
    "nothing": Text("nothing", "不做"),
}
EXAMPLE = """\
[[action]]
name = "coupon"
kind = "coupon"
channel = "email"
contact_cost = 0.05        # one mail
value = 5.0                # of the coupon, paid when it is redeemed
acceptance = 0.2           # share that redeems it
assumed_effect = 0.10      # share of leavers that it keeps, until it is measured
who = "orders >= 2"
consent = "marketing"
cooldown = "14d"

[[action]]
name = "call"
kind = "call"
channel = "phone"
contact_cost = 4.0
assumed_effect = 0.15
who = "band = 'high' and value_at_risk > 50"
capacity = 50
quiet = "20:00-09:00"
deadline = { high = "2d" }
"""


@dataclass(frozen=True)
class Action:
    """One action with everything settled: what the catalogue left open comes from `[actions]` and `[profit]`.

    Costs are in shop currency. `on_acceptance`: what an acceptance costs, the offer included. None: no limit.
    """

    name: str
    kind: ActionKind
    channel: str
    contact_cost: float
    on_acceptance: float
    acceptance: float
    assumed_effect: float | None
    who: str
    max_per_user: int
    period: timedelta
    cooldown: timedelta
    quiet: tuple[time, time] | None
    consent: str
    deadline: dict[str, timedelta]
    capacity: int | None
    transactional: bool

    @property
    def expected_cost(self) -> float:
        """Contact, and the share that accepts times what an acceptance costs."""
        return self.contact_cost + self.acceptance * self.on_acceptance

    @property
    def worst_cost(self) -> float:
        """The cost if the customer accepts."""
        return self.contact_cost + self.on_acceptance

    @property
    def is_discount(self) -> bool:
        """Whether suspected abusers are kept from it."""
        return self.kind == "coupon"


def declared_actions(config: Config) -> tuple[Action, ...]:
    """The declared actions but `nothing`, in their order; none is no error."""
    return tuple(_action(a, config) for a in config.action if a.kind != NOTHING)


def action_named(config: Config, name: str) -> Action:
    """The declared action of this name. Raises InputError for an unknown one, and for `nothing`."""
    known = {a.name: a for a in declared_actions(config)}
    if name in known:
        return known[name]
    raise InputError(
        "there is no action `{name}`{hint}; the actions of ebbtide.toml are {listed}; doing nothing is what the "
        "control group gets",
        "没有动作 `{name}`{hint}；ebbtide.toml 中的动作：{listed}；不采取动作由对照组承担",
        name=name,
        hint=did_you_mean(name, known),
        listed=", ".join(known) or "-",
    )


def catalogue_of(config: Config) -> tuple[Action, ...]:
    """As `declared_actions`. Raises InputError, with an example to paste, if there are none."""
    found = declared_actions(config)
    if not found:
        raise InputError(
            "no action is declared: tell in ebbtide.toml what the shop can do and what it costs, for example\n\n{example}",
            "尚未声明任何动作：请在 ebbtide.toml 中写明店铺能做什么、成本多少，例如\n\n{example}",
            example=EXAMPLE,
        )
    return found


def _action(a: ActionConfig, config: Config) -> Action:
    shared: ActionsConfig = config.actions
    prior = config.profit.alpha / (config.profit.alpha + config.profit.beta)
    return Action(
        name=a.name,
        kind=a.kind,
        channel=a.channel,
        contact_cost=a.contact_cost or 0.0,
        on_acceptance=a.acceptance_cost + a.value,
        acceptance=prior if a.acceptance is None else a.acceptance,
        assumed_effect=a.assumed_effect,
        who=a.who,
        max_per_user=a.max_per_user,
        period=parse_duration(a.period),
        cooldown=timedelta() if a.transactional else parse_duration(a.cooldown or shared.cooldown),
        quiet=None if a.transactional else quiet_hours(a.quiet or shared.quiet),
        consent=a.consent,
        deadline={band: parse_duration(span) for band, span in a.deadline.items()},
        capacity=a.capacity,
        transactional=a.transactional,
    )
