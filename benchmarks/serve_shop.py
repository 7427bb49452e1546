"""A trained shop for the benchmarks of the service, and `ebbtide serve` over it in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from ebbtide.core.config import load_config
from ebbtide.core.windows import to_us
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.train import train
from ebbtide.store.database import Database
from ebbtide.store.keys import Keys
from ebbtide.store.scores import Scores
from ebbtide.store.shops import Shops

DAYS = 240
CONFIG = """
[shop]
currency = "EUR"
[[source]]
path = "events.parquet"
columns = {{ event_id = "event_id", user_id = "user_id", occurred_at = "occurred_at", type = "type", order_id = "order_id", item_id = "item_id", category = "category", value = "value" }}
[churn]
horizon = "30d"
eligible = "order in 180d"
[train]
max_rows = 20000
max_cutoffs = 8
bootstrap = 50
[serve]
rate = 1000000
burst = 1000000
max_waiting = 200000
land_every = "{land_every}"
{store}
"""


def make_shop(root: Path, users: int, *, land_every: str = "60s", store: str = "", events: int = 30) -> None:
    """A workspace with a year's events of so many users until yesterday, a model, and a store with one key."""
    root.mkdir(parents=True, exist_ok=True)
    line = f'store = "{store}"' if store else ""
    (root / "ebbtide.toml").write_text(CONFIG.format(land_every=land_every, store=line), encoding="utf-8")
    _log(users, events, np.random.default_rng(0)).write_parquet(root / "events.parquet")
    config = load_config(root / "ebbtide.toml", environ={})
    ingest(config, root)
    train(config, root, until=_end() - timedelta(days=1), model="auto")


def make_key(root: Path) -> str:
    """A key that may do everything."""
    database = Database.open(Places(root).store_url(load_config(root / "ebbtide.toml", environ={})))
    Shops(database).register("shop")
    made = Keys(database).create("shop", "benchmark", ["admin"], now_us=to_us(datetime.now(UTC)))
    database.close()
    return made.secret


def scored_users(root: Path) -> list[str]:
    """The users who have a stored score."""
    database = Database.open(Places(root).store_url(load_config(root / "ebbtide.toml", environ={})))
    found = [row.user_id for row in Scores(database).at_risk("shop", limit=10_000_000)]
    database.close()
    return found


def user_name(number: int) -> str:
    """The id of a user of the shop."""
    return f"u{number:07d}"


def _end() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _log(users: int, events: int, rng: np.random.Generator) -> pl.DataFrame:
    """Each user has a pace of their own and falls silent at some time; one event in five is an order."""
    count = rng.poisson(events, users) + 1
    user = np.repeat(np.arange(users), count)
    leaves = rng.uniform(0.2, 1.6, users)[user]
    at = np.minimum(rng.random(len(user)) * leaves, 0.999) * DAYS * 86_400
    orders = rng.random(len(user)) < 0.2
    kinds = np.where(orders, "order", rng.choice(["product_view", "cart_add", "search"], len(user)))
    start = to_us(_end() - timedelta(days=DAYS))
    items = rng.integers(0, 2000, len(user))
    return pl.DataFrame(
        {
            "event_id": pl.Series([f"h{n}" for n in range(len(user))]),
            "user_id": pl.Series([user_name(u) for u in user]),
            "occurred_at": pl.from_epoch(pl.Series((start + at * 1e6).astype(np.int64)), "us").dt.replace_time_zone(
                "UTC"
            ),
            "type": pl.Series(kinds),
            "order_id": pl.Series([f"o{n}" if o else None for n, o in enumerate(orders)]),
            "item_id": pl.Series([f"i{n}" for n in items]),
            "category": pl.Series([f"c{n % 40}" for n in items]),
            "value": pl.Series(np.where(orders, rng.gamma(2.0, 20.0, len(user)), np.nan)).fill_nan(None),
        }
    )


@dataclass
class Served:
    """`ebbtide serve` in a process of its own. `command`: what Python runs instead of the command line's own module."""

    root: Path
    role: str = "all"
    port: int = 0
    log: Path | None = None
    command: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.port = self.port or free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *, wait: bool = True) -> Served:
        program = self.command or ("-m", "ebbtide.cli.main")
        call = [sys.executable, *program, "serve", "-w", str(self.root), "--role", self.role]
        errors = open(self.log, "ab") if self.log else subprocess.DEVNULL  # noqa: SIM115 - the child holds it
        self.process = subprocess.Popen([*call, "--port", str(self.port)], stderr=errors, stdout=subprocess.DEVNULL)
        if wait:
            self.wait()
        return self

    def wait(self, seconds: float = 120.0) -> None:
        """Until it answers."""
        end = time.monotonic() + seconds
        while not self.is_up():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > end:
                told = self.log.read_text().splitlines()[-1:] if self.log else []
                sys.exit(f"the {self.role} process did not come up; exit code {self.process.poll()} {told}")
            time.sleep(0.01)

    def is_up(self) -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError):
            return bool(urllib.request.urlopen(f"{self.url}/healthz", timeout=1.0).status == 200)
        return False

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def cpu_seconds(self) -> float:
        """Of all its threads, since it was started."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith("VmRSS")) / 1024


@contextlib.contextmanager
def serving(*served: Served) -> Iterator[None]:
    """The processes for as long as the block lasts."""
    try:
        for one in served:
            one.start()
        yield
    finally:
        for one in served:
            if one.process is not None and one.process.poll() is None:
                one.stop()


def free_port() -> int:
    """Below those that the system gives to outgoing calls: a caller of a dead service could get its port and hold it."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def quantiles(seconds: np.ndarray) -> str:
    """p50, p99 and the largest, in milliseconds, with a 95 % interval of p99 by order statistics."""
    ordered = np.sort(seconds) * 1000
    n = len(ordered)
    spread = 1.96 * np.sqrt(n * 0.01 * 0.99)
    low, high = (int(np.clip(0.99 * n + s, 0, n - 1)) for s in (-spread, spread))
    p50, p99 = np.quantile(ordered, [0.5, 0.99])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms [{ordered[low]:.1f}, {ordered[high]:.1f}], max {ordered[-1]:.0f} ms"


def load(*arguments: str) -> dict[str, object]:
    """Run the load generator in a process of its own; what it measured."""
    file = Path(__file__).with_name("serve_load.py")
    done = subprocess.run([sys.executable, str(file), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the load generator left with {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))
