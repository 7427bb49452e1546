"""Queries as sources: PostgreSQL and SQLite, streamed; the password is never shown."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from datetime import UTC, datetime

import pytest

from ebbtide.core.errors import MissingExtraError, SourceError
from ebbtide.events import sql_source
from ebbtide.pipeline.ingest import open_quarantine

sqlalchemy = pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")

COLUMNS = {
    "user_id": "customer",
    "occurred_at": "at",
    "type": "case when total < 0 then 'refund' else 'order' end",
    "value": "total",
    "properties": "extra",
}


def counts(report) -> tuple[int, ...]:
    return tuple(asdict(report.total).values())


def _engine(url: str):
    return sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def test_postgresql(make_shop, postgres_url):
    """Numeric, timestamptz, jsonb, bigints, nulls and Chinese text arrive; the second run adds nothing."""
    engine = _engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("create table orders (customer bigint, at timestamptz, total numeric(12, 2), extra jsonb)")
        )
        connection.execute(
            sqlalchemy.text(
                "insert into orders values (9007199254740993, '2024-01-02 10:00+02', 12.50, '{\"注\": \"好\"}'),"
                "(null, '2024-01-03 10:00+00', 1, null), (7, '2024-01-03 10:00+00', -3.10, null)"
            )
        )
    engine.dispose()
    url = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    shop = make_shop(
        COLUMNS, url=url, query="select customer, at, total::numeric as total, extra from orders order by at"
    )
    assert counts(shop.ingest()) == (3, 2, 1, 0, 0)
    found = shop.events()
    assert found["user_id"].to_list() == ["7", "9007199254740993"]
    assert found["occurred_at"].to_list() == [datetime(2024, 1, 3, 10, tzinfo=UTC), datetime(2024, 1, 2, 8, tzinfo=UTC)]
    assert found["value"].to_list() == [-3.1, 12.5]
    assert found["type"].to_list() == ["refund", "order"]
    assert found["properties"][1] == '{"注": "好"}'
    assert counts(shop.ingest()) == (3, 0, 1, 0, 2)
    assert open_quarantine(shop.root).read()["file"].to_list() == ["events"]


def test_a_query_that_grew_adds_only_new_rows(make_shop, postgres_url):
    engine = _engine(postgres_url)
    columns = {"user_id": "u", "occurred_at": "at", "type": "'order'"}
    shop = make_shop(columns, url=postgres_url, query="select * from clicks")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table clicks (u text, at timestamp)"))
        connection.execute(sqlalchemy.text("insert into clicks values ('a', '2024-01-01'), ('a', '2024-01-01')"))
    assert counts(shop.ingest())[1] == 2
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("insert into clicks values ('b', '2024-01-02')"))
    assert counts(shop.ingest()) == (3, 1, 0, 0, 2)
    engine.dispose()


def test_a_refused_query_does_not_show_the_password(make_shop, postgres_url):
    url = postgres_url.replace("postgres@", "postgres:s3cret@")
    shop = make_shop(COLUMNS, url=url, query="select * from nowhere")
    with pytest.raises(
        SourceError, match='source events: the database refuses: relation "nowhere" does not exist'
    ) as caught:
        shop.ingest()
    assert "s3cret" not in str(caught.value) + caught.value.text.zh + repr(shop.config)


def test_a_server_that_is_not_there(make_shop):
    shop = make_shop(COLUMNS, url="postgresql://user:s3cret@127.0.0.1:1/test", query="select 1")
    with pytest.raises(SourceError, match="the database refuses") as caught:
        shop.ingest()
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def sqlite_shop(make_shop):
    shop = make_shop(COLUMNS, url="sqlite:///orders.db", query="select * from orders order by rowid")
    with sqlite3.connect(shop.root / "orders.db") as connection:
        connection.execute("create table orders (customer, at, total, extra)")
    connection.close()
    return shop


def _insert(shop, rows) -> None:
    with sqlite3.connect(shop.root / "orders.db") as connection:
        connection.executemany("insert into orders values (?, ?, ?, ?)", rows)
    connection.close()


def test_sqlite_beside_the_config(sqlite_shop):
    """The path is relative to ebbtide.toml; integers, floats and texts mix in one column."""
    _insert(
        sqlite_shop, [("007", "2024-01-01 10:00", 5, None), (8, 1704103200, 2.5, None), (9, "2024-01-01", "x", None)]
    )
    assert counts(sqlite_shop.ingest()) == (3, 2, 1, 0, 0)
    assert sqlite_shop.events()["user_id"].to_list() == ["007", "8"]


def test_a_column_may_change_its_type_between_chunks(sqlite_shop, monkeypatch):
    """The first chunk of two rows has null totals and whole-number users, later ones texts and fractions."""
    monkeypatch.setattr(sql_source, "_CHUNK_ROWS", 2)
    rows = [(1, "2024-01-01", None, None), (2, "2024-01-01", None, None), ("x3", "2024-01-01", 1.5, None)]
    _insert(sqlite_shop, [*rows, (4, "2024-01-01", 2, None), (2**62, "2024-01-01", 3, None)])
    assert counts(sqlite_shop.ingest())[:2] == (5, 5)
    assert sqlite_shop.events()["user_id"].to_list() == ["1", "2", "4", str(2**62), "x3"]
    assert sqlite_shop.events()["value"].sum() == 6.5


def test_an_empty_query_is_no_error(sqlite_shop):
    assert counts(sqlite_shop.ingest()) == (0, 0, 0, 0, 0)


def test_a_database_file_that_is_not_there(make_shop):
    shop = make_shop(COLUMNS, url="sqlite:///missing.db", query="select 1")
    with pytest.raises(SourceError, match=r"there is no file missing.db"):
        shop.ingest()
    assert not (shop.root / "missing.db").exists()


def test_a_url_that_is_none(make_shop):
    shop = make_shop(COLUMNS, url="nonsense", query="select 1")
    with pytest.raises(SourceError, match=r"the url is not one of postgresql://"):
        shop.ingest()


def test_without_the_extra_the_install_command_is_shown(make_shop, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    shop = make_shop(COLUMNS, url="postgresql://localhost/x", query="select 1")
    with pytest.raises(MissingExtraError, match=r"pip install 'ebbtide\[sql\]'"):
        shop.ingest()
