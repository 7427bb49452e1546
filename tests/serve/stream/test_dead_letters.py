"""Dead letters on every broker: counted by reason, sent again after a fix, and then gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serve.stream.test_stream import event, ids, linked, message, until, working

from ebbtide.cli.main import run
from ebbtide.core.errors import InputError
from ebbtide.core.settings import ShopConfig
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.serve.brokers.link import Message
from ebbtide.serve.dead_letters import list_dead_letters, replay_dead_letters
from ebbtide.serve.stream import Stream
from ebbtide.store.database import Database


def test_refused_events_enter_after_the_fix_and_what_is_still_bad_is_refused_again(
    stream: StreamConfig, store: Database
) -> None:
    """The shop's currency was set wrongly; after the fix only these letters are replayed, the others stay."""
    dollars = [message(event(k, currency="USD"), trace=f"t{k}") for k in range(4)]

    async def play(shop: ShopConfig, expected: Callable[[Stream], bool], *sent: Message) -> None:
        async with linked(stream) as link, working(stream, store) as worker:
            worker._handler._shop = shop
            if sent:
                await link.send(sent)
            await until(lambda: expected(worker))

    asyncio.run(play(ShopConfig(currency="EUR"), lambda w: sum(w.tally.refused.values()) == 5, *dollars, Message(b"{")))
    assert ids(store) == []
    told = list_dead_letters(stream)
    assert {(c.reason, c.field, c.count) for c in told.counts} == {
        ("unknown_currency", "currency", 4),
        ("bad_json", "", 1),
    }
    assert all(c.newest.startswith("2024-06-01") for c in told.counts)
    done = replay_dead_letters(stream, reason="unknown_currency")
    assert (done.replayed, done.kept) == (4, 1)
    assert [c.reason for c in list_dead_letters(stream).counts] == ["bad_json"]
    asyncio.run(play(ShopConfig(currency="USD"), lambda w: w.tally.accepted == 4))
    assert sorted(ids(store)) == ["e0", "e1", "e2", "e3"]
    assert replay_dead_letters(stream).replayed == 1
    asyncio.run(play(ShopConfig(), lambda w: w.tally.refused["bad_json"] == 1))
    assert list_dead_letters(stream).to_json()["total"] == 1


def test_an_unknown_reason_is_named() -> None:
    with pytest.raises(InputError, match="the reasons are bad_row"):
        replay_dead_letters(StreamConfig(), reason="nonsense")


def test_the_command_counts_and_replays(tmp_path: Path, capsys: Any, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("kafka_url")
    file = tmp_path / "ebbtide.toml"
    file.write_text(f'[stream]\nbroker = "kafka"\nurl = "{url}"\ntopic = "{tmp_path.name}"\n')
    assert run(["dead-letters", "list", "-w", str(tmp_path)]) == 0
    assert "no dead letters" in capsys.readouterr().out
    assert run(["dead-letters", "replay", "-w", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"replayed": 0, "kept": 0}
    assert run(["dead-letters", "list", "-w", str(tmp_path), "--lang", "zh"]) == 0
    assert "没有死信" in capsys.readouterr().out
    file.write_text("")
    assert run(["dead-letters", "list", "-w", str(tmp_path)]) == 2
    assert "name a broker" in capsys.readouterr().err
