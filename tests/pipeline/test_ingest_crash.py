"""Killed at any moment, an ingest can be repeated: nothing is lost and nothing doubled."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from ebbtide.core.config import Config
from ebbtide.core.errors import MissingError, RetryError
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.pipeline import ingest as module

ROWS_A_FILE, FILES, KILLS = 2000, 5, 12
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["ebbtide.pipeline.ingest"])


def _fill(shop) -> None:
    for number in range(FILES):
        rows = [f"u{i % 97},2024-01-{i % 28 + 1:02d} 10:{number:02d}:{i % 60:02d},{i}" for i in range(ROWS_A_FILE - 1)]
        shop.write(f"{number}.csv", "user,time,amount\n" + "\n".join([*rows, f"u1,2024-01-01,bad{number}"]) + "\n")


def _work(config: Config, root: Path, started, *, die_before_commit: bool = False) -> None:
    """In a process of its own: several units, small files joined often."""
    module.UNIT_BYTES = 40_000
    module.COMPACT_AT = 3
    if die_before_commit:
        Lake.append = lambda *_args, **_options: os._exit(9)
    started.set()
    module.ingest(config, root)


def _run_for(shop, seconds: float, **options) -> bool:
    """Start an ingest, kill it after that long; whether it came to its end first."""
    started = FORKS.Event()
    child = FORKS.Process(target=_work, args=(shop.config, shop.root, started), kwargs=options)
    child.start()
    assert started.wait(60)
    child.join(seconds)
    if child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
    child.join()
    return child.exitcode == 0


@pytest.mark.timeout(240)
def test_killed_at_random_moments_nothing_is_lost_and_nothing_doubled(make_shop):
    """Twelve kills, each later than the one before on the average; every state in between is a whole lake."""
    shop, calm = make_shop(lake={"buckets": 4}), make_shop(lake={"buckets": 4})
    _fill(shop)
    _fill(calm)
    start = time.monotonic()
    assert _run_for(calm, 60)
    usual = time.monotonic() - start
    rng = random.Random(7)
    kills = 0
    for number in range(KILLS):
        kills += not _run_for(shop, rng.uniform(0, usual * (number + 1) / KILLS))
        try:
            held = shop.events()
        except MissingError:
            continue
        assert held["event_id"].is_unique().all()
    total = shop.ingest().total
    assert kills >= 3, "the killer came too late to test anything"
    assert shop.events().equals(calm.events())
    assert total.balanced
    assert (total.read, total.quarantined) == (FILES * ROWS_A_FILE, FILES)
    assert total.accepted + total.duplicates == FILES * (ROWS_A_FILE - 1)
    assert not (shop.root / ".ebbtide" / "staging").exists()


def test_data_files_without_a_commit_count_for_nothing_and_are_removed(make_shop):
    """The process dies after the files were written and before the commit."""
    shop = make_shop(lake={"buckets": 2})
    _fill(shop)
    assert not _run_for(shop, 60, die_before_commit=True)
    assert shop.events().is_empty()
    assert Lake.open(lake_folder(shop.root)).unused_files()
    assert (shop.root / ".ebbtide" / "staging").exists()
    assert shop.ingest().total.accepted == FILES * (ROWS_A_FILE - 1)
    assert not Lake.open(lake_folder(shop.root)).unused_files()


def test_an_error_leaves_no_data_files_behind(make_shop, monkeypatch):
    """The commit fails, the process lives: its files go at once."""
    shop = make_shop()
    _fill(shop)

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append", fail)
        with pytest.raises(RetryError, match="the disk is full"):
            shop.ingest()
    assert not Lake.open(lake_folder(shop.root)).unused_files()
    counts = asdict(shop.ingest().total)
    assert (counts["accepted"], counts["quarantined"]) == (FILES * (ROWS_A_FILE - 1), FILES)
