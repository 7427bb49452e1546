"""The database: SQLite embedded, or PostgreSQL; opened, migrated, read and written in transactions."""

from __future__ import annotations

import re
import sqlite3
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any, Self

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError, TimeoutError

from ebbtide.core.errors import InputError, RetryError
from ebbtide.store.seen import SeenOfShops

_MIGRATIONS = Path(__file__).parent / "migrations"
_INBOX_LOCK = 0x0EBB71DE  # any number that no other program on the server uses for its advisory locks
_WRITE = "ebbtide_write"
_MIGRATING = Lock()
"""Alembic keeps what it does in globals: one migration at a time in a process, of whatever database."""
_PATIENCE_SECONDS, _LOOK_SECONDS, _TURN_SECONDS = 30.0, 0.02, 0.002
_VALUES_AT_ONCE = 999
_MEMORY = ("cache_size = -16384", "wal_autocheckpoint = 32768")
"""16 MiB a connection at most; a log of 128 MiB before whoever commits moves it into the file, if no keeper did (`store.keeper`)."""


class Database:
    """One open database. Connections are pooled and may be used from any thread."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        file = engine.url.database if engine.dialect.name == "sqlite" else None
        self._file = file if file and file != ":memory:" else ""
        self._idle = deque[sqlite3.Connection]()
        self.seen = SeenOfShops(Path(self._file).absolute().parent if self._file else None)
        """The keys of the events in its inbox."""

    @classmethod
    def open(cls, url: str, *, migrate: bool = True) -> Self:
        """Open `sqlite:///FILE` or `postgresql+psycopg://...`, and bring its tables to the newest version.

        Raises InputError for another kind of database, RetryError if it does not answer.
        """
        try:
            kind = make_url(url).get_backend_name()
            if kind not in ("sqlite", "postgresql"):
                raise NoSuchModuleError(kind)
            engine = _engine(url, kind)
        except (ArgumentError, NoSuchModuleError):
            raise InputError(
                "the store's url must begin with `sqlite:///` or `postgresql+psycopg://`",
                "存储的 url 必须以 `sqlite:///` 或 `postgresql+psycopg://` 开头",
            ) from None
        database = cls(engine)
        if migrate:
            database.migrate()
        return database

    @property
    def is_file(self) -> bool:
        """Whether it is a file of SQLite."""
        return bool(self._file)

    @property
    def is_embedded(self) -> bool:
        """Whether it is SQLite."""
        return str(self.engine.dialect.name) == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state and changes nothing."""
        with _translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, in_order: bool = False) -> Iterator[Connection]:
        """A transaction that is durable when the block ends, and undone if it raises.

        `in_order`: one such transaction after the other, so that rows appear in the order of their numbers. SQLite does
        that always.
        """
        writer = self.engine.execution_options(**{_WRITE: True})
        with _translated(), writer.begin() as connection:
            if in_order and not self.is_embedded:
                connection.execute(text("select pg_advisory_xact_lock(:n)"), {"n": _INBOX_LOCK})
            yield connection

    def first(self, statement: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The first row of one statement that changes nothing, None if there is none; `{}` stands where a value comes."""
        found = self.rows(statement, values)
        return found[0] if found else None

    def rows(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The rows of one statement that changes nothing; `{}` stands where a value comes.

        The embedded store is asked over a plain connection: one statement is a transaction of its own.
        """
        if self._file:
            return self._rows_of_file(_with_marks(statement, "?"), values)
        with self.read() as connection:
            return self.rows_within(connection, statement, values)

    def rows_within(self, connection: Connection, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """`rows` as a part of a transaction."""
        mark = "?" if self.is_embedded else "%s"
        with connection.exec_driver_sql(_with_marks(statement, mark), values) as found:
            return list(map(tuple, found.all()))

    def _rows_of_file(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            connection = self._idle_or_new()
        except sqlite3.OperationalError as fault:
            raise _away(str(fault)[:120]) from None
        try:
            rows: list[tuple[Any, ...]] = connection.execute(statement, values).fetchall()
        except (sqlite3.OperationalError, sqlite3.InterfaceError) as fault:
            connection.close()
            raise _away(str(fault)[:120]) from None
        self._idle.append(connection)
        return rows

    def _idle_or_new(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._plain()

    @contextmanager
    def plain(self) -> Iterator[sqlite3.Connection]:
        """A connection to the embedded store's file that is not pooled and begins no transactions by itself."""
        connection = self._plain()
        try:
            yield connection
        finally:
            connection.close()

    def _plain(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, timeout=_PATIENCE_SECONDS, check_same_thread=False)
        _prepare(connection, None)
        return connection

    def insert_many(self, connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows in their order, as the driver takes them. `statement` has one `values ({}, ...)`, a `{}` a value.

        For inserts so frequent that their translation would cost more than themselves. The embedded store gets many rows
        a statement, as many as any SQLite takes: between two statements it would have to wait for the threads that answer.
        """
        if not rows:
            return
        if not self.is_embedded:
            connection.exec_driver_sql(_with_marks(statement, "%s"), list(rows))
            return
        at_once = max(1, _VALUES_AT_ONCE // len(rows[0]))
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            connection.exec_driver_sql(_with_rows(statement, len(some)), tuple(chain.from_iterable(some)))

    def migrate(self) -> None:
        """Bring the tables to the newest version; several processes may do so at once."""
        with _MIGRATING, self.write(in_order=True) as connection:
            command.upgrade(_alembic(connection), "head")

    def is_current(self) -> bool:
        """Whether the tables are of the version that this program knows."""
        head = ScriptDirectory.from_config(_alembic(None)).get_current_head()
        with self.read() as connection:
            return bool(MigrationContext.configure(connection).get_current_revision() == head)

    def close(self) -> None:
        """Give the connections back."""
        while self._idle:
            self._idle.pop().close()
        self.engine.dispose()


def upserting(connection: Connection, table: Table) -> Any:
    """An insert that may say `on_conflict_do_update`, which both kinds of database have."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


@lru_cache(maxsize=64)
def _with_marks(statement: str, mark: str) -> str:
    return statement.replace("{}", mark)


@lru_cache(maxsize=1024)
def _with_rows(statement: str, count: int) -> str:
    before, row, behind = re.split(r"(?<=values )(\([{}, ]+\))", statement)
    return (before + ", ".join([row] * count) + behind).replace("{}", "?")


@contextmanager
def _translated() -> Iterator[None]:
    """What the server or the disk refuses becomes an error that can be tried again; parameters stay out of it."""
    try:
        yield
    except (OperationalError, InterfaceError) as fault:
        raise _away(_first_line(fault)) from None
    except sqlite3.OperationalError as fault:
        raise _away(str(fault)[:120]) from None
    except DBAPIError as fault:
        if not fault.connection_invalidated:
            raise
        raise _away(type(fault.orig).__name__) from None
    except TimeoutError:
        raise _away("all connections are in use") from None


def _away(why: str) -> RetryError:
    return RetryError(
        "the store does not answer ({why}): check that it runs and has room, and try again",
        "存储无响应（{why}）：请检查其是否运行且有空间，然后重试",
        why=why,
    )


def _first_line(fault: DBAPIError) -> str:
    said = str(fault.orig).strip().splitlines()
    return said[0][:120] if said else type(fault.orig).__name__


def _alembic(connection: Connection | None) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _engine(url: str, kind: str) -> Engine:
    if kind == "postgresql":
        return create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=8)
    file = make_url(url).database
    if file and file != ":memory:":
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _PATIENCE_SECONDS}, pool_use_lifo=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, not at the first change
    _write_ahead(connection)
    for pragma in ("synchronous = full", "foreign_keys = on", *_MEMORY):
        connection.execute(f"pragma {pragma}")


def _write_ahead(connection: Any) -> None:
    """Switch to the write-ahead log. Where several processes make the file at once, SQLite answers all but one of them
    that it is locked, without the patience that it has elsewhere."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as fault:
            if "locked" not in str(fault) or time.monotonic() > end:
                raise
            time.sleep(_LOOK_SECONDS)
        else:
            return


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(_WRITE, False):
        _begin_writing(connection.connection.dbapi_connection)
    else:
        connection.exec_driver_sql("begin")


def _begin_writing(connection: Any) -> None:
    """Wait for the store's one writer, looking every moment. SQLite itself looks ever more rarely, up to ten times a second,
    and whoever comes in between goes first."""
    end = time.monotonic() + _PATIENCE_SECONDS
    connection.execute("pragma busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("begin immediate")
            except sqlite3.OperationalError as fault:
                if "locked" not in str(fault) or time.monotonic() > end:
                    raise
                time.sleep(_TURN_SECONDS)
            else:
                return
    finally:
        connection.execute(f"pragma busy_timeout = {int(1000 * _PATIENCE_SECONDS)}")
