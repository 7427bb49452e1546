"""Use cases: what the stream refused and why; sent again once the reason is mended."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.events.validate import Reason
from ebbtide.serve.brokers.link import Link, Message, open_link
from ebbtide.serve.letter import FIELD, REASON, REFUSED_AT, original_headers

_NONE = Text("no dead letters", "没有死信")


@dataclass(frozen=True)
class LetterCount:
    """Letters of one reason and field; `newest`: when the last of them was refused, "" if it does not say."""

    reason: str
    field: str
    count: int
    newest: str

    @property
    def meaning(self) -> Text:
        """The reason in words."""
        known = {reason.value: reason.text for reason in Reason}
        return known.get(self.reason, Text("no reason is noted", "未注明原因"))


@dataclass(frozen=True)
class DeadLetterList(Readable):
    """The dead letters of a topic, counted, the most frequent first."""

    topic: str
    counts: tuple[LetterCount, ...]

    def to_json(self) -> dict[str, Any]:
        """Counts by reason and field."""
        return asdict(self) | {"total": sum(c.count for c in self.counts)}

    def sections(self) -> tuple[Section, ...]:
        """A table of reasons."""
        if not self.counts:
            return (Section(lines=(_NONE,)),)
        columns = (
            Text("reason", "原因"), Text("field", "字段"), Text("messages", "消息数"), Text("newest", "最新"),
            Text("meaning", "含义"),
        )  # fmt: skip
        rows = tuple((c.reason, c.field or None, c.count, c.newest or None, c.meaning) for c in self.counts)
        return (Section(Text(f"dead letters in {self.topic}", f"{self.topic} 中的死信"), columns=columns, rows=rows),)


@dataclass(frozen=True)
class LettersReplayed(Readable):
    """`replayed` messages are in the topic again, `kept` are still dead letters."""

    replayed: int
    kept: int

    def to_json(self) -> dict[str, Any]:
        """Both counts."""
        return asdict(self)

    def sections(self) -> tuple[Section, ...]:
        """One sentence."""
        said = Text(
            "{replayed:,} messages sent again, {kept:,} kept", "已重新发送 {replayed:,} 条消息，保留 {kept:,} 条"
        )
        return (Section(lines=(said.format(**asdict(self)),)),)


def list_dead_letters(stream: StreamConfig) -> DeadLetterList:
    """Count the dead letters by reason; they stay. Raises ConfigError, MissingExtraError, RetryError."""
    return asyncio.run(_list(stream))


def replay_dead_letters(stream: StreamConfig, *, reason: str | None = None) -> LettersReplayed:
    """Send dead letters (of one `reason`) to the topic again, as they first came, and take them away.

    Killed in between, a message may be both sent and a dead letter: sent again, it counts once.
    Raises InputError for an unknown reason; ConfigError, MissingExtraError, RetryError.
    """
    if reason is not None and reason not in {known.value for known in Reason}:
        listed = ", ".join(known.value for known in Reason)
        raise InputError("no such reason; the reasons are {listed}", "没有该原因；可用的原因：{listed}", listed=listed)
    return asyncio.run(_replay(stream, reason))


async def _list(stream: StreamConfig) -> DeadLetterList:
    async with _linked(stream) as link:
        letters = await link.letters()
    counts: Counter[tuple[str, str]] = Counter()
    newest: dict[tuple[str, str], str] = {}
    for headers in (letter.message.headers for letter in letters):
        key = (headers.get(REASON, ""), headers.get(FIELD, ""))
        counts[key] += 1
        newest[key] = max(newest.get(key, ""), headers.get(REFUSED_AT, ""))
    rows = tuple(LetterCount(*key, count, newest[key]) for key, count in counts.most_common())
    return DeadLetterList(stream.dead_topic, rows)


async def _replay(stream: StreamConfig, reason: str | None) -> LettersReplayed:
    async with _linked(stream) as link:
        letters = await link.letters()
        done = [x for x in letters if reason in (None, x.message.headers.get(REASON))]
        kept = [x for x in letters if reason not in (None, x.message.headers.get(REASON))]
        if done:
            await link.send([_as_it_came(letter.message) for letter in done])
            await link.settle(done, kept)
    return LettersReplayed(len(done), len(kept))


@asynccontextmanager
async def _linked(stream: StreamConfig) -> AsyncIterator[Link]:
    link = open_link(stream)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


def _as_it_came(message: Message) -> Message:
    return Message(message.body, original_headers(message.headers), _user_of(message.body))


def _user_of(body: bytes) -> str:
    """The user whom a message is about, for its partition; "" where that cannot be told."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("user_id", "")) if isinstance(found, dict) else ""
