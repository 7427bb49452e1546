"""Every message arrives at least once with the same id: past receivers that fail, hang or are gone, and past kill -9."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from tests.serve.alerts.receivers import Answer, Call, MailServer, Receiver, closed_port

from ebbtide.core.config import Config, parse_config
from ebbtide.core.errors import RetryError
from ebbtide.core.windows import to_us
from ebbtide.serve.channels import make_senders, secret_names
from ebbtide.serve.delivery import Delivery, retry_seconds
from ebbtide.serve.sending import Outcome, Sender
from ebbtide.serve.smtp import letter
from ebbtide.store.database import Database
from ebbtide.store.destinations import FAILURES, Destinations
from ebbtide.store.outbox import Message, NewMessage, Outbox

SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"
DATA = {
    "alert_id": "alr",
    "rule": "risk",
    "user_id": "u7",
    "churn_probability": 0.83,
    "at": "2024-01-01T00:00:00+00:00",
}


def hook(url: str, name: str = "crm", **settings: Any) -> dict[str, Any]:
    base = {"name": name, "kind": "webhook", "url": url, "secret_env": ["HOOK"], "allow_private": True, "timeout": "2s"}
    return {**base, **settings}


def configured(*channels: dict[str, Any], **alerts: Any) -> Config:
    return parse_config({"channel": list(channels), "alerts": alerts})


def put(database: Database, *ids: str, channel: str = "crm", consent: str = "", due_us: int | None = None) -> Outbox:
    outbox, now_us = Outbox(database, "shop"), to_us(datetime.now(UTC))
    body = orjson.dumps({"type": "alert.opened", "timestamp": DATA["at"], "data": DATA})
    rows = [
        NewMessage(channel, i, now_us if due_us is None else due_us, now_us, f"user-{i}", consent, body) for i in ids
    ]
    with database.write() as connection:
        outbox.add_within(connection, rows)
    return outbox


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    opened = Database.open(store_url)
    yield opened
    opened.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path}/service.db")
    yield opened
    opened.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


class Impatient(random.Random):
    """Retries come at once."""

    def uniform(self, a: float, b: float) -> float:
        return a


class running:  # noqa: N801  reads as a word
    """A delivery that runs within the block."""

    def __init__(self, database: Database, config: Config, **given: Any) -> None:
        senders = given.pop("senders", None) or make_senders(
            config, {name: SecretStr(SECRET) for name in secret_names(config)}
        )
        usual: dict[str, Any] = {"withdrawn": lambda purpose, users, now: set(), "luck": Impatient()}
        self._delivery = Delivery(config, database, "shop", senders, **{**usual, **given})

    def __enter__(self) -> Delivery:
        self._delivery.start()
        return self._delivery

    def __exit__(self, *_: object) -> None:
        self._delivery.stop()


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_what_is_due_arrives_once_and_what_is_not_due_waits(database: Database, receiver: Receiver) -> None:
    later = to_us(datetime.now(UTC) + timedelta(hours=1))
    outbox = put(database, *[f"a{k}" for k in range(40)])
    put(database, "later", due_us=later)
    with running(database, configured(hook(receiver.url))):
        wait_for(lambda: outbox.counts().get(("crm", "sent")) == 40)
    assert Counter(call.id for call in receiver.calls) == {f"a{k}": 1 for k in range(40)}
    assert outbox.counts() == {("crm", "sent"): 40, ("crm", "waiting"): 1}


def test_two_workers_share_the_messages_and_none_is_sent_twice(database: Database, receiver: Receiver) -> None:
    outbox, config = put(database, *[f"a{k}" for k in range(60)]), configured(hook(receiver.url))
    with running(database, config), running(database, config):
        wait_for(lambda: outbox.counts().get(("crm", "sent")) == 60)
    assert Counter(call.id for call in receiver.calls) == {f"a{k}": 1 for k in range(60)}


def test_a_receiver_that_fails_at_first_gets_the_same_id_again(embedded: Database) -> None:
    seen: Counter[str] = Counter()

    def flaky(call: Call) -> Answer:
        seen[call.id] += 1
        return Answer(500 if seen[call.id] < 3 else 200)

    receiver, outbox = Receiver(flaky), put(embedded, "a", "b")
    with running(embedded, configured(hook(receiver.url))):
        wait_for(lambda: outbox.counts() == {("crm", "sent"): 2})
    assert seen == {"a": 3, "b": 3}
    assert len({(call.id, call.body) for call in receiver.calls}) == 2
    receiver.close()


def test_a_receiver_that_hangs_delays_no_other_channel(embedded: Database, receiver: Receiver) -> None:
    hold = threading.Event()
    hanging = Receiver(lambda call: Answer(hold=hold))
    put(embedded, *[f"a{k}" for k in range(20)], channel="slow")
    outbox = put(embedded, "b", channel="crm")
    with running(embedded, configured(hook(hanging.url, "slow", parallel=2), hook(receiver.url))):
        wait_for(lambda: hanging.calls)
        wait_for(lambda: receiver.calls)
        hold.set()
        wait_for(lambda: outbox.counts().get(("slow", "sent")) == 20)
    assert [call.id for call in receiver.calls] == ["b"]
    hanging.close()


def test_a_dead_receiver_is_left_alone_after_failures_in_a_row_and_tried_with_one_message(embedded: Database) -> None:
    """The clock of the delivery is the test's: pauses end when the test says so."""
    outbox = put(embedded, *[f"a{k}" for k in range(30)])
    now, outcomes = [datetime.now(UTC)], list[Outcome]()
    port = closed_port()

    def told(message: Message, outcome: Outcome) -> None:
        outcomes.append(outcome)

    config = configured(hook(f"http://127.0.0.1:{port}/", parallel=1))
    places = Destinations(embedded, "shop")
    with running(embedded, config, clock=lambda: now[0], told=told) as delivery:
        wait_for(lambda: places.standing("crm").failures == len(outcomes) == FAILURES)
        delivery.wake()
        time.sleep(0.3)
        assert len(outcomes) == FAILURES
        now[0] += timedelta(seconds=6)
        wait_for(lambda: places.standing("crm").failures == len(outcomes) == FAILURES + 1)
        time.sleep(0.3)
        assert len(outcomes) == FAILURES + 1, "one trial, then a longer pause"
    assert {o.reason for o in outcomes} <= {"unreachable", "timeout"}
    back = Receiver()
    ahead = timedelta(minutes=10)
    with running(embedded, configured(hook(back.url)), clock=lambda: datetime.now(UTC) + ahead):
        wait_for(lambda: outbox.counts() == {("crm", "sent"): 30})
    assert places.standing("crm").failures == 0
    back.close()


def test_what_was_tried_for_long_enough_is_a_dead_letter_that_can_be_sent_again(embedded: Database) -> None:
    receiver, outbox = Receiver(lambda call: answer[0]), put(embedded, "a")
    now, answer = [datetime.now(UTC)], [Answer(500)]
    with running(embedded, configured(hook(receiver.url), retry_for="1h"), clock=lambda: now[0]):
        wait_for(lambda: receiver.calls)
        now[0] += timedelta(hours=1)
        wait_for(lambda: outbox.counts() == {("crm", "dead"): 1})
        assert outbox.dead() == [("crm", "a", "status_500")]
        answer[0] = Answer()
        now[0] += timedelta(hours=1)
        outbox.revive(to_us(now[0]))
        wait_for(lambda: outbox.counts() == {("crm", "sent"): 1})
    receiver.close()


def test_a_receiver_that_is_gone_for_good_is_tried_once(embedded: Database) -> None:
    receiver, outbox = Receiver(lambda call: Answer(410)), put(embedded, "a")
    with running(embedded, configured(hook(receiver.url))):
        wait_for(lambda: outbox.counts() == {("crm", "dead"): 1})
    assert len(receiver.calls) == 1
    receiver.close()


def test_a_consent_that_was_taken_back_meanwhile_keeps_the_message_back(embedded: Database, receiver: Receiver) -> None:
    put(embedded, "a", "b", consent="marketing")
    outbox = put(embedded, "c")

    def withdrawn(purpose: str, users: Any, now: datetime) -> set[str]:
        return {u for u in users if (purpose, u) == ("marketing", "user-b")}

    with running(embedded, configured(hook(receiver.url)), withdrawn=withdrawn):
        wait_for(lambda: outbox.counts() == {("crm", "sent"): 2, ("crm", "dropped"): 1})
    assert sorted(call.id for call in receiver.calls) == ["a", "c"]


def test_a_defect_in_a_channel_ends_neither_its_loop_nor_the_message(embedded: Database) -> None:
    class Broken:
        """Raises the first time."""

        calls = 0

        async def send(self, message: Message) -> Outcome:
            self.calls += 1
            if self.calls == 1:
                raise ZeroDivisionError
            return Outcome()

        async def close(self) -> None:
            """Nothing."""

    sender: Sender = Broken()
    outbox = put(embedded, "a", channel="log")
    with running(embedded, configured({"name": "log", "kind": "log"}), senders={"log": sender}):
        wait_for(lambda: outbox.counts() == {("log", "sent"): 1})


def test_delivery_goes_on_when_the_store_answers_again(
    embedded: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrived while the store was away is written down afterwards and not sent again."""
    outbox, refusals = put(embedded, "a", "b"), iter([True, False])
    write_down = Outbox.sent_within

    def sent_within(connection: Any, messages: Any, now_us: int) -> None:
        if messages and next(refusals, False):
            raise RetryError("the store does not answer", "存储无响应")
        write_down(connection, messages, now_us)

    monkeypatch.setattr(Outbox, "sent_within", staticmethod(sent_within))
    with running(embedded, configured(hook(receiver.url, parallel=1))):
        wait_for(lambda: outbox.counts() == {("crm", "sent"): 2})
    assert sorted(call.id for call in receiver.calls) == ["a", "b"]


def test_retries_wait_longer_and_longer_at_random_and_never_longer_than_a_quarter_of_an_hour() -> None:
    luck = random.Random(3)
    waits = {n: [retry_seconds(n, luck) for _ in range(400)] for n in (1, 4, 8, 50)}
    assert all(0.05 <= w <= min(900, 2.0 ** (n - 1)) for n, found in waits.items() for w in found)
    assert sum(waits[4]) / 400 == pytest.approx(4.0, rel=0.15)
    assert max(waits[50]) > 800


def _worker(url: str, hook_url: str, killed_at: int = 0) -> subprocess.Popen[bytes]:
    """A delivery in a process of its own."""
    code = (
        "import sys, time; from tests.serve.alerts.test_delivery import *;"
        "config = configured(hook(sys.argv[2])); delivery = running(Database.open(sys.argv[1]), config).__enter__();"
        "time.sleep(60)"
    )
    return subprocess.Popen([sys.executable, "-c", code, url, hook_url])


def test_a_worker_killed_between_sending_and_writing_it_down_loses_nothing(store_url: str) -> None:
    """The receiver kills the worker with SIGKILL while it waits for the answer: what it had claimed comes again."""
    database, workers = Database.open(store_url), list[subprocess.Popen[bytes]]()
    outbox = put(database, *[f"a{k}" for k in range(30)])

    def deadly(call: Call) -> Answer:
        if len(receiver.calls) == 5:
            os.kill(workers[0].pid, signal.SIGKILL)
        return Answer()

    receiver = Receiver(deadly)
    workers.append(_worker(store_url, receiver.url))
    assert workers[0].wait(30) == -signal.SIGKILL
    assert outbox.counts()["crm", "waiting"] > 0
    ahead = timedelta(minutes=5)  # the dead worker's leases have ended
    with running(database, configured(hook(receiver.url)), clock=lambda: datetime.now(UTC) + ahead):
        wait_for(lambda: outbox.counts() == {("crm", "sent"): 30})
    got = Counter(call.id for call in receiver.calls)
    assert set(got) == {f"a{k}" for k in range(30)}
    assert sum(got.values()) > 30, "something was sent again, under the same id"
    receiver.close()
    database.close()


@pytest.fixture
def mail() -> Iterator[MailServer]:
    opened = MailServer()
    yield opened
    opened.close()


def mailbox(url: str, **settings: Any) -> dict[str, Any]:
    usual = {"name": "mail", "kind": "email", "url": url, "sender": "shop@example.org", "to": ["a@example.org"]}
    return {**usual, "starttls": False, "timeout": "2s", **settings}


def test_a_letter_says_what_was_seen_and_keeps_its_id(embedded: Database, mail: MailServer) -> None:
    outbox = put(embedded, "alr_1", channel="mail")
    with running(embedded, configured(mailbox(mail.url, to=["a@example.org", "b@example.org"]))):
        wait_for(lambda: outbox.counts() == {("mail", "sent"): 1})
    (got,) = mail.letters
    assert got["Message-ID"] == "<alr_1@example.org>"
    assert got["To"] == "a@example.org, b@example.org"
    assert got["Subject"] == "Customer alert: risk"
    assert "Churn probability: 83%" in got.get_payload(decode=True).decode()  # type: ignore[union-attr]


def test_a_letter_is_written_in_the_shops_language() -> None:
    body = orjson.dumps({"type": "t", "timestamp": "x", "data": {**DATA, "reasons": [{"text": "好久没来了"}]}})
    channel = configured(mailbox("smtp://localhost")).channel[0]
    made = letter(channel, Message(1, "mail", "alr_1", 0, 0, 1, "u", "", body), "zh")
    assert made["Subject"] == "顾客提醒：risk"
    assert "流失概率：83%" in made.get_content()
    assert "- 好久没来了" in made.get_content()


@pytest.mark.parametrize(
    ("refuse", "settings", "reason"),
    [
        ({"RCPT": "550 nobody"}, {}, "smtp_failed"),
        ({"DATA": "451 later"}, {}, "smtp_451"),
        ({}, {"starttls": True}, "no_tls"),
    ],
)
def test_a_mail_server_that_refuses_is_tried_again(
    embedded: Database, refuse: dict[str, str], settings: dict[str, Any], reason: str
) -> None:
    server, outcomes = MailServer(refuse), list[Outcome]()
    put(embedded, "a", channel="mail")
    config = configured(mailbox(server.url, **settings))
    with running(embedded, config, told=lambda message, outcome: outcomes.append(outcome)):
        wait_for(lambda: outcomes)
    assert outcomes[0].reason == reason
    server.close()


def test_the_log_holds_nothing_of_a_person(embedded: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    outbox = put(embedded, "a", channel="log")
    with running(embedded, configured({"name": "log", "kind": "log"})):
        wait_for(lambda: outbox.counts() == {("log", "sent"): 1})
    assert "alert alr of rule risk was opened" in caplog.text
    assert "u7" not in caplog.text


def test_a_delivery_can_run_in_a_loop_of_the_callers(embedded: Database, receiver: Receiver) -> None:
    outbox, config = put(embedded, "a"), configured(hook(receiver.url))
    delivery = Delivery(
        config, embedded, "shop", make_senders(config, {"HOOK": SecretStr(SECRET)}), withdrawn=lambda p, u, n: set()
    )

    async def go() -> None:
        stop = asyncio.Event()
        work = asyncio.create_task(delivery.run(stop))
        while outbox.counts() != {("crm", "sent"): 1}:
            await asyncio.sleep(0.02)
        stop.set()
        await work

    asyncio.run(asyncio.wait_for(go(), 20))
