"""A trained shop whose service is disturbed: senders that do not give up, receivers of alerts, and the count at the end."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
from redis import Redis
from redis.exceptions import RedisError

from ebbtide.core.config import load_config
from ebbtide.core.errors import RetryError
from ebbtide.pipeline.landing import land
from ebbtide.pipeline.places import Places
from ebbtide.store.database import Database
from ebbtide.store.inbox import SCORED, Cursors, Inbox
from ebbtide.store.outbox import Outbox
from ebbtide.store.timers import Timers
from serve_shop import CONFIG, Served, make_key, user_name

SECRET = "EBBTIDE_BENCHMARK_SECRET"
TOPIC = "events"
VIEWS, QUIET_SECONDS, WITHIN = 19, 180.0, 5
RULES = f"""
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
within = "{WITHIN}s"
"""
CHANNEL = """
[[channel]]
name = "{name}"
kind = "webhook"
url = "http://127.0.0.1:{port}/"
allow_private = true
secret_env = ["{secret}"]
timeout = "2s"
"""


class _Quiet(ThreadingHTTPServer):
    """Says nothing of callers that were killed."""

    def handle_error(self, *_: object) -> None: ...


class Receiver:
    """Takes webhooks; `arrived`: user -> ids, each as often as it came. It can be deaf (refuses all) or slow now and then."""

    def __init__(self, name: str = "hook", *, slow: float = 0.0) -> None:
        self.name, self.slow, self.is_deaf = name, slow, False
        self.arrived: dict[str, list[str]] = {}
        self._lock, self._random = threading.Lock(), np.random.default_rng(0)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if len(body) < int(self.headers["content-length"]):
                    return  # the caller was killed while it told
                self.send_response(receiver.take(json.loads(body)["data"]["user_id"], self.headers["webhook-id"]))
                self.send_header("content-length", "0")
                with contextlib.suppress(OSError):
                    self.end_headers()

            def log_message(self, *_: object) -> None: ...

        server = _Quiet(("127.0.0.1", 0), Handler)
        self.port = int(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def take(self, user: str, message_id: str) -> int:
        """One call; the status to answer with."""
        if self.is_deaf:
            return 503
        with self._lock:
            self.arrived.setdefault(user, []).append(message_id)
            hangs = self._random.random() < self.slow
        if hangs:
            time.sleep(3.0)  # longer than the channel waits: it will send again
        return 200

    @property
    def deliveries(self) -> int:
        with self._lock:
            return sum(map(len, self.arrived.values()))


class Sender:
    """Sends batches of views with one cart by a customer never seen before, each batch again until it is taken.

    `accepted`: ids of events whose taking was answered; `carts`: the customers of carts among them.
    """

    def __init__(self, name: str, users: int, *, pause: float = 0.1) -> None:
        self.name, self.accepted, self.carts, self.tries = name, list[str](), set[str](), 0
        self.statuses: Counter[int] = Counter()
        self._users, self._pause = users, pause
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(60)

    def wait_for_next(self) -> None:
        """Until a batch is taken that was not taken yet."""
        before = len(self.accepted)
        while len(self.accepted) == before:
            time.sleep(0.005)

    def send(self, events: list[dict[str, object]]) -> bool:
        raise NotImplementedError

    def _run(self) -> None:
        for number in itertools.count():
            ids = [f"live-{self.name}-{number}-{k}" for k in range(VIEWS + 1)]
            cart = f"cart-{self.name}-{number}"
            while not self.send(self._events(ids, cart, number)):
                self.tries += 1
                if self._end.wait(0.02):
                    return
            self.accepted += ids
            self.carts.add(cart)
            if self._end.wait(self._pause):
                return

    def _events(self, ids: list[str], cart: str, number: int) -> list[dict[str, object]]:
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        views = [
            {
                "event_id": i,
                "user_id": user_name((VIEWS * number + k) % self._users),
                "type": "product_view",
                "occurred_at": now,
            }
            for k, i in enumerate(ids[1:])
        ]
        return [{"event_id": ids[0], "user_id": cart, "type": "cart_add", "occurred_at": now, "item_id": "i1"}, *views]


class HttpSender(Sender):
    """By `POST /v1/events`."""

    def __init__(self, url: str, key: str, name: str, users: int, *, pause: float = 0.1) -> None:
        super().__init__(name, users, pause=pause)
        self._url, self._key = f"{url}/v1/events", key

    def send(self, events: list[dict[str, object]]) -> bool:
        status = self.post(json.dumps({"events": events}).encode())
        self.statuses[status] += 1
        return status == 202

    def post(self, body: bytes) -> int:
        """The status, 0 if there was no answer."""
        told = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(self._url, body, told), timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as fault:
            return int(fault.code)
        except OSError:
            return 0


class StreamSender(Sender):
    """By a Redis stream, one message an event."""

    def __init__(self, url: str, name: str, users: int, *, pause: float = 0.1) -> None:
        super().__init__(name, users, pause=pause)
        self._redis = Redis.from_url(url, socket_timeout=5.0, socket_connect_timeout=1.0)

    def send(self, events: list[dict[str, object]]) -> bool:
        return all(self.put(json.dumps(event).encode()) for event in events)

    def put(self, body: bytes) -> bool:
        """Whether Redis has taken the message."""
        with contextlib.suppress(RedisError, OSError):
            self._redis.xadd(TOPIC, {"event": body})
            return True
        return False


@dataclass
class Site:
    """A workspace of its own, its processes, senders and receivers."""

    root: Path
    users: int
    served: list[Served]
    receivers: list[Receiver]
    key: str
    senders: list[Sender] = field(default_factory=list)
    back: dict[str, list[float]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.served[0].url

    def recovered(self, what: str, since: float) -> None:
        """The service is as before; `since`: by `time.perf_counter`, when it could begin to recover."""
        self.back.setdefault(what, []).append(time.perf_counter() - since)

    def database(self) -> Database:
        return Database.open(Places(self.root).store_url(load_config(self.root / "ebbtide.toml", environ={})))

    def settle(self) -> str:
        """Stop the senders and wait until everything is scored and every alert is sent; says what is left if it takes long."""
        for sender in self.senders:
            sender.stop()
        database, end = self.database(), time.monotonic() + QUIET_SECONDS
        inbox, left = Inbox(database), ""
        while time.monotonic() < end:
            unscored = inbox.count("shop", Cursors(database).position("shop", SCORED))
            waiting = sum(n for (_, state), n in Outbox(database, "shop").counts().items() if state == "waiting")
            timers = Timers(database).next_due_us("shop") is not None
            left = ", ".join(
                word for word, is_so in (("unscored", unscored), ("unsent", waiting), ("timers", timers)) if is_so
            )
            if not left:
                break
            time.sleep(0.25)
        database.close()
        return left

    def landed(self) -> pl.DataFrame:
        """What came live and is in the lake, once all of it has landed."""
        config, database = load_config(self.root / "ebbtide.toml", environ={}), self.database()
        while True:
            with contextlib.suppress(RetryError):
                if not land(Inbox(database), "shop", self.root, config.lake).rows:
                    break
        database.close()
        lake, columns = Places(self.root).lake(), ["event_id", "user_id", "occurred_at", "ingested_at"]
        whole = pl.concat([lake.read_bucket(bucket, columns) for bucket in lake.buckets()])
        return whole.filter(pl.col("event_id").str.starts_with("live-"))

    def report(self, name: str, faults: int, left: str) -> bool:
        """Print one line of figures; whether all of them are as they must be."""
        landed = self.landed()
        found = landed["event_id"].to_list()
        belated = landed.filter(pl.col("ingested_at") - pl.col("occurred_at") >= pl.duration(seconds=2 * WITHIN))
        accepted, carts = {i for s in self.senders for i in s.accepted}, {c for s in self.senders for c in s.carts}
        late = carts & set(belated["user_id"])  # the rule wants no alert of what is told so late
        carts -= late
        lost, doubled = len(accepted - set(found)), len(found) - len(set(found))
        untold = [len(carts - set(r.arrived)) for r in self.receivers]
        ids = max((len(set(i)) for r in self.receivers for i in r.arrived.values()), default=0)
        sent = sum(r.deliveries for r in self.receivers)
        distinct = [len({i for told in r.arrived.values() for i in told}) for r in self.receivers]
        worst = max((max(seconds) for what, seconds in self.back.items() if "CPU" not in what), default=0.0)
        print(
            f"{name}: {faults} faults; {len(accepted):,} events accepted, {len(found):,} in the lake, lost {lost}, doubled "
            f"{doubled}; alerts due {len(carts):,}, sent {sent:,}, distinct ids {distinct}, not told {untold}, told too late for the rule {len(late)}, ids an alert at "
            f"most {ids}; recovery worst {worst:.1f} s{'; left: ' + left if left else ''}",
            flush=True,
        )
        for what, seconds in self.back.items():
            print(f"    {what}: {len(seconds)} times, median {np.median(seconds):.2f} s, worst {max(seconds):.2f} s")
        tries = sum(s.tries for s in self.senders)
        statuses = sum((s.statuses for s in self.senders), Counter[int]())
        print(f"    calls that were made again {tries:,}; answers {dict(sorted(statuses.items()))}", flush=True)
        return not (lost or doubled or any(untold) or ids > 1 or left or worst > 10.0)


@contextlib.contextmanager
def disturbed(
    template: Path, root: Path, *, roles: Sequence[str] = ("all",), store: str = "", extra: str = "",
    receivers: Sequence[Receiver] = (), command: Sequence[str] = (), users: int = 2_000, pause: float = 0.1,
) -> Iterator[Site]:  # fmt: skip
    """A copy of the shop, served, with two senders at work. The processes end with the block."""
    os.environ[SECRET] = "whsec_" + base64.b64encode(b"0" * 32).decode()
    shutil.copytree(template, root, dirs_exist_ok=True)
    line, hooks = f'store = "{store}"' if store else "", list(receivers) or [Receiver()]
    channels = "".join(CHANNEL.format(name=hook.name, port=hook.port, secret=SECRET) for hook in hooks)
    config = CONFIG.format(land_every="500ms", store=f"{line}\n{extra}") + RULES + channels
    (root / "ebbtide.toml").write_text(config, encoding="utf-8")
    served = [Served(root, role, command=tuple(command), log=root.parent / f"{root.name}.log") for role in roles]
    site = Site(root, users, served, hooks, make_key(root))
    try:
        for one in served:
            one.start()
        site.senders = [HttpSender(site.url, site.key, f"{root.name}{n}", users, pause=pause) for n in range(2)]
        for sender in site.senders:
            sender.start()
        yield site
    finally:
        for one in served:
            if one.process is not None and one.process.poll() is None:
                one.stop()
