"""How long from an event to the delivered alert that it causes, while 2,000 events a second come in?

    python benchmarks/serve_alerts.py [--seconds 120] [--rate 20] [--probes 10] [--users 20000]

Background: calls of 100 views, `--rate` a second, from a load generator in a second process. Beside it, `--probes` times a second,
one customer who has not been probed puts something in the cart; the rule is "cart, and no order within 5 s", delivered by a signed
webhook to a receiver in this process. An alert is due 5 s after its event; told is the time from the event to its delivery less
those five: intake, scoring, timer, outbox and the call. Every probe must be delivered, and a second delivery must carry the same id.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import tempfile
import threading
import time
import urllib.request
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from machine import machine_line
from serve_shop import Served, load, make_key, make_shop, quantiles, serving, user_name

WITHIN = 5.0
RULES = """
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
within = "5s"
[[channel]]
name = "hook"
kind = "webhook"
url = "http://127.0.0.1:{port}/"
allow_private = true
secret_env = ["EBBTIDE_BENCHMARK_SECRET"]
"""


def main() -> None:
    asked = arguments()
    print(machine_line())
    os.environ["EBBTIDE_BENCHMARK_SECRET"] = "whsec_" + base64.b64encode(b"0" * 32).decode()
    receiver = Receiver()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shop"
        make_shop(root, asked.users)
        with (root / "ebbtide.toml").open("a", encoding="utf-8") as file:
            file.write(RULES.format(port=receiver.port))
        key, served = make_key(root), Served(root)
        with serving(served):
            common = ("--port", str(served.port), "--key", key, "--batch", "100", "--users", str(asked.users // 2))
            load(*common, "--seconds", "5", "--rate", "5")
            prober = Prober(served.url, key, asked)
            told = load(*common, "--seconds", str(asked.seconds), "--rate", str(asked.rate))
            prober.stop()
            time.sleep(10.0)
        spent = float(str(told["seconds"]))
        print(f"{int(str(told['accepted'])) / spent:,.0f} events/s in the background; answers {told['statuses']}")
        arrived = {user: moments for user, moments in receiver.arrived.items() if user in prober.sent}
        waits = np.array([min(m)[0] - prober.sent[user] - WITHIN for user, m in arrived.items()])
        ids = [len({i for _, i in m}) for m in arrived.values()]
        print(f"{len(prober.sent)} probes, {len(arrived)} delivered, ids a probe at most {max(ids, default=0)}")
        print(f"from event to delivery, less the five seconds of the rule: {quantiles(waits)}")


class Receiver:
    """Takes webhooks; `arrived`: user -> (moment, message id) of each."""

    def __init__(self) -> None:
        arrived: dict[str, list[tuple[float, str]]] = {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                now, body = time.time(), self.rfile.read(int(self.headers["content-length"]))
                arrived.setdefault(json.loads(body)["data"]["user_id"], []).append((now, self.headers["webhook-id"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.arrived = arrived
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()


class Prober:
    """Sends one cart event at a time; `sent`: user -> when it happened. Its users are none of the background's."""

    def __init__(self, url: str, key: str, asked: argparse.Namespace) -> None:
        self._url, self._key, self._asked = f"{url}/v1/events", key, asked
        self.sent: dict[str, float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        number = self._asked.users // 2
        while not self._end.wait(1.0 / self._asked.probes) and number < self._asked.users:
            user, now = user_name(number), time.time()
            at = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
            one = {
                "event_id": f"probe-{number}",
                "user_id": user,
                "type": "cart_add",
                "occurred_at": at,
                "item_id": "i1",
            }
            call = urllib.request.Request(
                self._url, json.dumps({"events": [one]}).encode(),
                {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
            )  # fmt: skip
            with urllib.request.urlopen(call, timeout=30) as answer:
                assert answer.status == 202
            self.sent[user] = now
            number += 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=20.0, help="calls of 100 events a second")
    parser.add_argument("--probes", type=float, default=10.0, help="alerts a second")
    parser.add_argument("--users", type=int, default=20_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
