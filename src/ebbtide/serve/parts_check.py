"""`doctor` about what `ebbtide serve` would refuse to start with, or would do without: channels, tokens, the cache."""

from __future__ import annotations

from collections.abc import Iterator

from redis import Redis, RedisError

from ebbtide.core.config import Config, read_secrets
from ebbtide.core.language import Text
from ebbtide.core.serve_settings import ServeConfig
from ebbtide.pipeline.diagnosis import NOTHING, Check, State
from ebbtide.serve.channels import make_senders, secret_names
from ebbtide.serve.tokens import Tokens

_PATIENCE_SECONDS = 3.0


def part_checks(config: Config) -> Iterator[Check]:
    """The checks of the parts that the config names; nothing is sent to anybody."""
    if config.channel:
        correct = Text("correct `[[channel]]` or the variables that it names", "请修正 `[[channel]]` 或其指明的变量")
        yield Check("channels", Text("channels", "渠道"), lambda: _channels(config), correct)
    if config.serve.oidc_issuer:
        reach = Text(
            "correct `serve.oidc_*`, or let this machine reach the provider",
            "请修正 `serve.oidc_*`，或使本机能访问提供方",
        )
        yield Check("tokens", Text("tokens", "令牌"), lambda: _tokens(config.serve), reach)
    if config.serve.redis:
        start = Text("start Redis, or correct `serve.redis`", "请启动 Redis，或修正 `serve.redis`")
        yield Check("cache", Text("cache", "缓存"), lambda: _cache(config.serve.redis, start), start)


def _channels(config: Config) -> tuple[State, Text, Text]:
    make_senders(config, read_secrets(secret_names(config)))
    told = Text("channels: {n}, each with what it needs", "渠道：{n} 个，所需齐全").format(n=len(config.channel))
    return "ok", told, NOTHING


def _tokens(settings: ServeConfig) -> tuple[State, Text, Text]:
    count = Tokens(settings, [settings.shop_id]).published()
    return "ok", Text("the provider publishes keys: {n}", "提供方公布的公钥：{n} 个").format(n=count), NOTHING


def _cache(url: str, start: Text) -> tuple[State, Text, Text]:
    """A warning only: without it, histories are read from the lake."""
    try:
        with Redis.from_url(url, socket_timeout=_PATIENCE_SECONDS, socket_connect_timeout=_PATIENCE_SECONDS) as client:
            client.ping()
    except (RedisError, ValueError) as fault:
        told = Text("Redis does not answer ({why})", "Redis 无响应（{why}）").format(why=type(fault).__name__)
        return "warning", told, start
    return "ok", Text("Redis answers", "Redis 有响应"), NOTHING
