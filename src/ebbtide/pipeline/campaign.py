"""`campaign`: draw who gets an action and who is left alone, hand the list over, and end it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.actions.campaign import ASSIGNED, NAME, Campaign, Campaigns
from ebbtide.actions.catalogue import action_named
from ebbtide.actions.experiment import CONTROL, TREATMENT, buckets_of_share, workspace_secret
from ebbtide.actions.zones import zones_of
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import Config
from ebbtide.core.errors import InputError, MissingBundleError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.events.surroundings import one_writer, steady_disk
from ebbtide.pipeline.campaign_draw import (
    busy_users,
    check_arms,
    draw_users,
    eligible_users,
    within_budget,
    write_exposures,
)
from ebbtide.pipeline.campaign_plan import candidates_of_action, check_budget, read_plan
from ebbtide.pipeline.campaign_promise import Promise, closing_of, promise_of
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.plan_facts import known_users
from ebbtide.pipeline.profiles import profile_everybody
from ebbtide.pipeline.train import newest_moment

_KNOWN = ("churn_probability", "expected_orders", "value_at_risk", "band", "stage", "segment")
"""What is kept of a user's profile with the assignment."""


@dataclass(frozen=True)
class Ask:
    """What `campaign start` was told. Shares None: those of the config."""

    plan: Path | None = None
    action: str | None = None
    where: str = ""
    control: float | None = None
    layer: str | None = None
    budget: float | None = None
    as_of: datetime | None = None


@dataclass(frozen=True)
class Started(Readable):
    """A draw: the users that were added, those that were in already, and why others were left out."""

    name: str
    layer: str
    as_of: datetime
    treated: int
    control: int
    before: int
    left_out: Mapping[str, int]
    cost: float
    currency: str
    promise: Promise
    ends_at: datetime

    def sections(self) -> tuple[Section, ...]:
        """Who takes part, what can be found, when."""
        told = [_STARTED.format(**vars(self))]
        told += [_BEFORE.format(before=self.before)] if self.before else []
        told += [_LEFT_OUT[why].format(count=n) for why, n in self.left_out.items() if n]
        p = self.promise
        told.append(_PROMISE.format(**vars(p)))
        told.append((_ENOUGH if p.detectable <= p.wanted else _TOO_FEW).format(**vars(p)))
        told += [_MONEY.format(money=p.money, currency=self.currency)] if p.money is not None else []
        told.append(_NEXT.format(name=self.name, ends_at=self.ends_at))
        return (Section(lines=tuple(told)),)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self) | {"as_of": self.as_of.isoformat(), "ends_at": self.ends_at.isoformat()}


@dataclass(frozen=True)
class CampaignList(Readable):
    """All campaigns, oldest first, with the users of each arm."""

    campaigns: tuple[Campaign, ...]
    sizes: tuple[tuple[int, int], ...]

    def sections(self) -> tuple[Section, ...]:
        """One row a campaign."""
        if not self.campaigns:
            return (Section(lines=(_NONE,)),)
        rows = tuple(
            (c.name, f"{c.started_at:%Y-%m-%d}", _STATUS[c.status], treated, control)
            for c, (treated, control) in zip(self.campaigns, self.sizes, strict=True)
        )
        return (Section(columns=_COLUMNS, rows=rows),)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        sizes = [{"treated": t, "control": c} for t, c in self.sizes]
        return {"campaigns": [c.to_json() | s for c, s in zip(self.campaigns, sizes, strict=True)]}


def start_campaign(config: Config, root: Path, name: str, ask: Ask, *, progress: Progress = silent) -> Started:
    """Draw the arms of a campaign and write them down; started again, it adds who is new and changes nobody.

    Removed before anybody is drawn, in this order: users that the lake does not know, the global holdout, who has
    revoked the consent that the action needs, who is in another running campaign of the layer.
    Control users are written to the exposures as `nothing`, so that later learning sees both arms.
    Raises InputError, DataError with what to change; then nothing was written.
    """
    control = config.campaign.control if ask.control is None else ask.control
    _check_start(name, ask, control)
    home, lake = Places(root).home, Places(root).lake()
    campaigns = Campaigns(home / "campaigns")
    as_of = ask.as_of or newest_moment(lake)
    campaign = campaigns.load(name) if campaigns.has(name) else None
    if campaign is not None:
        _check_again(campaign, ask, control)
    candidates, bundle = _candidates(config, root, ask, as_of, progress)
    if ask.budget is not None:
        check_budget(ask.budget, candidates["cost"])
    with steady_disk(), one_writer(home):
        layer = campaign.layer if campaign else ask.layer or name
        secret = workspace_secret(home)
        before = campaigns.read(name, "assigned")
        busy = busy_users(campaigns, name, layer)
        left, left_out = eligible_users(config, lake, candidates, busy, as_of, secret)
        fresh = left.join(before, on="user_id", how="anti", maintain_order="left")
        drawn = within_budget(draw_users(fresh, control, layer, secret, as_of), ask.budget)
        left_out["budget"] = fresh.height - drawn.height
        everybody = pl.concat([before, drawn.select(before.columns)], how="vertical_relaxed")
        check_arms(everybody, candidates.height, left_out)
        definition = ChurnDefinition.from_config(config.churn)
        promise = promise_of(config.campaign, lake, definition, everybody, as_of, progress)
        if campaign is None:
            shares, knows = (control, config.campaign.holdout), (bundle, promise.explained)
            campaigns.save(Campaign(name, layer, *shares, as_of, everybody.height, definition.to_json(), *knows))
        campaigns.add(name, "assigned", drawn)
        write_exposures(lake, name, everybody)
    treated = drawn.filter(pl.col("arm") == TREATMENT)
    return Started(
        name, layer, as_of, treated.height, drawn.height - treated.height, before.height, left_out,
        float(treated["cost"].sum()), config.shop.currency, promise, as_of + closing_of(definition),
    )  # fmt: skip


def list_campaigns(root: Path) -> CampaignList:
    """The campaigns of the workspace at `root`; none is no error."""
    campaigns = Campaigns(Places(root).home / "campaigns")
    names = campaigns.names()
    arms = [campaigns.read(n, "assigned")["arm"] for n in names]
    sizes = tuple((int((a == TREATMENT).sum()), int((a == CONTROL).sum())) for a in arms)
    return CampaignList(tuple(campaigns.load(n) for n in names), sizes)


def stop_campaign(root: Path, name: str, *, at: datetime | None = None) -> CampaignList:
    """End a campaign: nobody is added any more; what was drawn and measured stays. Raises InputError if unknown."""
    campaigns = Campaigns(Places(root).home / "campaigns")
    campaign = campaigns.load(name)
    campaigns.stop(name, at or max(newest_moment(Places(root).lake()), campaign.started_at))
    return list_campaigns(root)


def _check_start(name: str, ask: Ask, control: float) -> None:
    if not NAME.fullmatch(name):
        raise InputError(
            "`{name}` is no name for a campaign: use up to 64 letters, digits, `-`, `_` and `.`",
            "`{name}` 不能作为活动名称：请用至多 64 个字母、数字、`-`、`_` 和 `.`",
            name=name,
        )
    if (ask.plan is None) == (ask.action is None):
        raise InputError(
            "say whom to treat: either --plan FILE of `ebbtide plan`, or --action NAME",
            "请说明对象：用 `ebbtide plan` 的 --plan 文件，或 --action 名称",
        )
    if ask.plan is not None and ask.where:
        raise InputError(
            "a plan has chosen already: --where goes with --action", "计划已选定对象：--where 只与 --action 一起使用"
        )
    if not 0 < control < 1:
        raise InputError(
            "a campaign needs a control group that gets nothing, or its effect can never be told: --control between 0 "
            "and 1, not {control:g}; 0.2 is usual",
            "活动需要不采取动作的对照组，否则无法得知效果：--control 应在 0 与 1 之间，而不是 {control:g}；常用 0.2",
            control=control,
        )


def _check_again(campaign: Campaign, ask: Ask, control: float) -> None:
    if campaign.status != "running":
        raise InputError(
            "the campaign `{name}` has been stopped: start one under another name",
            "活动 `{name}` 已停止：请用其他名称启动新活动",
            name=campaign.name,
        )
    layer = ask.layer or campaign.layer
    asked = campaign.control if ask.control is None else control
    if buckets_of_share(asked) != buckets_of_share(campaign.control) or layer != campaign.layer:
        raise InputError(
            "the campaign `{name}` runs with control {control:g} in layer `{layer}`: who joins later is drawn the same "
            "way; leave --control and --layer out, or start one under another name",
            "活动 `{name}` 以对照比例 {control:g}、层 `{layer}` 运行：后加入者须同样分组；请不写 --control 和 --layer，或另起名称",
            name=campaign.name,
            control=campaign.control,
            layer=campaign.layer,
        )


def _candidates(
    config: Config, root: Path, ask: Ask, as_of: datetime, progress: Progress
) -> tuple[pl.DataFrame, str | None]:
    """The candidates with what was known of them at `as_of`, and the bundle that told it; a plan needs none, and then
    nothing is known."""
    action = action_named(config, ask.action) if ask.action else None
    planned = read_plan(ask.plan) if ask.plan else None
    try:
        bundle = Places(root).shelf().load()
    except MissingBundleError:
        if planned is None:
            raise
        return planned.with_columns(pl.lit(None, ASSIGNED[c]).alias(c) for c in _KNOWN), None
    profile = profile_everybody(Places(root).lake(), as_of, bundle, config, progress)
    if planned is None and action is not None:
        users = known_users(Places(root).lake(), as_of)
        planned = candidates_of_action(
            profile, action, ask.where, lambda chosen: zones_of(users, chosen, config.shop.timezone), as_of
        )
    assert planned is not None
    known = profile.select("user_id", *_KNOWN)
    return planned.join(known, on="user_id", how="left", maintain_order="left"), bundle.id


_STARTED = Text(
    "campaign {name}, as of {as_of:%Y-%m-%d}: {treated:,} customers get their action for {cost:,.2f} {currency}, "
    "{control:,} are control and get nothing",
    "活动 {name}，截至 {as_of:%Y-%m-%d}：{treated:,} 位顾客获得动作，成本 {cost:,.2f} {currency}；{control:,} 位为对照，不采取动作",
)
_BEFORE = Text("{before:,} were drawn before and stay as they are", "{before:,} 位此前已分组，保持不变")
_LEFT_OUT = {
    "unknown": Text("{count:,} left out: the lake does not know them", "排除 {count:,} 位：数据湖中没有"),
    "holdout": Text(
        "{count:,} left out: the global holdout, which is never treated", "排除 {count:,} 位：全局保留组，从不触达"
    ),
    "consent": Text("{count:,} left out: they have not consented", "排除 {count:,} 位：没有同意"),
    "elsewhere": Text(
        "{count:,} left out: in another running campaign of this layer", "排除 {count:,} 位：在同层的其他活动中"
    ),
    "budget": Text("{count:,} left out: the budget is used up", "排除 {count:,} 位：预算已用完"),
}
_PROMISE = Text(
    "expected to stay without any action: {rate:.1%}; the risk explains {explained:.0%} of who stays; the smallest change "
    "that this campaign finds: {detectable:.1%}",
    "不采取动作时预计留存：{rate:.1%}；风险可解释 {explained:.0%} 的去留差异；此活动可检出的最小变化：{detectable:.1%}",
)
_ENOUGH = Text(
    "enough customers: a change of {wanted:.1%} needs {needed:,}",
    "人数足够：检出 {wanted:.1%} 的变化需要 {needed:,} 位",
)
_TOO_FEW = Text(
    "too few customers to find a change of {wanted:.1%}: that needs {needed:,}; plan more, or let the campaign take in "
    "newcomers",
    "人数不足以检出 {wanted:.1%} 的变化：需要 {needed:,} 位；请计划更多顾客，或让活动接纳新加入者",
)
_MONEY = Text(
    "the smallest change in money per customer that it finds: {money:,.2f} {currency}",
    "每位顾客金额可检出的最小变化：{money:,.2f} {currency}",
)
_NEXT = Text(
    "next: `ebbtide campaign export {name} --out FILE`; outcomes are complete from {ends_at:%Y-%m-%d} on, then "
    "`ebbtide effect {name}`",
    "下一步：`ebbtide campaign export {name} --out 文件`；{ends_at:%Y-%m-%d} 起结果完整，届时 `ebbtide effect {name}`",
)
_NONE = Text("no campaign yet: `ebbtide campaign start NAME`", "还没有活动：`ebbtide campaign start 名称`")
_STATUS = {"running": Text("running", "进行中"), "stopped": Text("stopped", "已停止")}
_COLUMNS = (
    Text("campaign", "活动"),
    Text("started", "开始"),
    Text("status", "状态"),
    Text("treated", "触达"),
    Text("control", "对照"),
)
