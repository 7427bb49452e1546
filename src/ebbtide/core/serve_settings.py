"""The live service: `[serve]` of `ebbtide.toml`."""

from __future__ import annotations

from pydantic import field_validator

from ebbtide.core.settings import Stage, checked_duration, setting


class ServeConfig(Stage):
    """`[serve]`: the service beside the shop."""

    shop_id: str = setting(
        "shop",
        "name of the shop in the service's store; 1 to 64 lower-case letters, digits, - or _",
        "店铺在服务存储中的名称；1 到 64 个小写字母、数字、- 或 _",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
    )
    store: str = setting(
        "",
        "url of the operational store, sqlite:///FILE or postgresql+psycopg://...; empty: .ebbtide/service.db",
        "运行存储的 url，sqlite:///文件 或 postgresql+psycopg://...；空：.ebbtide/service.db",
        repr=False,
    )
    max_body_bytes: int = setting(
        2_000_000,
        "largest body of a call, also once unpacked",
        "请求体的最大字节数（解压后亦然）",
        ge=1000,
        le=100_000_000,
    )
    max_waiting: int = setting(
        20_000,
        "events that may wait to be stored; more are answered 503",
        "等待写入的最大事件数；超出则返回 503",
        ge=1000,
    )
    rate: float = setting(500.0, "calls a second that one key may make", "每个密钥每秒允许的请求数", gt=0)
    burst: int = setting(1000, "calls that one key may make at once", "每个密钥允许的瞬时请求数", ge=1)
    memory: int = setting(
        2_000_000_000, "bytes of event histories that are kept at hand", "常驻内存的事件历史字节数", ge=1_000_000
    )
    land_every: str = setting("60s", "how often accepted events move into the lake", "已接收事件写入数据湖的间隔")
    rescore_every: str = setting("200ms", "how often touched customers are scored", "对有新事件的顾客重新评分的间隔")
    rescore_all_every: str = setting(
        "6h",
        "how often everybody is scored, because silence alone raises risk",
        "对所有顾客重新评分的间隔（沉默也会提高风险）",
    )
    keep_events: str = setting(
        "7d", "how long landed events stay in the store to recognise duplicates", "已入湖事件在存储中保留多久以识别重复"
    )
    redis: str = setting(
        "",
        "url of a Redis that holds event histories for several processes; empty: each process holds its own",
        "供多个进程共享事件历史的 Redis url；空：每个进程各自保存",
        repr=False,
    )
    shadow: str = setting(
        "", "a bundle that scores beside the promoted one, for comparison only", "与当前模型并行评分的模型包，仅供比较"
    )
    trace_to: str = setting(
        "",
        "OTLP endpoint that gets OpenTelemetry spans over HTTP, for example http://127.0.0.1:4318 (extra `otel`); empty: none",
        "通过 HTTP 接收 OpenTelemetry 追踪的 OTLP 地址，例如 http://127.0.0.1:4318（扩展 `otel`）；空：不发送",
    )
    trust_proxy: bool = setting(
        False, "take the caller's address and scheme from X-Forwarded-*", "从 X-Forwarded-* 获取调用方地址与协议"
    )

    also: list[str] = setting(
        [],
        "folders of further workspaces that this service serves, each with a shop_id of its own",
        "本服务同时提供的其他工作区目录，各有自己的 shop_id",
    )
    oidc_issuer: str = setting(
        "",
        "issuer of bearer tokens (OpenID Connect), beside keys; empty: keys only",
        "令牌签发者（OpenID Connect），与密钥并用；空：仅密钥",
    )
    oidc_audience: str = setting("", "audience that tokens must name", "令牌必须包含的受众")
    oidc_keys: str = setting(
        "",
        "url of the issuer's keys (JWKS); empty: ISSUER/.well-known/jwks.json",
        "签发者公钥（JWKS）的 url；空：ISSUER/.well-known/jwks.json",
    )

    @field_validator("land_every", "rescore_every", "rescore_all_every", "keep_events")
    @classmethod
    def _durations(cls, value: str) -> str:
        return checked_duration(value)
