"""Killed at any moment, an ingest can be repeated: nothing is lost and nothing doubled."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from ebbtide.core.errors import MissingError
from ebbtide.events.lake import Lake, lake_folder

WORKER = """
import sys
from pathlib import Path
from datetime import datetime, timezone
from ebbtide.core.config import parse_config
from ebbtide.pipeline import ingest as module
module.UNIT_BYTES = 40_000
module.COMPACT_AT = 3
columns = {"user_id": "user", "occurred_at": "time", "type": "'order'", "value": "amount"}
raw = {"source": [{"path": "*.csv", "columns": columns}], "lake": {"buckets": 4}}
print("started", flush=True)
module.ingest(parse_config(raw), Path(sys.argv[1]), now=datetime(2024, 6, 1, tzinfo=timezone.utc))
print("finished", flush=True)
"""
ROWS_A_FILE, FILES = 3000, 6


def _fill(shop) -> None:
    for number in range(FILES):
        rows = [f"u{i % 97},2024-01-{i % 28 + 1:02d} 10:{number:02d}:{i % 60:02d},{i}" for i in range(ROWS_A_FILE - 1)]
        shop.write(f"{number}.csv", "user,time,amount\n" + "\n".join([*rows, f"u1,2024-01-01,bad{number}"]) + "\n")


def _run_for(shop, seconds: float) -> bool:
    """Start an ingest, kill it after that long; whether it came to its end first."""
    child = subprocess.Popen([sys.executable, "-c", WORKER, str(shop.root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
    rest, _ = child.communicate()
    return "finished" in rest


@pytest.mark.timeout(240)
def test_killed_at_random_moments_nothing_is_lost_and_nothing_doubled(make_shop):
    """Twelve kills, each later than the one before on the average; every state in between is a whole lake."""
    shop, calm = make_shop(lake={"buckets": 4}), make_shop(lake={"buckets": 4})
    _fill(shop)
    _fill(calm)
    start = time.monotonic()
    expected = calm.ingest()
    usual = max(time.monotonic() - start, 0.2)
    rng = random.Random(7)
    kills = 0
    for number in range(12):
        kills += not _run_for(shop, rng.uniform(0, usual * (number + 1) / 6))
        try:
            held = shop.events()
        except MissingError:
            continue
        assert held["event_id"].is_unique().all()
    report = shop.ingest()
    total = report.total
    assert kills >= 3, "the killer came too late to test anything"
    assert shop.events().equals(calm.events())
    assert total.read == FILES * ROWS_A_FILE
    assert total.balanced
    assert asdict(total)["quarantined"] == asdict(expected.total)["quarantined"] == FILES
    assert total.accepted + total.duplicates == FILES * (ROWS_A_FILE - 1)
    assert not (shop.root / ".ebbtide" / "staging").exists()


def test_data_files_without_a_commit_count_for_nothing_and_are_removed(make_shop, monkeypatch):
    """The process dies after the files were written and before the commit."""
    shop = make_shop()
    _fill(shop)

    class Killed(BaseException):
        pass

    def die(*_args, **_options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append", die)
        patch.setattr("shutil.rmtree", lambda *_a, **_k: None)
        with pytest.raises(Killed):
            shop.ingest()
    lake = Lake.open(lake_folder(shop.root))
    assert shop.events().is_empty()
    assert lake.unused_files()
    shop.ingest()
    assert not Lake.open(lake_folder(shop.root)).unused_files()
    assert shop.events().height == FILES * (ROWS_A_FILE - 1)
