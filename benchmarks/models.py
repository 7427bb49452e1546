"""Which model when: `ebbtide compare` on several workspaces, as the Markdown tables of docs/models.md.

    python benchmarks/models.py [--models a,b,c] [--until T] WORKSPACE...

Every figure is that of the newest held-out moment, predicted with what was known then; intervals draw customers.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from ebbtide.core.config import load_config
from ebbtide.evaluation.intervals import Estimate
from ebbtide.pipeline.compare import compare
from machine import machine_line

HEAD = (
    "| model | AUROC | 95 % interval | below the best | AP | log loss | ECE | EMPC | training s | us a user | bytes |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspaces", nargs="+", type=Path)
    parser.add_argument("--models", default="")
    parser.add_argument("--until", type=instant, help="what was known then; default: the newest event")
    asked = parser.parse_args()
    print(machine_line())
    for root in asked.workspaces:
        started = time.perf_counter()
        config = load_config(root / "ebbtide.toml", environ=os.environ)
        names = [name for name in asked.models.split(",") if name]
        found = compare(config, root, models=names or None, until=asked.until)
        print(f"\n## {config.shop.name}\n\n{found.users:,} customers as of {found.as_of:%Y-%m-%d}, {found.churned / found.users:.1%} "
              f"churned; {time.perf_counter() - started:,.0f} s\n\n{HEAD}")  # fmt: skip
        for m in found.models:
            cells = (
                m.name, number(m.auroc), ends(m.auroc), f"{number(m.behind, '+.4f')} [{ends(m.behind, '+.4f')}]",
                number(m.average_precision), number(m.log_loss), number(m.ece), number(m.empc, ".2f"),
                f"{m.training_seconds:.1f}", f"{m.microseconds:.1f}", f"{m.size_bytes:,}",
            )  # fmt: skip
            print(f"| {' | '.join(cells)} |")
        for name, why in found.left_out.items():
            print(f"\n`{name}` left out: {why}")
        sys.stdout.flush()


def instant(text: str) -> datetime:
    """A day or a moment, in UTC where no zone is said."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def number(estimate: Estimate, form: str = ".4f") -> str:
    return "-" if estimate.value is None else f"{estimate.value:{form}}"


def ends(estimate: Estimate, form: str = ".4f") -> str:
    return "-" if estimate.low is None or estimate.high is None else f"{estimate.low:{form}} to {estimate.high:{form}}"


if __name__ == "__main__":
    main()
