"""How many events a second does the service make durable, how fast is a call answered, and does its memory stay flat?

    python benchmarks/serve_events.py [--seconds 300] [--rate 110] [--users 20000] [--store URL] [--roles]

Calls of 100 events, due at `--rate` calls a second, from a load generator in a second process over loopback; `ebbtide serve`
with everything in one process (or, with `--roles`, api, worker and scheduler) over the embedded store or `--store`. Scoring
of touched users and landing go on meanwhile. Reported: accepted events a second, times of calls (p99 with its interval, and by
thirds of the run), CPU time and resident memory of each process (at the start and at the end of each third, and its slope over the
second half with a 95 % interval: flat if that holds 0 or is below 1 % a minute), what waits at the end, and whether every
accepted event is there.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from ebbtide.core.config import load_config
from ebbtide.events.lake import landing_key
from ebbtide.pipeline.landing import land
from ebbtide.pipeline.places import Places
from ebbtide.store.database import Database
from ebbtide.store.inbox import SCORED, Cursors, Inbox
from machine import machine_line
from serve_shop import Served, load, make_key, make_shop, quantiles, serving


def main() -> None:
    asked = arguments()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shop"
        make_shop(root, asked.users, store=asked.store, land_every="20s")
        key, out = make_key(root), Path(folder) / "calls.npy"
        roles = ("api", "worker", "scheduler") if asked.roles else ("all",)
        served = [Served(root, role) for role in roles]
        with serving(*served):
            common = ("--port", str(served[0].port), "--key", key, "--batch", "100", "--users", str(asked.users))
            load(*common, "--seconds", "5", "--rate", "20")  # warm
            memory, before = Memory(served, asked.seconds / 60), [s.cpu_seconds() for s in served]
            told = load(
                *common, "--seconds", str(asked.seconds), "--rate", str(asked.rate), "--connections",
                str(asked.connections), "--out", str(out),
            )  # fmt: skip
            memory.stop()
            cpu = [s.cpu_seconds() - b for s, b in zip(served, before, strict=True)]
            backlog(root, "when the load ended")
        accepted, spent = int(str(told["accepted"])), float(str(told["seconds"]))
        print(f"{' + '.join(roles)} over {asked.store.split(':')[0] or 'sqlite'}: {accepted:,} events in {spent:.0f} s")
        print(f"  {accepted / spent:,.0f} events/s accepted; answers {told['statuses']}")
        seconds = np.load(out)
        thirds = [1000 * np.quantile(part, 0.99) for part in np.array_split(seconds, 3)]
        print(
            f"  times of calls: {quantiles(seconds)}; p99 by thirds {' '.join(f'{p:.0f}' for p in thirds)} ms; the generator itself was late by at most {told['generator_late_ms']:.0f} ms"
        )
        for one, used in zip(served, cpu, strict=True):
            print(f"  CPU of {one.role}: {used:.1f} s, {1e6 * used / accepted:.1f} us an event")
        memory.tell()
        check(root, accepted + 5 * 20 * 100)


class Memory:
    """Resident memory of the processes over time."""

    def __init__(self, served: list[Served], every: float) -> None:
        self._served, self._every, self._end = served, every, threading.Event()
        self._points: list[tuple[float, list[float]]] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        start = time.monotonic()
        while True:
            self._points.append((time.monotonic() - start, [s.resident_mb() for s in self._served]))
            if self._end.wait(self._every):
                return

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def tell(self) -> None:
        at = np.array([t for t, _ in self._points])
        for k, served in enumerate(self._served):
            mb = np.array([m[k] for _, m in self._points])
            half = at >= at[-1] / 2
            slope, spread = _slope(at[half] / 60, mb[half])
            is_flat = slope - spread <= 0 or slope < 0.01 * mb[-1]
            thirds = " ".join(f"{part[-1]:.0f}" for part in np.array_split(mb, 3))
            print(
                f"  memory of {served.role}, MB: start {mb[0]:.0f}, by thirds {thirds}; second half "
                f"{slope:+.1f} [{slope - spread:+.1f}, {slope + spread:+.1f}] MB a minute: {'flat' if is_flat else 'not flat'}"
            )


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Of the straight line through the points, with half of its 95 % interval."""
    if len(x) < 4:
        return float("nan"), float("nan")
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    return float(slope), float(1.96 * np.sqrt(covariance[0, 0]))


def backlog(root: Path, when: str) -> None:
    config = load_config(root / "ebbtide.toml", environ={})
    database = Database.open(Places(root).store_url(config), migrate=False)
    inbox, cursors = Inbox(database), Cursors(database)
    unscored = inbox.count("shop", cursors.position("shop", SCORED))
    unlanded = inbox.count("shop", Places(root).lake().position(landing_key("shop")))
    database.close()
    print(f"  {when}: {unscored:,} events not scored, {unlanded:,} not landed")


def check(root: Path, accepted: int) -> None:
    """Everything that was accepted is in the lake once everything has landed."""
    config = load_config(root / "ebbtide.toml", environ={})
    database = Database.open(Places(root).store_url(config))
    while land(Inbox(database), "shop", root, config.lake).rows:
        pass
    database.close()
    lake, found = Places(root).lake(), 0
    for bucket in lake.buckets():
        ids = lake.read_bucket(bucket, ["event_id"])["event_id"]
        live = ids.filter(~ids.str.starts_with("h"))
        assert live.is_unique().all(), "an event is in the lake twice"
        found += len(live)
    print(f"  in the lake: {found:,} of {accepted:,} accepted, each once")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rate", type=float, default=110.0, help="calls of 100 events a second")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--store", default="", help="url of the store; default: embedded")
    parser.add_argument("--roles", action="store_true", help="api, worker and scheduler in processes of their own")
    return parser.parse_args()


if __name__ == "__main__":
    main()
