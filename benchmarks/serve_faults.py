"""Killed a hundred times: is any accepted event lost or doubled, and how soon is the service back?

    python benchmarks/serve_faults.py [--kills 100] [--users 2000] [--store URL] [--seed 0] [--longest 3.0]

`api`, `worker` and `scheduler` in processes of their own. At random moments, at most `--longest` seconds apart, one of them,
drawn at random, gets SIGKILL while two senders bring events, each batch again until it is answered; it is started anew at once,
as systemd would. Recovery: from the kill to the first answer (of /healthz for worker and scheduler, of events for the api), with
the start of Python and all libraries in it. At the end everything lands, and the lake is compared with what was answered.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import tempfile
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ebbtide.core.config import load_config
from ebbtide.pipeline.landing import land
from ebbtide.pipeline.places import Places
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox
from machine import machine_line
from serve_shop import Served, make_key, make_shop, serving, user_name

BATCH = 50


def main() -> None:
    asked = arguments()
    print(machine_line())
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shop"
        make_shop(root, asked.users, land_every="500ms", store=asked.store)
        key = make_key(root)
        served = [Served(root, role) for role in ("api", "worker", "scheduler")]
        back: dict[str, list[float]] = {one.role: [] for one in served}
        with serving(*served):
            senders = [Sender(served[0].url, key, f"k{n}", asked.users) for n in range(2)]
            for _ in range(asked.kills):
                time.sleep(rng.uniform(0.0, asked.longest))
                victim = rng.choice(served)
                start = time.perf_counter()
                victim.kill()
                victim.start()
                if victim.role == "api":
                    senders[0].wait_for_next()
                back[victim.role].append(time.perf_counter() - start)
            for sender in senders:
                sender.stop()
            codes = [one.stop() for one in served]
        for role, seconds in back.items():
            s = np.array(seconds or [np.nan])
            print(f"{role}: {len(seconds)} kills, back after median {np.median(s):.1f} s, worst {np.max(s):.1f} s")
        print(f"exit codes after SIGTERM: {codes}")
        compare(root, [i for s in senders for i in s.answered], sum(s.unanswered for s in senders))


def compare(root: Path, answered: list[str], unanswered: int) -> None:
    config = load_config(root / "ebbtide.toml", environ={})
    database = Database.open(Places(root).store_url(config))
    while land(Inbox(database), "shop", root, config.lake).rows:
        pass
    database.close()
    lake, found = Places(root).lake(), list[str]()
    for bucket in lake.buckets():
        ids = lake.read_bucket(bucket, ["event_id"])["event_id"]
        found += ids.filter(ids.str.starts_with("k")).to_list()
    lost, doubled = len(set(answered) - set(found)), len(found) - len(set(found))
    print(
        f"{len(answered):,} events answered, calls that failed and were made again {unanswered:,}: "
        f"lost {lost}, doubled {doubled}, in the lake without an answer {len(set(found) - set(answered))}"
    )


class Sender:
    """Sends batches, each until it is answered."""

    def __init__(self, url: str, key: str, name: str, users: int) -> None:
        self._url, self._key, self._name, self._users = f"{url}/v1/events", key, name, users
        self.answered: list[str] = []
        self.unanswered = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def wait_for_next(self) -> None:
        before = len(self.answered)
        while len(self.answered) == before:
            time.sleep(0.005)

    def _run(self) -> None:
        for number in itertools.count():
            ids = [f"{self._name}-{number}-{k}" for k in range(BATCH)]
            while not self._sent(ids):
                self.unanswered += 1
                if self._stop.wait(0.02):
                    return
            self.answered += ids
            if self._stop.is_set():
                return

    def _sent(self, ids: list[str]) -> bool:
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        rows = [
            {"event_id": i, "user_id": user_name(hash(i) % self._users), "type": "product_view", "occurred_at": now}
            for i in ids
        ]
        call = urllib.request.Request(
            self._url, json.dumps({"events": rows}).encode(),
            {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
        )  # fmt: skip
        with contextlib.suppress(OSError, urllib.error.URLError):
            return bool(urllib.request.urlopen(call, timeout=20).status == 202)
        return False


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--store", default="", help="url of the store; default: embedded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=3.0, help="most seconds between two kills")
    return parser.parse_args()


if __name__ == "__main__":
    main()
