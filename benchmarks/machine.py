"""The line that says where a figure was measured."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path


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
