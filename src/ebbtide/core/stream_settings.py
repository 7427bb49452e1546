"""Where live events come from beside the API: `[stream]` of `ebbtide.toml`."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

from ebbtide.core.language import Text
from ebbtide.core.settings import Stage, setting

BrokerKind = Literal["none", "redis", "nats", "rabbitmq", "kafka"]
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


class StreamConfig(Stage):
    """`[stream]`: the message broker that brings events, if there is one."""

    broker: BrokerKind = setting(
        "none",
        "none, redis (Redis Streams), nats (JetStream), rabbitmq or kafka",
        "none、redis（Redis Streams）、nats（JetStream）、rabbitmq 或 kafka",
    )
    url: str = setting(
        "",
        "redis://HOST, nats://HOST, amqp://USER:PASSWORD@HOST or kafka://HOST,HOST?PROPERTY=VALUE; ${VARIABLES} expanded",
        "redis://主机、nats://主机、amqp://用户:密码@主机 或 kafka://主机,主机?属性=值；展开 ${变量}",
        repr=False,
    )
    topic: str = setting("events", "stream, subject, queue or topic of the events", "事件所在的流、主题或队列")
    group: str = setting("ebbtide", "consumer group: its workers share the events", "消费者组：组内各工作进程分担事件")
    dead_letters: str = setting(
        "", "where refused messages go; empty: TOPIC.dead", "被拒消息的去处；空：TOPIC.dead（TOPIC 为上面的主题）"
    )
    partitions: int = setting(
        1,
        "topics TOPIC.0, TOPIC.1 ... over which users are spread, if more than 1; Kafka has its own partitions",
        "大于 1 时按用户分散到 TOPIC.0、TOPIC.1 等主题；Kafka 使用自身分区",
        ge=1,
        le=1024,
    )
    read: list[int] = setting([], "partitions that this worker reads; empty: all", "本工作进程读取的分区；空：全部")
    batch: int = setting(500, "messages that are stored together, at most", "一次共同写入的消息数上限", ge=1, le=10_000)
    wait_ms: int = setting(
        200, "milliseconds that a message waits for others, at most", "消息等待凑批的最长毫秒数", ge=1, le=60_000
    )
    prefetch: int = setting(
        2_000, "messages in hand and not acknowledged, at most", "已取出但未确认的消息数上限", ge=1, le=100_000
    )
    retry_seconds: int = setting(
        30,
        "seconds after which a message that nobody acknowledged is given to another worker",
        "消息未被确认时，经过多少秒交给其他工作进程",
        ge=1,
        le=3_600,
    )

    @field_validator("topic", "group", "dead_letters")
    @classmethod
    def _plain(cls, value: str) -> str:
        if value and not _NAME.fullmatch(value):
            raise ValueError("use letters, digits, `_` and `-`, with dots between")
        return value

    @property
    def dead_topic(self) -> str:
        """Where refused messages go."""
        return self.dead_letters or f"{self.topic}.dead"


def stream_problems(stream: StreamConfig) -> list[Text]:
    """What keeps a stream from being read, asked only of who reads it."""
    problems = []
    if stream.broker == "none":
        problems.append(
            Text(
                "stream: name a broker, `broker` = redis, nats, rabbitmq or kafka",
                "stream：请指定 broker：redis、nats、rabbitmq 或 kafka",
            )
        )
    elif not stream.url:
        problems.append(Text("stream: url is missing", "stream：缺少 url"))
    problems += [
        Text(f"stream: the variable {name} is not set in the environment", f"stream：环境变量 {name} 未设置")
        for name in re.findall(r"\$\{(\w+)\}", stream.url)
    ]
    if any(k < 0 or k >= stream.partitions for k in stream.read):
        problems.append(Text("stream: `read` names a partition that does not exist", "stream：`read` 中有不存在的分区"))
    if not stream.topic or not stream.group or stream.dead_topic == stream.topic:
        problems.append(
            Text(
                "stream: topic, group and dead_letters need names, and dead_letters one of its own",
                "stream：topic、group、dead_letters 均需名称，且 dead_letters 须与 topic 不同",
            )
        )
    return problems
