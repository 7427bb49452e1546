"""PostgreSQL and Redis of our own, that may be killed: own ports, own folders, nobody else's data."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from serve_shop import free_port


def _found(name: str, *folders: str) -> str:
    """The program, on the path or where packages put it."""
    places = os.pathsep.join([os.environ["PATH"], *folders])
    found = shutil.which(name, path=places)
    if found is None:
        sys.exit(f"{name} is needed for this: install it, or leave the scenario out")
    return found


@dataclass
class Postgres:
    """A PostgreSQL that `stop` crashes and `start` recovers. It will not run as root, so then as the user `postgres`."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        bins = [str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
        self._initdb, self._control = _found("initdb", *bins), _found("pg_ctl", *bins)
        self.folder.mkdir(parents=True)
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._run(
            self._initdb, "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8"
        )

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Until it takes calls."""
        told = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self._run(
            self._control, "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), "-o", told, "start"
        )
        while True:
            try:
                psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", connect_timeout=1).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """At once, without a checkpoint: as after a crash."""
        self._run(self._control, "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            command, cwd=self.folder, user=self._user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{Path(command[0]).name} left with {done.returncode}")


@dataclass
class RedisServer:
    """A Redis that writes each command to disk before it answers, and that `stop` kills."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Until it takes calls."""
        self.folder.mkdir(parents=True, exist_ok=True)
        told = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "")
        durable = ("--appendonly", "yes", "--appendfsync", "always")
        self.process = subprocess.Popen([_found("redis-server"), *told, *durable], stdout=subprocess.DEVNULL)
        with Redis.from_url(self.url, socket_connect_timeout=1.0) as client:
            while True:
                try:
                    client.ping()
                except RedisError:
                    time.sleep(0.02)
                else:
                    return

    def stop(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
