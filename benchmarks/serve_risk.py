"""How fast is one customer's risk answered, computed now and stored, and how much of an empty route's speed is left?

    python benchmarks/serve_risk.py [--seconds 60] [--rate 100] [--users 20000] [--rounds 5] [--writes 0]

First `GET /v1/users/{user}/risk` (features, model, exact reasons in words) at `--rate` calls a second, due at fixed moments,
perhaps while `--writes` events a second come in. Then, in alternating rounds, as many `?stored=true` of customers who have a
stored score as are answered, and as many calls of an empty FastAPI route under the same server, each over 16 connections: the
ratio with its 95 % interval over the rounds, by requests a second and (for a busy machine) by CPU time of the server a call. The load generator is a second process over loopback.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from machine import machine_line
from serve_shop import Served, free_port, load, make_key, make_shop, quantiles, scored_users, serving


def main() -> None:
    asked = arguments()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "shop", Path(folder) / "calls.npy"
        make_shop(root, asked.users)
        key, served = make_key(root), Served(root)
        with serving(served):
            time.sleep(asked.settle)  # the first full run ends; so that there are stored scores
            common = ("--port", str(served.port), "--key", key, "--users", str(asked.users))
            load(*common, "--path", RISK, "--seconds", "5", "--rate", "50")  # warm: compiled code, buckets in memory
            writer = threading.Thread(target=writes, args=(common, asked))
            writer.start()
            told = load(
                *common, "--path", RISK, "--seconds", str(asked.seconds), "--rate", str(asked.rate), "--out", str(out)
            )
            writer.join()
            print(
                f"GET risk, computed, {asked.rate:g} calls/s, {asked.writes:g} events/s in: {quantiles(np.load(out))}"
            )
            print(f"  answers {told['statuses']}; the generator was late by at most {told['generator_late_ms']:.0f} ms")
            names = Path(folder) / "scored.txt"
            names.write_text("\n".join(scored_users(root)), encoding="utf-8")
            against_empty(served, ("--port", str(served.port), "--key", key, "--names", str(names)), asked)


RISK = "/v1/users/{user}/risk"


def writes(common: tuple[str, ...], asked: argparse.Namespace) -> None:
    if asked.writes:
        load(*common, "--batch", "100", "--seconds", str(asked.seconds), "--rate", str(asked.writes / 100))


def against_empty(served: Served, common: tuple[str, ...], asked: argparse.Namespace) -> None:
    """`common`: how the load generator asks the service."""
    empty = Served(Path(), port=free_port())
    file = Path(__file__).with_name("serve_empty.py")
    empty.process = subprocess.Popen([sys.executable, str(file), str(empty.port)])
    long = ("--seconds", str(asked.round_seconds))
    try:
        empty.wait()
        by_calls, by_cpu = [], []
        for k in range(asked.rounds + 1):
            stored = speed(served, *common, "--path", RISK + "?stored=true", *long)
            nothing = speed(empty, "--port", str(empty.port), "--path", "/empty/{user}", *long)
            if k:  # the first round warms both
                by_calls.append(stored[0] / nothing[0])
                by_cpu.append(nothing[1] / stored[1])
                print(
                    f"  stored {stored[0]:,.0f} requests/s, {stored[1]:.0f} CPU us a call; empty route {nothing[0]:,.0f} "
                    f"requests/s, {nothing[1]:.0f} CPU us a call: {by_calls[-1]:.3f}; by CPU {by_cpu[-1]:.3f}"
                )
    finally:
        empty.process.terminate()
        empty.process.wait()
    print(f"stored score against an empty route: {interval(by_calls)} of its requests/s; by CPU {interval(by_cpu)}")


def interval(ratios: list[float]) -> str:
    mean, spread = float(np.mean(ratios)), float(np.std(ratios, ddof=1)) if len(ratios) > 1 else float("nan")
    half = 1.96 * spread / np.sqrt(len(ratios))
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"


def speed(served: Served, *arguments: str) -> tuple[float, float]:
    """Requests a second, and CPU microseconds of the server a request, all of its threads together."""
    before = served.cpu_seconds()
    told = load(*arguments)
    assert set(told["statuses"]) == {"200"}, told["statuses"]  # type: ignore[call-overload]
    calls = float(str(told["calls"]))
    return calls / float(str(told["seconds"])), 1e6 * (served.cpu_seconds() - before) / calls


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--round-seconds", type=float, default=5.0)
    parser.add_argument("--writes", type=float, default=0.0, help="events a second that come in meanwhile")
    parser.add_argument("--settle", type=float, default=10.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
