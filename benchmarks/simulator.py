"""How fast is a simulated log written, and does memory stay put as the shop grows ten times?

    python benchmarks/simulator.py                  # 4,000 and 40,000 users
    python benchmarks/simulator.py --users 20000    # 20,000 and 200,000

Each size runs in a process of its own; seconds are wall clock, memory is the largest resident set of that process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import machine_line

GROWTH = 10


def main() -> None:
    asked = arguments()
    if asked.alone:
        print(json.dumps(run(asked.users)))
        return
    print(machine_line())
    small, large = (measured(users) for users in (asked.users, GROWTH * asked.users))
    for side in (small, large):
        rate = side["rows"] / side["seconds"]
        print(f"{side['users']:>9,} users  {side['rows']:>12,} rows  {side['seconds']:8.1f} s  {rate:>9,.0f} rows/s  "
              f"{side['megabytes']:>6,} MB memory  {side['file_megabytes']:>7,} MB of Parquet")  # fmt: skip
    print(f"memory, {GROWTH} times the users: {large['megabytes'] / small['megabytes']:.2f} times")
    hours = large["seconds"] / large["users"] * 10_000_000 / 3600
    print(
        f"at this rate 10 million users take {hours:.1f} hours and {large['rows'] / large['users'] / 100:,.1f} billion rows"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed and memory of the simulator at two sizes.")
    parser.add_argument("--users", type=int, default=4_000, help="the smaller size")
    parser.add_argument("--alone", action="store_true", help="run this size only, print JSON")
    return parser.parse_args()


def measured(users: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--users", str(users), "--alone"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def run(users: int) -> dict[str, Any]:
    from ebbtide.events.simulate import SimulationConfig, write_log  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        files = write_log(SimulationConfig(users=users), Path(folder))
        seconds = time.perf_counter() - started
        written = sum(path.stat().st_size for path in files.events)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "users": users,
        "rows": files.rows,
        "seconds": seconds,
        "megabytes": memory,
        "file_megabytes": written >> 20,
    }


if __name__ == "__main__":
    main()
