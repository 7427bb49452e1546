"""When somebody is told about a customer and how: `[[alert]]`, `[alerts]` and `[[channel]]` of `ebbtide.toml`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

from pydantic import field_validator

from ebbtide.core.action_settings import quiet_hours
from ebbtide.core.language import Text
from ebbtide.core.settings import Stage, checked_duration, did_you_mean, setting
from ebbtide.core.windows import days, parse_duration

AlertWhen = Literal["enters", "jumps", "unfollowed", "silent"]
ChannelKind = Literal["webhook", "email", "broker", "log"]
AlertBand = Literal["high", "medium", ""]
BROKERS = ("redis", "rediss", "nats", "tls", "amqp", "amqps", "kafka")
"""Schemes of a broker's url; `tls` is NATS over TLS."""
_SCHEMES = {"webhook": ("https", "http"), "email": ("smtp", "smtps"), "broker": BROKERS, "log": ("",)}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class AlertConfig(Stage):
    """`[[alert]]`: one rule. `enters` a band; `jumps` by so much within a time; did A and not B: `unfollowed`; did
    nothing at all: `silent`."""

    name: str = setting(
        ..., "name of the rule: lower-case letters, digits, - and _", "规则名称：小写字母、数字、- 和 _"
    )
    when: AlertWhen = setting(..., "enters, jumps, unfollowed or silent", "enters、jumps、unfollowed 或 silent")
    band: AlertBand = setting(
        "",
        "enters: the band (empty: high); others: only customers in this band or above (empty: any)",
        "enters：风险等级（空：high）；其他：仅限该等级及以上的顾客（空：不限）",
    )
    by: float = setting(0.2, "jumps: rise of the churn probability", "jumps：流失概率的升幅", gt=0, le=1)
    within: str = setting(
        "",
        "jumps, unfollowed, silent: the time, for example 7d or 2h; required there",
        "jumps、unfollowed、silent：时长，例如 7d 或 2h；必填",
    )
    did: list[str] = setting([], "unfollowed: one of these event types happened", "unfollowed：发生了其中一种事件类型")
    but_not: list[str] = setting(
        [], "unfollowed: and none of these followed within the time", "unfollowed：且在时长内未发生其中任何一种"
    )
    value: float = setting(0.0, "least value at risk, in shop currency", "面临流失的价值的下限（店铺货币）", ge=0)
    hysteresis: float = setting(
        0.05,
        "enters: the probability must fall this far below the band before it can enter again",
        "enters：概率须低于等级下限这么多，才可再次进入",
        ge=0,
        lt=1,
    )
    cooldown: str = setting(
        "7d", "no second alert of this rule about a customer within this time", "同一规则对同一顾客再次提醒的最短间隔"
    )
    daily_cap: int = setting(0, "most alerts of this rule a day; 0: no cap", "此规则每天最多提醒数；0：不限", ge=0)
    quiet: Literal["defer", "suppress", "ignore"] = setting(
        "defer",
        "in quiet hours: defer (sent when they end), suppress (kept back for good) or ignore (sent at once)",
        "免打扰时段：defer（结束后发送）、suppress（不再发送）或 ignore（立即发送）",
    )
    consent: str = setting(
        "", "purpose to which the customer must have consented; empty: none", "顾客须已同意的用途；空：不需要"
    )
    channels: list[str] = setting([], "names of channels; empty: all", "渠道名称；空：全部")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return _name(value)

    @field_validator("within", "cooldown")
    @classmethod
    def _span(cls, value: str) -> str:
        return checked_duration(value) if value else value


class AlertsConfig(Stage):
    """`[alerts]`: what holds for all rules."""

    daily_cap: int = setting(
        1000, "most alerts a day, all rules together; 0: no cap", "每天最多提醒数（所有规则合计）；0：不限", ge=0
    )
    user_cap: int = setting(
        3,
        "most alerts a day about one customer, all rules together; 0: no cap",
        "每位顾客每天最多提醒数；0：不限",
        ge=0,
    )
    quiet: str = setting(
        "",
        "quiet hours in the shop's time zone, for example 21:00-08:00; empty: none",
        "店铺所在时区的免打扰时段，例如 21:00-08:00；空：无",
    )
    expires: str = setting(
        "14d", "an alert that nobody acted on or closed expires after this time", "无人处理或关闭的提醒在此时长后过期"
    )
    keep: str = setting("365d", "how long finished alerts are kept", "已结束提醒的保留时长")
    retry_for: str = setting(
        "24h", "how long sending is tried before a message goes to the dead letters", "放弃发送、转入死信前的重试时长"
    )
    reasons: int = setting(
        100,
        "alerts of one moment that get their reasons sent along, the worthiest first",
        "同一时刻附带原因的提醒数，价值高者优先",
        ge=0,
    )

    @field_validator("quiet")
    @classmethod
    def _quiet(cls, value: str) -> str:
        quiet_hours(value)
        return value

    @field_validator("expires", "keep", "retry_for")
    @classmethod
    def _span(cls, value: str) -> str:
        return checked_duration(value)


class ChannelConfig(Stage):
    """`[[channel]]`: one way by which alerts go out."""

    name: str = setting(
        ..., "name of the channel: lower-case letters, digits, - and _", "渠道名称：小写字母、数字、- 和 _"
    )
    kind: ChannelKind = setting(..., "webhook, email, broker or log", "webhook、email、broker 或 log")
    url: str = setting(
        "",
        "https://..., smtp://HOST:PORT (smtps:// for TLS from the start), redis://, nats://, amqp:// or kafka://; "
        "${VARIABLES} expanded",
        "https://...、smtp://主机:端口（smtps:// 表示直接 TLS）、redis://、nats://、amqp:// 或 kafka://；展开 ${变量}",
        repr=False,
    )
    secret_env: list[str] = setting(
        [],
        "webhook: environment variables that hold signing secrets; during a rotation the new one and the old one",
        "webhook：保存签名密钥的环境变量；轮换期间同时填写新旧两个",
    )
    topic: str = setting("ebbtide.alerts", "broker: stream, subject, queue or topic", "broker：流、主题、队列或 topic")
    sender: str = setting("", "email: address of the sender", "email：发件地址")
    to: list[str] = setting([], "email: addresses of the receivers", "email：收件地址", repr=False)
    user: str = setting("", "email: user name at the server; empty: no login", "email：服务器用户名；空：不登录")
    password_env: str = setting("", "email: environment variable of the password", "email：密码所在的环境变量")
    starttls: bool = setting(True, "email: smtp:// must switch to TLS", "email：smtp:// 必须切换到 TLS")
    allow_private: bool = setting(
        False,
        "webhook: private and loopback addresses, and http://, may be called",
        "webhook：允许访问私有与本机地址以及 http://",
    )
    timeout: str = setting("10s", "longest time that one sending may take", "单次发送的最长时间")
    parallel: int = setting(16, "messages on their way at once", "同时发送的消息数", ge=1, le=256)

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return _name(value)

    @field_validator("timeout")
    @classmethod
    def _span(cls, value: str) -> str:
        if not 0 < days(parse_duration(checked_duration(value))) * 86400 <= 60:
            raise ValueError("must be above 0s and at most 60s")
        return value


def alert_problems(rules: Sequence[AlertConfig], channels: Sequence[ChannelConfig]) -> list[Text]:
    """What a rule or channel lacks for its kind, names used twice, and channels that nobody declared."""
    problems = [problem for rule in rules for problem in _rule_problems(rule, [c.name for c in channels])]
    problems += [problem for channel in channels for problem in _channel_problems(channel)]
    for section, names in (("alert", [r.name for r in rules]), ("channel", [c.name for c in channels])):
        problems += [
            Text(f"{section}: the name {n} is used twice", f"{section}：名称 {n} 重复使用")
            for n in sorted(set(names))
            if names.count(n) > 1
        ]
    return problems


def _rule_problems(rule: AlertConfig, channels: Sequence[str]) -> list[Text]:
    here, problems = f"alert {rule.name}", []
    if rule.when != "enters" and (not rule.within or not days(parse_duration(rule.within))):
        problems.append(
            Text(f"{here}: `{rule.when}` needs within, above 0s", f"{here}：`{rule.when}` 需要 within，且大于 0s")
        )
    if (rule.when == "unfollowed") != bool(rule.did and rule.but_not) or (
        rule.when != "unfollowed" and (rule.did or rule.but_not)
    ):
        problems.append(
            Text(
                f"{here}: `unfollowed` needs did and but_not, and no other kind has them",
                f"{here}：`unfollowed` 需要 did 与 but_not，其他类型则不能有",
            )
        )
    if set(rule.did) & set(rule.but_not):
        problems.append(Text(f"{here}: did and but_not share a type", f"{here}：did 与 but_not 不能有相同类型"))
    problems += [
        Text(
            f"{here}: no channel `{name}`{did_you_mean(name, channels)}; declare it as [[channel]]",
            f"{here}：没有渠道 `{name}`{did_you_mean(name, channels)}；请以 [[channel]] 声明",
        )
        for name in rule.channels
        if name not in channels
    ]
    return problems


def _channel_problems(channel: ChannelConfig) -> list[Text]:
    here, problems = f"channel {channel.name}", []
    address, known = urlsplit(channel.url), _SCHEMES[channel.kind]
    if address.scheme not in known or (channel.kind != "log" and not address.hostname):
        listed = " ".join(f"{scheme}://" for scheme in known)
        problems.append(Text(f"{here}: url must begin with one of {listed}", f"{here}：url 必须以 {listed} 之一开头"))
    if channel.kind == "webhook":
        if address.scheme == "http" and not channel.allow_private:
            problems.append(Text(f"{here}: url must be https://", f"{here}：url 必须是 https://"))
        if address.username is not None or address.fragment:
            problems.append(
                Text(f"{here}: url must hold neither a login nor a fragment", f"{here}：url 不得包含登录信息或片段")
            )
        if not channel.secret_env:
            problems.append(
                Text(
                    f"{here}: name the variable of its signing secret in secret_env",
                    f"{here}：请在 secret_env 中指明签名密钥的环境变量",
                )
            )
    if channel.kind == "email" and not (channel.sender and channel.to):
        problems.append(Text(f"{here}: an email needs sender and to", f"{here}：email 需要 sender 与 to"))
    if bool(channel.user) != bool(channel.password_env):
        problems.append(Text(f"{here}: user and password_env go together", f"{here}：user 与 password_env 须同时给出"))
    return problems


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("a name has 1 to 64 lower-case letters, digits, `-` or `_`")
    return value
