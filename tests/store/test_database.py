from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, select

from ebbtide.core.errors import InputError, RetryError
from ebbtide.store.database import Database
from ebbtide.store.tables import cursors, metadata


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrating_again_or_from_several_processes_at_once_changes_nothing(store_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: Database.open(store_url), range(4)))
    assert all(database.is_current() for database in opened)
    for database in opened:
        database.close()


def test_processes_that_make_the_embedded_store_at_once_wait_for_one_another(tmp_path: Path) -> None:
    """Many first openings: switching to the write-ahead log is refused to all but one, who must then look again."""

    def open_and_close(number: int) -> bool:
        opened = Database.open(f"sqlite:///{tmp_path}/{number % 12}.db")
        current = opened.is_current()
        opened.close()
        return current

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(open_and_close, sorted(list(range(12)) * 6)))


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    row = {"shop_id": "a", "name": "n", "position": 1, "at_us": 0}

    def fail_midway() -> None:
        with database.write() as connection:
            connection.execute(insert(cursors).values(row))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    with database.read() as connection:
        assert connection.execute(select(cursors)).all() == []


@pytest.mark.parametrize("url", ["mysql://u@h/d", "no url at all", "oracle+x://"])
def test_another_kind_of_database_is_refused_with_the_two_that_work(url: str) -> None:
    with pytest.raises(InputError, match=r"sqlite:///.*postgresql\+psycopg"):
        Database.open(url)


def test_a_server_that_does_not_answer_is_an_error_to_try_again_and_tells_no_password() -> None:
    with pytest.raises(RetryError, match="does not answer") as caught:
        Database.open("postgresql+psycopg://somebody:hunter2@127.0.0.1:1/test?connect_timeout=1")
    assert "hunter2" not in str(caught.value)


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/deep/er/service.db"
    first = Database.open(url)
    with first.write() as connection:
        connection.execute(insert(cursors).values(shop_id="a", name="n", position=7, at_us=0))
    first.close()
    again = Database.open(url)
    with again.read() as connection:
        assert connection.scalar(select(cursors.c.position)) == 7
    again.close()


def test_the_first_row_of_a_question_is_that_of_the_newest_state(database: Database) -> None:
    question = "select position, name from cursors where shop_id = {} and name = {}"
    assert database.first(question, ("a", "n")) is None
    for position in (1, 2):
        with database.write() as connection:
            connection.execute(cursors.delete())
            connection.execute(insert(cursors).values(shop_id="a", name="n", position=position, at_us=0))
            assert database.first(question, ("a", "n")) == (None if position == 1 else (1, "n"))
        assert database.first(question, ("a", "n")) == (position, "n")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: database.first(question, ("a", "n")), range(200))) == {(2, "n")}


def test_a_question_to_a_file_that_went_away_is_an_error_to_try_again(tmp_path: Path) -> None:
    opened = Database.open(f"sqlite:///{tmp_path}/service.db")
    opened.close()
    (tmp_path / "service.db").unlink()
    with pytest.raises(RetryError, match="does not answer"):
        opened.first("select position from cursors where shop_id = {}", ("a",))
    opened.close()


def test_whoever_waits_for_the_one_writer_is_next_and_gives_up_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (Database.open(f"sqlite:///{tmp_path}/service.db") for _ in range(2))
    row = {"shop_id": "a", "name": "n", "position": 1, "at_us": 0}

    def write() -> None:
        with second.write() as connection:
            connection.execute(insert(cursors).values(row))

    with ThreadPoolExecutor(1) as pool:
        with first.write():
            waiting = pool.submit(write)
            assert not waiting.done()
        waiting.result()
    monkeypatch.setattr("ebbtide.store.database._PATIENCE_SECONDS", 0.01)
    with first.write(), pytest.raises(RetryError, match="does not answer"):
        write()
    write_again = {**row, "name": "m"}
    with second.write() as connection:
        connection.execute(insert(cursors).values(write_again))
    with first.read() as connection:
        assert len(connection.execute(select(cursors)).all()) == 2
    for database in (first, second):
        database.close()
