"""Where a figure was measured, and what a command took there: seconds, CPU seconds, memory."""

from __future__ import annotations

import os
import platform
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path


@dataclass(frozen=True)
class Spent:
    """`peak_mb`: the largest resident memory of the process itself, which knows nothing of who started it."""

    wall: float
    cpu: float
    peak_mb: float
    said: str


def machine_line() -> str:
    """Processor, cores that this process may use, memory, Python, load and date."""
    info = Path("/proc/cpuinfo")
    names = (
        [x.split(":")[1].strip() for x in info.read_text().splitlines() if "model name" in x] if info.exists() else []
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"machine: {(names or [platform.processor() or platform.machine()])[0]}, {len(os.sched_getaffinity(0))} cores, "
        f"{memory:.0f} GiB; Python {platform.python_version()}; load {os.getloadavg()[0]:.1f}; {date.today():%Y-%m-%d}"
    )


def run_ebbtide(*arguments: str, **environment: str) -> Spent:
    """Run one `ebbtide` command in a fresh process; leaves with its message if it fails."""
    return run_module("ebbtide.cli.main", *arguments, **environment)


def run_module(module: str, *arguments: str, **environment: str) -> Spent:
    """Run a module or a file as a program in a fresh process."""
    with tempfile.NamedTemporaryFile() as note:
        call = [sys.executable, __file__, note.name, module, *arguments]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(call, capture_output=True, text=True, check=False, env={**os.environ, **environment})
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(f"{' '.join(arguments[:1])} left with {done.returncode}:\n{done.stderr[-3000:]}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Spent(wall, cpu, float(Path(note.name).read_text()), done.stdout)


def _run_here(note: str, module: str, arguments: list[str]) -> None:
    """Be that process. The kernel's figure for children would include the memory of whoever started them."""
    sys.argv = [module, *arguments]
    try:
        if module.endswith(".py"):
            runpy.run_path(module, run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__")
    finally:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(x.split()[1]) for x in lines if x.startswith("VmHWM"))
        Path(note).write_text(str(peak / 1024))


if __name__ == "__main__":
    _run_here(sys.argv[1], sys.argv[2], sys.argv[3:])
