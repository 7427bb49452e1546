"""A real `ebbtide serve` in a process of its own, which can be killed, and a sender that does not give up."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["ebbtide.cli.serving", "ebbtide.serve.app", "ebbtide.serve.worker", "uvicorn"])
PATIENCE_SECONDS = 60.0


def wait_for(told: Callable[[], bool], what: str = "it") -> None:
    """Until it holds; a minute at most."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not told():
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.01)


def _serve(root: Path, port: int, role: str, log: Path, environment: dict[str, str]) -> None:
    """In a process of its own: the command."""
    from ebbtide.cli.main import run  # noqa: PLC0415 - in the child

    os.environ.update(environment)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os._exit(run(["serve", "-w", str(root), "--port", str(port), "--role", role]))


def free_port() -> int:
    """Below those that the system gives to outgoing calls: a caller of a dead service could get its port and hold it."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass
class Live:
    """A service over the workspace at `root`, on one port however often it is started."""

    root: Path
    role: str = "all"
    port: int = field(default_factory=free_port)
    log: Path = Path(os.devnull)
    environment: dict[str, str] = field(default_factory=dict)
    process: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Live:
        self.process = FORKS.Process(target=_serve, args=(self.root, self.port, self.role, self.log, self.environment))
        self.process.start()
        wait_for(self.is_answering, f"the {self.role} process")
        return self

    def is_answering(self) -> bool:
        assert self.process.is_alive(), "the process ended by itself"
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2.0).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        os.kill(self.process.pid, signal.SIGTERM)
        self.process.join(PATIENCE_SECONDS)
        assert self.process.exitcode is not None, "it did not stop"
        return int(self.process.exitcode)

    def end(self) -> None:
        """However it stands."""
        if self.process is not None and self.process.is_alive():
            self.kill()


@dataclass
class Sender:
    """Sends batches of numbered events, each batch until it is answered; `answered`: event_id -> times it was answered.

    The first event of a batch is a cart of now, by a customer of its own: `carts` holds those that were answered. `statuses` counts the answers, with 0 for none.
    """

    url: str
    key: str
    name: str = "s"
    batch: int = 20
    answered: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    carts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        number = 0
        with httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=20.0) as http:
            while not self._stop.is_set():
                events = [
                    event(f"live-{self.name}{number}-{k}", f"user-{(number + k) % 50}") for k in range(self.batch)
                ]
                events[0] |= {
                    "user_id": f"cart-{self.name}{number}",
                    "type": "cart_add",
                    "occurred_at": f"{datetime.now(UTC):%FT%TZ}",
                }
                if self._sent(http, events):
                    self.carts.add(f"cart-{self.name}{number}")
                    number += 1
                else:
                    self._stop.wait(0.05)

    def _sent(self, http: httpx.Client, events: list[dict[str, Any]]) -> bool:
        with contextlib.suppress(httpx.TransportError):
            answer = http.post("/v1/events", json={"events": events})
            self.statuses[answer.status_code] += 1
            if answer.status_code != 202:
                return False
            results = answer.json()["results"]
            assert {r["status"] for r in results} <= {"accepted", "duplicate"}
            self.answered.update(r["event_id"] for r in results)
            return True
        self.statuses[0] += 1
        return False


def event(event_id: str, user: str) -> dict[str, Any]:
    """A view of last week."""
    return {"event_id": event_id, "user_id": user, "type": "product_view", "occurred_at": "2024-07-20T10:00:00Z"}
