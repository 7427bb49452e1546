"""What a reader must know to believe a plan: budgets that buy nothing, actions for nobody, what is assumed."""

from __future__ import annotations

import numpy as np

from ebbtide.actions.effects import ASSUMED, COMBINED, MEASURED
from ebbtide.actions.eligibility import RULES
from ebbtide.actions.exploration import Exploration
from ebbtide.actions.guard import LEAST_USERS
from ebbtide.actions.policy import Assignment
from ebbtide.core.config import Config
from ebbtide.core.language import Text
from ebbtide.pipeline.plan_ready import Ready


def plan_findings(
    ready: Ready, config: Config, budget: float, chosen: Assignment, drawn: Exploration | None
) -> tuple[Text, ...]:
    """What a reader must know to believe the plan."""
    found = [*_budget_findings(ready, budget), *_action_findings(ready), *_group_findings(ready, config, chosen)]
    if not ready.facts.profile.height:
        found.append(Text("nobody is eligible at this moment", "此时没有考察对象"))
    found += [*_effect_findings(ready, config), *ready.facts.notes]
    if not np.isfinite(ready.facts.number("value_at_risk")).any() and ready.facts.profile.height:
        found.append(
            Text(
                "the log tells no money: everybody kept counts as profit.clv = {clv:g}",
                "日志没有金额：每位被留住的顾客按 profit.clv = {clv:g} 计",
            ).format(clv=config.profit.clv)
        )
    if config.actions.guard and 0 < ready.facts.profile.height < LEAST_USERS:
        found.append(
            Text(
                "the abuse guard needs {least} customers to tell what is usual: it kept nobody back",
                "滥用防护至少需要 {least} 位顾客才能判断何为正常：未限制任何人",
            ).format(least=LEAST_USERS)
        )
    if ready.sampler is not None:
        found.append(
            Text(
                "Thompson sampling: effects are learnt from {count:,} past exposures with a known outcome, and each customer's "
                "action is drawn by how likely it is the best; propensities are logged",
                "汤普森采样：效果由 {count:,} 条结果已知的历史曝光学得，按每个动作为最优的可能性抽取；倾向值已记录",
            ).format(count=ready.facts.history.height)
        )
    elif config.actions.cautious and not ready.effects.measured_share:
        found.append(
            Text("cautious needs measured effects: it changed nothing", "cautious 需要已测量的效果：未产生任何变化")
        )
    if drawn is not None:
        found.append(_exploration_finding(config, drawn))
    return tuple(found)


def _effect_findings(ready: Ready, config: Config) -> list[Text]:
    """Which gains are measured, which assumed."""
    by_source = {
        wanted: ", ".join(a.name for a, s in zip(ready.actions, ready.effects.source, strict=True) if s == wanted)
        for wanted in (MEASURED, COMBINED, ASSUMED)
    }
    found = []
    if by_source[MEASURED]:
        found.append(
            (_LOWER_END if config.actions.cautious else _MEASURED).format(
                names=by_source[MEASURED], until=ready.facts.measured_until
            )
        )
    if by_source[COMBINED]:
        shares = ready.effects.measured_share
        told = ", ".join(f"{name} {shares[name]:.0%}" for name in by_source[COMBINED].split(", "))
        found.append(_COMBINED.format(names=told, until=ready.facts.measured_until, error=config.actions.assumed_error))
    if by_source[ASSUMED]:
        found.append(_ASSUMED.format(names=by_source[ASSUMED]))
    return found


def _budget_findings(ready: Ready, budget: float) -> list[Text]:
    least = min(a.expected_cost for a in ready.actions)
    if budget >= least:
        return []
    cheapest = min(ready.actions, key=lambda a: a.expected_cost)
    if budget == 0:
        return [
            Text(
                "the budget is 0: only what costs nothing is planned; the cheapest action, {name}, costs {cost:.2f} a customer",
                "预算为 0：只安排无成本的动作；最便宜的动作 {name} 每位顾客 {cost:.2f}",
            ).format(name=cheapest.name, cost=least)
        ]
    return [
        Text(
            "the budget of {budget:.2f} pays for no action: the cheapest, {name}, is expected to cost {cost:.2f} a customer",
            "预算 {budget:.2f} 不足以支付任何动作：最便宜的 {name} 每位顾客预计 {cost:.2f}",
        ).format(budget=budget, name=cheapest.name, cost=least)
    ]


def _action_findings(ready: Ready) -> list[Text]:
    """An action that nobody may get, with the rules that keep it back and the condition that matched nobody."""
    found = []
    users = ready.facts.profile.height
    anybody = [bool(column.any()) for column in ready.eligibility.allowed.T]
    for action, counts, possible in zip(ready.actions, ready.eligibility.counts(), anybody, strict=True):
        if possible or not users:
            continue
        if counts.get("condition", 0) + counts.get("holdout", 0) == users and action.who:
            found.append(
                Text(
                    "nobody may get {name}: its condition `{who}` holds for none of {users:,} customers",
                    "没有人可获得 {name}：条件 `{who}` 对 {users:,} 位顾客都不成立",
                ).format(name=action.name, who=action.who, users=users)
            )
            continue
        listed = Text(
            "; ".join(f"{RULES[r].en} ({n:,})" for r, n in counts.items()),
            "；".join(f"{RULES[r].zh}（{n:,}）" for r, n in counts.items()),
        )
        found.append(
            Text("nobody may get {name}: {rules}", "没有人可获得 {name}：{rules}").format(
                name=action.name, rules=listed
            )
        )
    return found


def _group_findings(ready: Ready, config: Config, chosen: Assignment) -> list[Text]:
    short = [
        f"{name} ({int(missing):,})" for name, missing in zip(ready.groups, chosen.missing, strict=True) if missing > 0
    ]
    if not short:
        return []
    return [
        Text(
            "min_share = {share:g} cannot be met within the budget and the other rules; customers lacking by {group}: {short}",
            "在预算与其他规则内无法满足 min_share = {share:g}；按 {group} 尚缺的顾客数：{short}",
        ).format(share=config.actions.min_share, group=config.actions.group, short=", ".join(short))
    ]


def _exploration_finding(config: Config, drawn: Exploration) -> Text:
    return Text(
        "{count:,} customers are left to chance (epsilon = {epsilon:g}); propensities are logged",
        "{count:,} 位顾客交由随机决定（epsilon = {epsilon:g}）；倾向值已记录",
    ).format(count=int(drawn.explores.sum()), epsilon=config.actions.epsilon)


_MEASURED = Text(
    "the effect of {names} is measured, in campaigns whose outcome was known by {until:%Y-%m-%d}: the gains are effect x value "
    "of staying; who is unlike those campaigns' customers may gain more or less",
    "{names} 的效果经测量，来自截至 {until:%Y-%m-%d} 结果已知的活动：收益 = 效果 x 留下的价值；与这些活动的顾客不同者，收益可能更多或更少",
)
_COMBINED = Text(
    "measured in campaigns whose outcome was known by {until:%Y-%m-%d} and combined with assumed_effect, give or take "
    "{error:g} times itself, by precision; what the measurement counts: {names}",
    "依据截至 {until:%Y-%m-%d} 结果已知的活动测量，并与 assumed_effect（标准误为其 {error:g} 倍）按精度合并；测量所占权重：{names}",
)
_LOWER_END = Text(
    "the effect of {names} is measured, in campaigns whose outcome was known by {until:%Y-%m-%d}; cautious: the gains are the "
    "lower end of the effect x value of staying",
    "{names} 的效果经测量，来自截至 {until:%Y-%m-%d} 结果已知的活动；cautious：收益 = 效果的下限 x 留下的价值",
)
_ASSUMED = Text(
    "the effect of {names} is assumed, not measured: the gains are risk x value x assumed_effect; run a campaign with a control "
    "group to measure it",
    "{names} 的效果为假设而非测量：收益 = 风险 x 价值 x assumed_effect；请开展带对照组的活动来测量",
)
