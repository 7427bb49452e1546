"""What the shop can do for a customer and how it is chosen: `[[action]]`, `[actions]` and `[campaign]`
of `ebbtide.toml`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import time
from typing import Literal

from pydantic import field_validator

from ebbtide.core.language import Text
from ebbtide.core.settings import Stage, checked_duration, setting

ActionKind = Literal["coupon", "recommendation", "message", "call", "service_fix", "nothing"]
NOTHING = "nothing"
"""The name of doing nothing, which is always possible and costs nothing."""
_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_BANDS = ("high", "medium", "low")


class ActionConfig(Stage):
    """`[[action]]`: one thing that the shop can do for a customer. Doing nothing needs no declaration."""

    name: str = setting(..., "name of the action, used in plans and exposures", "动作名称，用于计划与曝光记录")
    kind: ActionKind = setting(
        "message",
        "coupon, recommendation, message, call, service_fix or nothing",
        "coupon（优惠券）、recommendation（推荐）、message（消息）、call（电话）、service_fix（服务补救）或 nothing（不做）",
    )
    channel: str = setting("", "how it reaches the customer, for example email", "触达渠道，例如 email")
    contact_cost: float | None = setting(
        None, "cost of one contact, in shop currency; required", "一次接触的成本（店铺货币）；必填", ge=0
    )
    acceptance_cost: float = setting(
        0.0, "cost of each acceptance beside the offer, in shop currency", "除优惠外每次接受的成本（店铺货币）", ge=0
    )
    value: float = setting(
        0.0,
        "value of the offer, paid when it is accepted, in shop currency",
        "优惠的价值，被接受时支付（店铺货币）",
        ge=0,
    )
    acceptance: float | None = setting(
        None,
        "share of contacted customers that accept; otherwise the mean of the prior in [profit]",
        "被接触顾客的接受比例；省略则取 [profit] 先验的均值",
        ge=0,
        le=1,
    )
    assumed_effect: float | None = setting(
        None,
        "share of those about to leave that it keeps; used, and marked as an assumption, until the effect is measured",
        "能留住将流失顾客的比例；在效果被测量之前使用，并标明为假设",
        ge=0,
        le=1,
    )
    who: str = setting(
        "",
        "SQL condition on the profile of who may get it; empty: everybody",
        "谁可获得：对画像的 SQL 条件；空：所有人",
    )
    max_per_user: int = setting(
        0, "most contacts of this action per customer and period; 0: no cap", "每位顾客每周期的次数上限；0：不限", ge=0
    )
    period: str = setting("30d", "length of that period", "该周期的长度")
    cooldown: str = setting(
        "",
        "pause after the customer's last contact; empty: that of [actions]",
        "距上次接触的间隔；空：取 [actions] 的值",
    )
    quiet: str = setting(
        "",
        "hours without contact in the customer's time zone, for example 21:00-08:00; empty: those of [actions]",
        "顾客所在时区的免打扰时段，例如 21:00-08:00；空：取 [actions] 的值",
    )
    consent: str = setting(
        "", "purpose to which the customer must have consented; empty: none", "顾客须已同意的用途；空：不需要"
    )
    deadline: dict[str, str] = setting(
        {},
        'how soon it must be done, by band, for example { high = "1d", medium = "3d" }',
        '各风险等级须在多久内完成，例如 { high = "1d", medium = "3d" }',
    )
    capacity: int | None = setting(
        None,
        "most customers that can get it in one plan; otherwise no limit",
        "一次计划中最多多少位顾客；省略则不限",
        ge=0,
    )
    transactional: bool = setting(
        False,
        "belongs to an order: no cap, cool-down or quiet hours keep it back",
        "属于订单事务：不受次数上限、间隔或免打扰限制",
    )

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value:
            raise ValueError("an action needs a name")
        return value

    @field_validator("period")
    @classmethod
    def _period(cls, value: str) -> str:
        return checked_duration(value)

    @field_validator("cooldown")
    @classmethod
    def _cooldown(cls, value: str) -> str:
        return checked_duration(value) if value else value

    @field_validator("quiet")
    @classmethod
    def _quiet(cls, value: str) -> str:
        return _hours(value)

    @field_validator("deadline")
    @classmethod
    def _deadline(cls, value: dict[str, str]) -> dict[str, str]:
        for band, span in value.items():
            if band not in _BANDS:
                raise ValueError(f"`{band}` is no band: use {', '.join(_BANDS)}")
            checked_duration(span)
        return value


class ActionsConfig(Stage):
    """`[actions]`: how actions are given out: caps, quiet hours, exploration, the abuse guard."""

    max_contacts: int = setting(
        4,
        "most contacts per customer and period, all actions together; 0: no cap",
        "每位顾客每周期的接触上限（所有动作合计）；0：不限",
        ge=0,
    )
    period: str = setting("30d", "length of that period", "该周期的长度")
    cooldown: str = setting("0d", "pause after a customer's last contact", "距顾客上次接触的间隔")
    quiet: str = setting(
        "",
        "hours without contact in the customer's time zone, for example 21:00-08:00; empty: none",
        "顾客所在时区的免打扰时段，例如 21:00-08:00；空：无",
    )
    margin: float = setting(
        1.0, "share of an order's value that the shop earns", "订单金额中店铺所得的比例", gt=0, le=1
    )
    cautious: bool = setting(
        False, "count the lower end of an effect's interval instead of its mean", "以效果区间的下限而非均值计算"
    )
    assumed_error: float = setting(
        1.0,
        "standard error of an assumed effect, as a share of it: the less, the more a measurement must say to outweigh it",
        "假设效果的标准误，以其比例计：越小，测量结果须越确切才能压过假设",
        ge=0.05,
        le=10,
    )
    epsilon: float = setting(
        0.0,
        "share of customers, budget and capacities that goes to chance, so that effects can be measured",
        "交由随机决定的顾客、预算与名额比例，以便测量效果",
        ge=0,
        le=1,
    )
    assignment: Literal["value", "thompson"] = setting(
        "value",
        "value (highest expected value) or thompson (Thompson sampling, for shops without history)",
        "value（期望价值最高）或 thompson（汤普森采样，适合没有历史的店铺）",
    )
    group: str = setting(
        "", "column of the profile whose groups get minimum and maximum shares; empty: none", "设定份额的画像列；空：无"
    )
    min_share: float = setting(
        0.0, "least share of each group's customers that gets an action", "每组顾客中获得动作的最低比例", ge=0, le=1
    )
    max_share: float = setting(
        1.0, "largest share of each group's customers that gets an action", "每组顾客中获得动作的最高比例", ge=0, le=1
    )
    guard: bool = setting(True, "keep suspected abusers from coupons", "不向疑似滥用者发放优惠券")
    guard_share: float = setting(
        0.01, "largest share of customers that the guard suspects", "滥用防护最多怀疑的顾客比例", gt=0, le=0.5
    )
    allow: list[str] = setting(
        [], "customers whom the guard may not keep back, by user_id", "滥用防护不得限制的顾客（user_id）"
    )
    seed: int = setting(0, "seed of all chance in a plan", "计划中随机性的种子", ge=0)

    @field_validator("period", "cooldown")
    @classmethod
    def _span(cls, value: str) -> str:
        return checked_duration(value)

    @field_validator("quiet")
    @classmethod
    def _quiet(cls, value: str) -> str:
        return _hours(value)


class CampaignConfig(Stage):
    """`[campaign]`: how a campaign is drawn and read out."""

    holdout: float = setting(
        0.05,
        "share of all customers whom no campaign ever treats; keep it, or the long-run comparison is lost",
        "任何活动都不触达的顾客比例；请保持不变，否则失去长期对照",
        ge=0,
        lt=1,
    )
    control: float = setting(
        0.2,
        "share of a campaign's customers that gets nothing, so that the effect can be measured",
        "活动中不采取动作的对照比例，用于测量效果",
        gt=0,
        lt=1,
    )
    alpha: float = setting(
        0.05,
        "chance of an effect where there is none: intervals hold 1 - alpha",
        "误报概率：区间置信度为 1 - alpha",
        gt=0,
        lt=0.5,
    )
    power: float = setting(
        0.8, "chance to find an effect of the size asked for", "检出所求大小效果的概率", gt=0.5, lt=1
    )
    effect: float = setting(
        0.05,
        "change in the retained share that a campaign should be able to find; the needed size is told before it starts",
        "活动应能检出的留存比例变化；启动前会给出所需人数",
        gt=0,
        le=1,
    )
    mismatch: float = setting(
        0.001,
        "sample ratio mismatch: below this p value the arms do not fit their shares and nothing is read out",
        "样本比例失配：p 值低于此值表示各组人数与比例不符，不再读取结果",
        gt=0,
        lt=0.5,
    )
    false_discovery: float = setting(
        0.1,
        "share of false findings that is accepted among many campaigns or groups (Benjamini-Hochberg)",
        "多个活动或群体中可接受的假发现比例（Benjamini-Hochberg）",
        gt=0,
        lt=1,
    )
    least_group: int = setting(
        30, "users an arm of a group must have to be told apart", "可单独列出的群体每组最少人数", ge=2
    )
    effective_floor: int = setting(
        100,
        "off-policy evaluation refuses a policy for which the log is worth fewer decisions",
        "离线策略评估：日志的有效决策数低于此值时拒绝给出结论",
        ge=1,
    )


def quiet_hours(text: str) -> tuple[time, time] | None:
    """From and until when nobody is contacted; None if the text is empty. The span may cross midnight.

    >>> quiet_hours("21:00-8:00")
    (datetime.time(21, 0), datetime.time(8, 0))

    Raises ValueError for any other text.
    """
    if not text:
        return None
    match = _SPAN.fullmatch(text)
    if not match:
        raise ValueError(f"`{text}` is no span of hours: write for example 21:00-08:00")
    first = time(int(match[1]), int(match[2]))
    return first, time(int(match[3]), int(match[4]))


def action_problems(actions: Sequence[ActionConfig], settings: ActionsConfig) -> list[Text]:
    """What one action cannot know alone: costs that are missing, names used twice, shares that contradict."""
    problems = [
        Text(
            f"action {a.name}: contact_cost is missing; write what one contact costs, 0 if nothing",
            f"action {a.name}：缺少 contact_cost；请写明一次接触的成本，没有则写 0",
        )
        for a in actions
        if a.contact_cost is None and a.kind != NOTHING
    ]
    problems += [
        Text(
            f"action {a.name}: a nothing has no costs, and only it is named `{NOTHING}`",
            f"action {a.name}：nothing 没有成本，且只有它可命名为 `{NOTHING}`",
        )
        for a in actions
        if (a.kind == NOTHING) != (a.name == NOTHING) or (a.kind == NOTHING and _costs(a))
    ]
    names = [a.name for a in actions]
    problems += [
        Text(f"action: the name {n} is used twice", f"action：名称 {n} 重复使用")
        for n in sorted(set(names))
        if names.count(n) > 1
    ]
    if settings.min_share > settings.max_share:
        problems.append(Text("actions: min_share must not exceed max_share", "actions：min_share 不能大于 max_share"))
    return problems


def _costs(action: ActionConfig) -> float:
    return (action.contact_cost or 0.0) + action.acceptance_cost + action.value


def _hours(value: str) -> str:
    quiet_hours(value)
    return value
