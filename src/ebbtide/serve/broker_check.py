"""`doctor` about the broker: does it answer, and how many messages wait?"""

from __future__ import annotations

import asyncio

from ebbtide.core.errors import RetryError
from ebbtide.core.language import Text
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.pipeline.diagnosis import NOTHING, Check, State
from ebbtide.serve.brokers.link import open_link

_PATIENCE_SECONDS = 10.0
_MANY = 100_000


def broker_check(stream: StreamConfig) -> Check:
    """The check of a configured broker; nothing is read from it."""
    return Check(
        "broker", Text("broker", "消息代理"), lambda: _look(stream),
        Text("start the broker, or correct `[stream]`", "请启动消息代理，或修正 `[stream]`"),
    )  # fmt: skip


def _look(stream: StreamConfig) -> tuple[State, Text, Text]:
    try:
        waiting = asyncio.run(asyncio.wait_for(_behind(stream), _PATIENCE_SECONDS))
    except TimeoutError:
        raise RetryError(
            "the broker does not answer within {s:.0f} s", "消息代理在 {s:.0f} 秒内无响应", s=_PATIENCE_SECONDS
        ) from None
    told = Text("{kind} answers; {n:,} messages wait", "{kind} 有响应；{n:,} 条消息待处理").format(
        kind=stream.broker, n=waiting
    )
    if waiting > _MANY:
        return "warning", told, Text("start more workers of the stream", "请增加消息流工作进程")
    return "ok", told, NOTHING


async def _behind(stream: StreamConfig) -> int:
    link = open_link(stream)
    await link.open()
    try:
        return await link.behind()
    finally:
        await link.close()
