"""`ebbtide serve` whose clock and model are disturbed from outside: fault_process.py FOLDER serve -w ...

FOLDER/clock holds the seconds by which the clock is wrong, FOLDER/poison the id of a customer whose history cannot be scored.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.cli import serving
from ebbtide.cli.main import run
from ebbtide.pipeline import live_shop


def main() -> None:
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    serving.open_service = partial(serving.open_service, clock=_wrong_clock(folder / "clock"))
    live_shop.score_shard = _poisoned(live_shop.score_shard, folder / "poison")
    os._exit(run(command))


def _wrong_clock(file: Path) -> Callable[[], datetime]:
    def clock() -> datetime:
        return live_shop.system_clock() + timedelta(seconds=float(file.read_text() or 0.0))

    return clock


def _poisoned(score: Callable[..., pl.DataFrame], file: Path) -> Callable[..., pl.DataFrame]:
    def scored(events: pl.DataFrame, *arguments: Any, **options: Any) -> pl.DataFrame:
        if (events["user_id"] == file.read_text()).any():
            raise ZeroDivisionError
        return score(events, *arguments, **options)

    return scored


if __name__ == "__main__":
    main()
