"""Whatever breaks: is any accepted event lost or doubled, any alert not told, and how soon is the service back?

    python benchmarks/serve_faults.py [kills postgresql redis disk clock poison receivers] [--kills 100] [--minutes 60]
        [--times 5] [--users 2000] [--store URL] [--seed 0] [--longest 3.0]

Two senders bring batches of 19 views and one cart by a new customer, each batch again until it is taken; the rule is "cart, and
no order within 5 s", told to a webhook. Then, each in a service of its own:

    kills       one of `api`, `worker`, `scheduler`, at a random moment, gets SIGKILL and is started anew at once, as systemd would
    postgresql  a PostgreSQL of our own is crashed under load and started again
    redis       a Redis of our own, cache and broker at once, is killed under load and started again
    disk        the file system of the workspace (tmpfs; needs root) is filled to its last byte, then cleared
    clock       the service's clock is set back by an hour, later set right
    poison      bodies and messages that are no events, events of extremes, and customers whose history cannot be scored
    receivers   one receiver hangs for longer than the channel waits in one call of five, one refuses everything, one is well

Recovery: from the moment when recovery was possible (the kill; server, disk or receiver being there again) to the first new answer
(of /healthz for worker and scheduler), with the start of Python and all libraries in it. At the end everything lands, and lake and
deliveries are compared with what was accepted. Leaves with 1 if anything was lost, doubled, not told, or back later than 10 s.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from fault_servers import Postgres, RedisServer
from fault_site import TOPIC, HttpSender, Receiver, Site, StreamSender, disturbed
from machine import machine_line
from serve_shop import make_shop, user_name

PROCESS = str(Path(__file__).with_name("fault_process.py"))
HOUR = 3600.0


def main() -> None:
    asked = arguments()
    print(machine_line(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL, as another user, must come through to its folder
        make_shop(folder / "template", asked.users)
        fine = [SCENARIOS[scenario](folder, asked) for scenario in asked.scenarios or SCENARIOS]
    sys.exit(not all(fine))


def kills(folder: Path, asked: argparse.Namespace) -> bool:
    rng = random.Random(asked.seed)
    roles = ("api", "worker", "scheduler")
    with disturbed(folder / "template", folder / "kills", roles=roles, store=asked.store, users=asked.users) as site:
        end, done = time.monotonic() + 60 * asked.minutes, 0
        while done < asked.kills and time.monotonic() < end:
            done += 1
            time.sleep(rng.uniform(0.0, asked.longest))
            victim, since = rng.choice(site.served), time.perf_counter()
            victim.kill()
            victim.start()
            if victim.role == "api":
                site.senders[0].wait_for_next()
            site.recovered(victim.role, since)
            site.back.setdefault(f"{victim.role}, CPU seconds of the new process", []).append(victim.cpu_seconds())
        left = site.settle()
    return site.report("kills", done, left)


def postgresql(folder: Path, asked: argparse.Namespace) -> bool:
    server = Postgres(folder / "server")
    server.start()
    try:
        with disturbed(folder / "template", folder / "postgresql", store=server.url, users=asked.users) as site:
            rng = random.Random(asked.seed)
            for _ in range(asked.times):
                time.sleep(rng.uniform(1.0, 4.0))
                server.stop()
                time.sleep(rng.uniform(0.5, 5.0))
                server.start()
                _until_taken(site, time.perf_counter(), "answers of events")
            left = site.settle()
        return site.report("postgresql", asked.times, left)
    finally:
        server.stop()


def redis(folder: Path, asked: argparse.Namespace) -> bool:
    server = RedisServer(folder / "redis-server")
    server.start()
    extra = f'redis = "{server.url}"\n[stream]\nbroker = "redis"\nurl = "{server.url}"\ntopic = "{TOPIC}"\nretry_seconds = 1'
    try:
        with disturbed(folder / "template", folder / "redis", extra=extra, users=asked.users) as site:
            stream = StreamSender(server.url, "stream", asked.users)
            site.senders.append(stream)
            stream.start()
            rng = random.Random(asked.seed)
            for _ in range(asked.times):
                time.sleep(rng.uniform(1.0, 4.0))
                server.stop()
                for sender in site.senders[:2]:
                    sender.wait_for_next()  # the API goes on without Redis
                time.sleep(rng.uniform(0.5, 5.0))
                server.start()
                since = time.perf_counter()
                stream.wait_for_next()
                _until_stored(site, stream, since)
            left = site.settle()
        return site.report("redis", asked.times, left)
    finally:
        server.stop()


def disk(folder: Path, asked: argparse.Namespace) -> bool:
    with _small_disk(folder / "disk", folder / "template") as root:
        with disturbed(folder / "template", root, users=asked.users) as site:
            rng = random.Random(asked.seed)
            for _ in range(asked.times):
                time.sleep(rng.uniform(1.0, 4.0))
                refused = site.senders[0].statuses[503]
                _fill(root / "ballast")
                while site.senders[0].statuses[503] == refused:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0.5, 3.0))
                (root / "ballast").unlink()
                _until_taken(site, time.perf_counter(), "answers of events")
            left = site.settle()
        return site.report("disk", asked.times, left)


def clock(folder: Path, asked: argparse.Namespace) -> bool:
    wrong = folder / "wrong"
    wrong.mkdir()
    _write(wrong / "poison", "")
    _write(wrong / "clock", "0")
    command = (PROCESS, str(wrong))
    with disturbed(folder / "template", folder / "clock", command=command, users=asked.users) as site:
        rng = random.Random(asked.seed)
        for _ in range(asked.times):
            time.sleep(rng.uniform(1.0, 4.0))
            _write(wrong / "clock", str(-HOUR))
            since, told = time.perf_counter(), len(site.receivers[0].arrived)
            site.senders[0].wait_for_next()
            site.recovered("answers of events", since)
            time.sleep(8.0)  # longer than the rule waits
            while len(site.receivers[0].arrived) == told and time.perf_counter() - since < 30.0:
                time.sleep(0.01)
            site.back.setdefault("alerts while the clock was wrong", []).append(
                0.0 if len(site.receivers[0].arrived) > told else 30.0
            )
            _write(wrong / "clock", "0")
        left = site.settle()
    return site.report("clock", asked.times, left)


def poison(folder: Path, asked: argparse.Namespace) -> bool:
    """Every third poisoned body is followed by a wait for an answer; each `--times` another customer cannot be scored."""
    server, wrong = RedisServer(folder / "poison-server"), folder / "poison-process"
    wrong.mkdir()
    _write(wrong / "clock", "0")
    _write(wrong / "poison", "")
    server.start()
    extra = f'[stream]\nbroker = "redis"\nurl = "{server.url}"\ntopic = "{TOPIC}"\nretry_seconds = 1'
    command = (PROCESS, str(wrong))
    try:
        with disturbed(folder / "template", folder / "poison", command=command, extra=extra, users=asked.users) as site:
            stream = StreamSender(server.url, "stream", asked.users)
            site.senders.append(stream)
            stream.start()
            by_http, count = site.senders[0], 0
            assert isinstance(by_http, HttpSender)
            for number in range(asked.times):
                _write(wrong / "poison", user_name(number))
                since = time.perf_counter()
                for place, body in enumerate(_poison(number)):
                    count += 1
                    stream.put(body)
                    status = by_http.post(body)
                    if status in (0, 500):
                        sys.exit(f"poison {place} was answered {status}")
                by_http.wait_for_next()
                site.recovered("answers of events", since)
                time.sleep(3.0)
            left = site.settle()
            left += "" if _figure(site, "ebbtide_users_set_aside_total") else "nobody was set aside"
        return site.report("poison", count + asked.times, left)
    finally:
        server.stop()


def receivers(folder: Path, asked: argparse.Namespace) -> bool:
    well, slow, dead = Receiver("well"), Receiver("slow", slow=0.2), Receiver("dead")
    told = (well, slow, dead)
    with disturbed(folder / "template", folder / "receivers", receivers=told, users=asked.users, pause=0.4) as site:
        for _ in range(asked.times):
            time.sleep(3.0)
            dead.is_deaf = True
            time.sleep(8.0)
            dead.is_deaf, since, before = False, time.perf_counter(), dead.deliveries
            while dead.deliveries == before:
                time.sleep(0.01)
            site.recovered("the receiver that had refused", since)
        left = site.settle()
    return site.report("receivers", asked.times, left)


SCENARIOS: dict[str, Callable[[Path, argparse.Namespace], bool]] = {
    f.__name__: f for f in (kills, postgresql, redis, disk, clock, poison, receivers)
}


def _figure(site: Site, name: str) -> float:
    """Of `/metrics`, over all labels."""
    with urllib.request.urlopen(f"{site.url}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{"))


def _until_taken(site: Site, since: float, what: str) -> None:
    site.senders[0].wait_for_next()
    site.recovered(what, since)


def _until_stored(site: Site, stream: StreamSender, since: float) -> None:
    """Until the worker has read what was sent last."""
    cart, database = f"cart-{stream.name}-{len(stream.carts) - 1}", site.database()
    statement = "select count(*) from inbox where user_id = ?"
    while True:
        with database.read() as connection:
            if connection.exec_driver_sql(statement, (cart,)).scalar():
                break
        time.sleep(0.02)
    database.close()
    site.recovered("messages of the broker stored", since)


@contextlib.contextmanager
def _small_disk(root: Path, template: Path) -> Iterator[Path]:
    """A file system with room for the shop and 64 MB."""
    root.mkdir()
    size = sum(f.stat().st_size for f in template.rglob("*") if f.is_file()) + 64_000_000
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(root)], check=False).returncode:
        sys.exit("the scenario `disk` mounts a small file system: run it as root, or leave it out")
    try:
        yield root
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)


def _fill(ballast: Path) -> None:
    """To the last byte."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x")


def _write(file: Path, text: str) -> None:
    """At once: a reader sees what was there or what is there now."""
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def _poison(number: int) -> list[bytes]:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    fine = {"user_id": user_name(number), "type": "order", "occurred_at": now}
    extremes: list[dict[str, object]] = [
        {"value": 1e308}, {"value": 5e-324}, {"quantity": 1e300, "unit_price": 1e300}, {"discount": 1e308}, {"user_id": "a\x00b"},
        {"user_id": "\u202e\U0001f600'; drop table inbox; --"}, {"user_id": "u" * 256}, {"occurred_at": "0001-01-01T00:00:00Z"},
        {"occurred_at": "9999-12-31T23:59:59Z"}, {"type": "never heard of"}, {"value": "12,5"}, {"text": "x" * 60_000}, {"query": "\x00"},
        {"properties": {"days_late": 1e308}, "type": "delivery"}, {"properties": {"a": [{"b": [1, None, True]}]}}, {"event_id": ""},
        {"currency": "nothing"}, {"quantity": 2**63}, {"category": "c" * 5000}, {"order_id": "o" * 4000}, {"rating": -5},
    ]  # fmt: skip
    events = [
        json.dumps({"events": [{**fine, "event_id": f"poison-{number}-{k}", **extreme}]}).encode()
        for k, extreme in enumerate(extremes)
    ]
    return [
        *events,
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 5000,
        b"null",
        b"[]",
        b'{"events": {}}',
        b'{"events": [[[]]]}',
        b"\x00" * 100,
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], help="all of them if none is named")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=60.0, help="no further kill after so long")
    parser.add_argument("--times", type=int, default=5, help="how often each other thing breaks")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--store", default="", help="url of the store for the kills; default: embedded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=3.0, help="most seconds between two kills")
    return parser.parse_args()


if __name__ == "__main__":
    main()
