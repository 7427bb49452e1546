"""Faults: whatever is killed, cut, full or wrong, every event that was answered `accepted` is in the lake exactly once."""

from __future__ import annotations

import base64
import json
import random
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from tests.pipeline.conftest import UNTIL, Trained
from tests.serve.alerts.receivers import Answer, Call, Receiver
from tests.serve.conftest import Site
from tests.serve.live import Live, Sender, event, wait_for
from tests.serve.proxy import Proxy

from ebbtide.core.config import load_config
from ebbtide.core.errors import RetryError
from ebbtide.core.settings import LakeConfig
from ebbtide.core.windows import to_us
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.pipeline.landing import land
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import rescore_everybody, rescore_touched
from ebbtide.serve.app import make_app
from ebbtide.serve.service import Service, make_service
from ebbtide.serve.worker import make_loops
from ebbtide.store.audit import Audit
from ebbtide.store.database import Database
from ebbtide.store.inbox import SCORED, Cursors, Inbox, Incoming
from ebbtide.store.keys import Keys
from ebbtide.store.shops import Shops

KILLS = 6
TOML = """
[[source]]
path = "data/*.parquet"
columns = { user_id = "user_id", occurred_at = "occurred_at", type = "type" }
[churn]
horizon = "30d"
[serve]
land_every = "200ms"
rescore_every = "50ms"
"""
ALERTS = """
[campaign]
holdout = 0.0
[alerts]
daily_cap = 0
user_cap = 0
[[alert]]
name = "cart-left"
when = "unfollowed"
did = ["cart_add"]
but_not = ["order"]
within = "10s"
[[channel]]
name = "crm"
kind = "webhook"
url = "{url}"
allow_private = true
timeout = "1s"
secret_env = ["EBBTIDE_TEST_HOOK"]
"""


@pytest.fixture
def root(trained: Trained, tmp_path: Path) -> Path:
    """A workspace of its own with a trained model and a config file."""
    shutil.copytree(trained.shop.root, tmp_path / "shop")
    (tmp_path / "shop" / "ebbtide.toml").write_text(TOML, encoding="utf-8")
    return tmp_path / "shop"


@pytest.fixture
def key(root: Path) -> str:
    database = Database.open(f"sqlite:///{root}/.ebbtide/service.db")
    Shops(database).register("shop")
    made = Keys(database).create("shop", "test", ["admin"], now_us=0)
    database.close()
    return made.secret


@pytest.fixture
def live(root: Path, tmp_path: Path) -> Iterator[Live]:
    service = Live(root, log=tmp_path / "log")
    yield service
    service.end()


def landed_ids(root: Path, database: Database) -> list[str]:
    """The ids of the live events in the lake, once everything of the inbox has landed."""

    def nothing_is_left() -> bool:
        with suppress(RetryError):  # a loop of the service may be landing just now
            return not land(Inbox(database), "shop", root, LakeConfig()).rows
        return False

    wait_for(nothing_is_left, "the end of landing")
    lake = Lake.open(lake_folder(root))
    return [i for b in lake.buckets() for i in lake.read_bucket(b, ["event_id"])["event_id"] if i.startswith("live-")]


def assert_each_once(root: Path, senders: list[Sender]) -> None:
    """What was answered is there, once; an event that was sent and not answered may be there, once."""
    database = Database.open(f"sqlite:///{root}/.ebbtide/service.db")
    found = landed_ids(root, database)
    database.close()
    answered = {i for s in senders for i in s.answered}
    assert answered, "nothing was answered at all"
    assert len(found) == len(set(found))
    assert answered <= set(found)
    assert len(set(found) - answered) <= sum(s.batch for s in senders)


@pytest.fixture
def hook(root: Path, live: Live) -> Iterator[Receiver]:
    """Takes the alerts of a rule, and hangs for longer than the channel waits in one call of ten."""
    hang, rng = threading.Event(), random.Random(7)

    def answer(_: Call) -> Answer:
        return Answer(hold=hang if rng.random() < 0.1 else None)

    receiver = Receiver(answer)
    with (root / "ebbtide.toml").open("a", encoding="utf-8") as file:
        file.write(ALERTS.format(url=receiver.url))
    live.environment["EBBTIDE_TEST_HOOK"] = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    yield receiver
    hang.set()
    receiver.close()


@pytest.mark.timeout(240)
def test_killed_at_random_moments_no_accepted_event_is_lost_or_doubled_and_every_alert_is_told_under_one_id(
    root: Path, key: str, live: Live, hook: Receiver
) -> None:
    rng = random.Random(5)
    live.start()
    with Sender(live.url, key, "a") as one, Sender(live.url, key, "b") as two:
        for _ in range(KILLS):
            before = one.statuses[202]
            wait_for(lambda before=before: one.statuses[202] > before, "an answer")  # type: ignore[misc]
            time.sleep(rng.uniform(0, 0.4))
            live.kill()
            live.start()
        before = one.statuses[202]
        wait_for(lambda: one.statuses[202] > before, "an answer")
    carts = one.carts | two.carts
    wait_for(lambda: carts <= {call.data["user_id"] for call in hook.calls}, "an alert of every cart")
    assert live.stop() == 0
    assert len({(call.data["user_id"], call.id) for call in hook.calls}) == len({call.id for call in hook.calls})
    assert len({call.data["user_id"] for call in hook.calls}) == len({call.id for call in hook.calls})
    assert one.statuses[0] + two.statuses[0] >= KILLS / 2, "the killer met nobody"
    assert_each_once(root, [one, two])


@pytest.mark.timeout(120)
def test_asked_to_stop_it_answers_what_is_in_flight_and_writes_the_audit(root: Path, key: str, live: Live) -> None:
    live.start()
    headers = {"Authorization": f"Bearer {key}"}
    with Sender(live.url, key, "a") as one, Sender(live.url, key, "b") as two, httpx.Client(headers=headers) as http:
        wait_for(lambda: min(one.statuses[202], two.statuses[202]) > 3, "answers")
        reads = sum(http.get(f"{live.url}/v1/at-risk?limit=1").status_code == 200 for _ in range(25))
        assert live.stop() == 0
    assert_each_once(root, [one, two])
    database = Database.open(f"sqlite:///{root}/.ebbtide/service.db")
    actions = [entry.action for _, entry in Audit(database).entries("shop", limit=1000)]
    database.close()
    assert reads == actions.count("list.read") == 25


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
@pytest.mark.timeout(120)
def test_on_a_full_disk_events_are_refused_and_later_taken_and_questions_are_answered_throughout(
    root: Path, key: str, live: Live
) -> None:
    """No file may grow: what a full disk looks like to a process."""
    import resource  # noqa: PLC0415 - not on every platform

    live.log = Path("/dev/null")
    live.start()
    user = {"Authorization": f"Bearer {key}"}
    with Sender(live.url, key, "a") as sender:
        wait_for(lambda: sender.statuses[202] > 3, "an answer")
        before = resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        wait_for(lambda: sender.statuses[503] > 3, "a refusal")
        refused, taken = sender.statuses[503], sender.statuses[202]
        assert httpx.get(f"{live.url}/v1/at-risk?limit=1", headers=user).status_code == 200
        wait_for(lambda: sender.statuses[503] > refused + 3, "another refusal")
        assert sender.statuses[202] == taken
        resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE, before)
        wait_for(lambda: sender.statuses[202] > taken, "an answer again")
    assert live.stop() == 0
    assert_each_once(root, [sender])


@pytest.fixture
def cut_off(root: Path, postgres_url: str) -> Iterator[tuple[Service, Proxy]]:
    """A service over PostgreSQL behind a proxy that can be cut."""
    url = httpx.URL(postgres_url.replace("postgresql+psycopg", "http"))
    proxy = Proxy(url.host, url.port or 5432)
    database = Database.open(postgres_url.replace(f"{url.host}:{url.port or 5432}", f"127.0.0.1:{proxy.port}"))
    config = load_config(root / "ebbtide.toml", environ={})
    shop = LiveShop(config, root, "shop", database, clock=lambda: UNTIL)
    shop.serve_promoted()
    service = make_service(config.serve, database, {"shop": shop}, clock=lambda: UNTIL)
    loops = make_loops(service)
    for loop in loops:
        loop.start()
    yield service, proxy
    proxy.mend()
    for loop in loops:
        assert loop.is_running
        loop.stop()
    service.close()
    proxy.close()


@pytest.mark.timeout(120)
def test_when_postgresql_goes_away_calls_are_refused_and_everything_goes_on_when_it_is_back(
    cut_off: tuple[Service, Proxy], root: Path
) -> None:
    service, proxy = cut_off
    secret = Keys(service.database).create("shop", "test", ["admin"], now_us=0).secret
    taken = 0

    def send(client: TestClient) -> int:
        nonlocal taken
        body = {"events": [event(f"live-pg-{taken}", "u1")]}
        status = client.post("/v1/events", json=body, headers={"Authorization": f"Bearer {secret}"}).status_code
        taken += status == 202
        return int(status)

    def failures() -> float:
        told = {"loop": "touched", "code": "retry"}
        return service.metrics.registry.get_sample_value("ebbtide_loop_failures_total", told) or 0.0

    with TestClient(make_app(service), raise_server_exceptions=False) as client:
        for _ in range(3):
            wait_for(lambda: send(client) == 202, "an answer")
            before = failures()
            proxy.cut()
            assert send(client) == 503
            wait_for(lambda before=before: failures() > before, "a failure of the loop")  # type: ignore[misc]
            proxy.mend()
        wait_for(lambda: send(client) == 202, "an answer")
        wait_for(lambda: client.get("/readyz").status_code == 200, "readiness")
        seen = Cursors(service.database)
        wait_for(lambda: seen.position("shop", SCORED) == service.shops["shop"].inbox.newest("shop"), "a score")
    assert sorted(landed_ids(root, service.database)) == sorted(f"live-pg-{n}" for n in range(taken))
    assert not service.fuse.is_blown


def test_a_clock_that_is_set_back_moves_nothing_back(site: Site) -> None:
    """`ingested_at` never runs back, nor does the moment of an answer; what comes then is known at once."""
    shop, user = site.service.shops["shop"], site.shop.score().frame["user_id"][0]
    site.send(event("c-1", user))
    first = site.call("GET", f"/v1/users/{user}/risk").json()
    site.now -= timedelta(hours=5)
    site.send(event("c-2", user))
    second = site.call("GET", f"/v1/users/{user}/risk").json()
    assert second["as_of"] == first["as_of"]
    moments = [stored.fields["ingested_at"] for stored in shop.inbox.after("shop", 0, 10)]
    assert moments == [to_us(UNTIL)] * 2
    assert rescore_touched(shop).users == 1
    assert land(shop.inbox, "shop", shop.root, shop.config.lake).rows == 2


def test_a_store_that_was_lost_loses_no_event_that_comes_afterwards(site: Site, tmp_path: Path) -> None:
    """The lake counts the inbox by numbers; a new inbox must not begin with numbers that count as landed."""
    here = site.service.shops["shop"]
    site.send(event("live-1", "u1"), event("live-2", "u1"), event("live-3", "u2"))
    assert land(here.inbox, "shop", here.root, here.config.lake).rows == 3
    database = Database.open(f"sqlite:///{tmp_path}/new.db")
    again = LiveShop(here.config, here.root, "shop", database, clock=lambda: UNTIL)
    fields = {"user_id": "u1", "type": "order", "occurred_at": to_us(UNTIL)}
    again.inbox.add([Incoming("shop", "live-4", "u1", fields)], to_us(UNTIL))
    assert again.histories.of_users(["u1"])["event_id"].to_list()[-1] == "live-4"
    assert sorted(landed_ids(here.root, database)) == ["live-1", "live-2", "live-3", "live-4"]
    database.close()


NASTY: tuple[dict[str, Any], ...] = (
    {"value": 1e308}, {"value": -1e308, "type": "refund"}, {"value": 5e-324}, {"quantity": 1e300}, {"unit_price": 1e300},
    {"discount": 1e308}, {"rating": 1e300}, {"rating": -5}, {"occurred_at": "0001-01-01T00:00:00Z"},
    {"occurred_at": "1969-12-31T23:59:59Z"}, {"occurred_at": "9999-12-31T23:59:59Z"}, {"occurred_at": UNTIL.isoformat()},
    {"user_id": "\u202e\U0001f600'; drop table inbox; --"}, {"user_id": "u" * 256}, {"user_id": "a\x00b"},
    {"user_id": "\ud800"}, {"text": "\x00"}, {"text": "x" * 60_000}, {"query": "\ud83d"}, {"category": "c" * 5_000},
    {"properties": {"days_late": "soon"}, "type": "delivery"}, {"properties": {"days_late": 1e308}, "type": "delivery"},
    {"properties": {"a": [{"b": [1, None, True]}]}}, {"properties": "not an object"}, {"type": "order", "order_id": "o" * 4000},
    {"type": "never heard of"}, {"type": ""}, {"event_id": ""}, {"event_id": "i" * 10_000}, {"currency": "nothing"},
    {"value": "12,5"}, {"value": True}, {"value": []}, {"quantity": 2**63}, {"session_id": 17}, {"ingested_at": "2030-01-01"},
)  # fmt: skip


def test_no_poison_that_enters_stops_scoring_or_landing(site: Site) -> None:
    """Whatever of these is accepted can be scored, asked about and landed, beside a good event of the same user."""
    shop, user = site.service.shops["shop"], site.shop.score().frame["user_id"][0]
    entered = 0
    for number, nasty in enumerate(NASTY):
        body = json.dumps({"events": [{**event(f"n-{number}", user), **nasty}]})
        answer = site.call("POST", "/v1/events", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (202, 400), nasty
        entered += answer.json().get("accepted", 0)
    assert entered >= 10
    assert rescore_touched(shop).users >= 1
    assert site.call("GET", f"/v1/users/{user}/risk").status_code == 200
    assert land(shop.inbox, "shop", shop.root, shop.config.lake).rows == entered
    shop.histories.refresh()
    assert rescore_everybody(shop).users > 0
    assert site.call("GET", f"/v1/users/{user}/risk").status_code == 200
