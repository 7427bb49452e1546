"""A webhook is signed as the standard says, goes to the address that was checked, and believes no receiver."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from tests.serve.alerts.receivers import Answer, Call, Receiver, closed_port

from ebbtide.core.alert_settings import ChannelConfig
from ebbtide.core.config import read_secrets
from ebbtide.core.errors import ConfigError
from ebbtide.serve.addresses import may_call
from ebbtide.serve.sending import Outcome
from ebbtide.serve.webhook import WebhookSender
from ebbtide.store.outbox import Message

NEW, OLD = (f"whsec_{base64.b64encode(bytes([k]) * 32).decode()}" for k in (1, 2))
MESSAGE = Message(1, "crm", "alr_1", 0, 0, 1, "u", "", '{"type":"alert.opened","data":{"x":"é"}}'.encode())


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    opened: list[Receiver] = []

    def make(answer: Callable[[Call], Answer] = lambda call: Answer()) -> Receiver:
        opened.append(Receiver(answer))
        return opened[-1]

    yield make
    for receiver in opened:
        receiver.close()


def send(url: str, *secrets: str, times: int = 1, **settings: Any) -> list[Outcome]:
    channel = ChannelConfig(
        **{"name": "crm", "kind": "webhook", "url": url, "allow_private": True, "timeout": "5s", **settings}
    )

    async def go() -> list[Outcome]:
        sender = WebhookSender(channel, [SecretStr(s) for s in secrets or (NEW,)])
        try:
            return [await sender.send(MESSAGE) for _ in range(times)]
        finally:
            await sender.close()

    return asyncio.run(go())


def test_a_receiver_can_verify_the_signature_with_the_new_secret_and_with_the_old_one(
    receive: Callable[..., Receiver],
) -> None:
    receiver = receive()
    assert send(receiver.url, NEW, OLD, times=2) == [Outcome(), Outcome()]
    first, second = receiver.calls
    assert first.id == second.id == "alr_1"
    assert first.body == MESSAGE.body
    for secret in (NEW, OLD):
        assert Webhook(secret).verify(first.body, first.headers)["data"] == {"x": "é"}
    with pytest.raises(WebhookVerificationError):
        Webhook(base64.b64encode(bytes(32)).decode()).verify(first.body, first.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(first.body.replace(b"opened", b"closed"), first.headers)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(204, body=b""), Outcome()),
        (Answer(500), Outcome("status_500")),
        (Answer(404), Outcome("status_404")),
        (Answer(503, {"retry-after": "7"}), Outcome("status_503", 7.0)),
        (Answer(429, {"retry-after": "999999"}), Outcome("status_429", 3600.0)),
        (Answer(429, {"retry-after": "whenever"}), Outcome("status_429")),
        (Answer(429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}), Outcome("status_429")),
        (Answer(410), Outcome("status_410", is_final=True)),
    ],
)
def test_only_a_success_has_arrived(receive: Callable[..., Receiver], answer: Answer, outcome: Outcome) -> None:
    assert send(receive(lambda call: answer).url) == [outcome]


def test_no_redirect_is_followed(receive: Callable[..., Receiver]) -> None:
    inside = receive()
    for status in (301, 302, 303, 307, 308):
        moved = receive(lambda call, status=status: Answer(status, {"location": inside.url}))
        assert send(moved.url) == [Outcome("redirected")]
    assert inside.calls == []


def test_a_receiver_that_hangs_or_is_not_there_is_given_up_in_time(receive: Callable[..., Receiver]) -> None:
    hold = threading.Event()
    assert send(receive(lambda call: Answer(hold=hold)).url, timeout="300ms") == [Outcome("timeout")]
    hold.set()
    assert send(f"http://127.0.0.1:{closed_port()}/") == [Outcome("unreachable")]
    assert send("http://no-such-host.invalid/") == [Outcome("unresolved")]


def test_an_endless_answer_is_not_read_to_its_end(receive: Callable[..., Receiver]) -> None:
    huge = receive(lambda call: Answer(200, body=b"x" * 50_000_000))
    assert send(huge.url, times=2) == [Outcome(), Outcome()]


def test_a_name_that_leads_inside_is_refused_and_nobody_is_called(
    receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if only one of its addresses does, and if it changes between two questions: the checked address is used."""
    receiver = receive()
    port = int(receiver.url.split(":")[2].split("/")[0])
    assert send(f"https://localhost:{port}/hook", allow_private=False) == [Outcome("address_refused")]
    answers = iter([["93.184.216.34", "127.0.0.1"], ["127.0.0.1"], ["169.254.169.254"]])

    def changing(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in next(answers)]

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    assert send("https://shop.example/hook", allow_private=False) == [Outcome("address_refused")]
    assert send(f"http://shop.example:{port}/hook") == [Outcome()], "one question, one connection to what it said"
    assert receiver.calls[0].headers["host"] == f"shop.example:{port}"
    assert send("http://shop.example/hook") == [Outcome("address_refused")], "metadata stay closed, allowed or not"
    assert len(receiver.calls) == 1


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.1.1", "100.100.100.200", "0.0.0.0",
     "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1",
     "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "::7f00:1", "::a00:1", "::ffff:0:7f00:1", "fec0::1",
     "2001:db8::1", "192.0.2.1"],
)  # fmt: skip
def test_addresses_inside_are_refused(address: str) -> None:
    assert not may_call(ip_address(address))


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public_addresses_are_called(address: str) -> None:
    assert may_call(ip_address(address))


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "fe80::1", "fd00:ec2::254", "0.0.0.0", "224.0.0.1"],
)  # fmt: skip
def test_some_addresses_are_refused_even_where_private_ones_are_allowed(address: str) -> None:
    assert not may_call(ip_address(address), allow_private=True)
    assert may_call(ip_address("10.0.0.1"), allow_private=True)
    assert may_call(ip_address("::1"), allow_private=True)


def test_secrets_come_from_the_environment_and_are_never_shown() -> None:
    with pytest.raises(ConfigError, match=r"variable HOOK_A .*\n.*variable HOOK_B"):
        read_secrets(["HOOK_A", "HOOK_B", "HOOK_A"], environ={"HOOK_B": ""})
    secrets = read_secrets(["HOOK_A"], environ={"HOOK_A": NEW})
    assert NEW not in repr(secrets)
    channel = ChannelConfig(name="crm", kind="webhook", url="https://example.org/?token=hunter2", secret_env=["HOOK_A"])
    assert "hunter2" not in repr(channel)
    for bad in ("whsec_", "not base64 at all!", "whsec_c2hvcnQ="):
        with pytest.raises(ConfigError, match="at least 24 random bytes") as caught:
            WebhookSender(channel, [SecretStr(bad)])
        assert bad == "whsec_" or bad not in str(caught.value)
