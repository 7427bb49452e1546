"""What is known in memory of the inbox is what a plain set of all its keys would know."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.core.errors import RetryError
from ebbtide.store import seen as module
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox, Incoming
from ebbtide.store.seen import Row, Run, Seen


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a few keys, so that a test has many of them."""
    for name, value in (("AT_ONCE", 7), ("_NEWEST", 5), ("_RUN", 40)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr("ebbtide.store.inbox.AT_ONCE", 7)


@pytest.fixture
def second(store_url: str, database: Database) -> Iterator[Database]:
    """The same store, opened once more, as another process would."""
    opened = Database.open(store_url, migrate=False)
    yield opened
    opened.close()


def key(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


class Rows:
    """The rows of a shop, as the store would give them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def read(self, start: int) -> list[Row]:
        return [row for row in self.rows if row[0] >= start][:7]

    def oldest(self) -> int:
        return self.rows[0][0] if self.rows else 0


def event(event_id: object, shop: str = "a") -> Incoming:
    return Incoming(shop, str(event_id), "u", {"user_id": "u", "type": "order", "occurred_at": 5})


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from("aaap"), st.integers(0, 20)), max_size=30))
def test_it_knows_what_a_plain_set_of_the_rows_would_know(steps: list[tuple[str, int]]) -> None:
    """`a`: so many rows more; `p`: the oldest so many are pruned. What was pruned it may know or not."""
    rows, seen, number, gone = Rows(), Seen(Path(tempfile.gettempdir())), 0, set[bytes]()
    for step, count in steps:
        if step == "a":
            rows.rows += [(n, key(n)) for n in range(number, number + count)]
            number += count
        else:
            gone |= {k for _, k in rows.rows[:count]}
            del rows.rows[:count]
        seen.follow(rows.read, rows.oldest)
        here = {k for _, k in rows.rows}
        found = seen.known([key(n) for n in range(-5, number + 5)])
        assert here <= found <= here | gone


def test_what_was_pruned_is_let_go_of_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, seen = Rows(), Seen()
    for n in range(1000):
        rows.rows.append((n, key(n)))
        del rows.rows[:-50]
        seen.follow(rows.read, rows.oldest)
    assert len(seen) <= 50 + 5 + 40
    monkeypatch.setattr(module, "_MOST", 100)
    for n in range(1000, 2000):
        rows.rows.append((n, key(n)))
        seen.follow(rows.read, rows.oldest)
    assert len(seen) <= 105
    assert seen.known([key(n) for n in range(1950, 2005)]) == {key(n) for n in range(1950, 2000)}


@pytest.mark.parametrize("has_disk", [False, True])
def test_keys_that_begin_alike_are_told_apart(tmp_path: Path, has_disk: bool) -> None:
    """By their first half, or by its first four bytes alone."""
    high = 1 << 32
    halves = np.array([[high, 1], [high, 2], [high + 1, 3], [2 * high, 1]], np.uint64)
    run = Run.of(halves, 4, tmp_path if has_disk else None)
    assert run.longest == 3
    asked = [[0, 1], [high, 2], [high, 3], [high + 1, 3], [high + 2, 3], [2 * high, 1], [2 * high, 2], [3 * high, 1]]
    told = run.holds(np.array(asked, np.uint64)).tolist()
    assert told == [False, True, False, True, False, True, False, False]
    assert list(tmp_path.iterdir()) == [], "the file has no name"


def test_a_disk_that_takes_nothing_leaves_keys_in_memory(tmp_path: Path) -> None:
    keys = np.array([[1, 1], [1, 2]], np.uint64)
    run = Run.of(keys, 2, tmp_path / "is not there")
    assert run.holds(keys).all()


@pytest.mark.parametrize("last_stays", [True, False])
def test_another_store_in_the_place_of_the_old_one_is_learnt_anew(last_stays: bool) -> None:
    rows, seen = Rows(), Seen()
    rows.rows = [(n, key(n)) for n in range(30)]
    seen.follow(rows.read, rows.oldest)
    rows.rows = [(n, key(n) if n < 12 else key(-n)) for n in range(40 if last_stays else 20)]
    seen.follow(rows.read, rows.oldest)
    assert seen.known([key(n) for n in range(-50, 50)]) == {k for _, k in rows.rows}


def test_what_was_undone_was_not_seen(database: Database) -> None:
    """In whatever state a transaction ends, also if nobody knows which: only what is in the store counts."""
    inbox = Inbox(database)
    assert inbox.add([event(0)], 1) == [True]

    def fail_midway() -> None:
        with database.write(in_order=True) as connection:
            adding = inbox.adding(connection)
            assert adding.add([event(0), event(1)], 1) == [False, True]
            assert adding.add([event(1), event(2), event(2)], 1) == [False, True, False]
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            fail_midway()
    assert inbox.add([event(1), event(2)], 1) == [True, True]
    assert inbox.add([event(k) for k in range(4)], 1) == [False, False, False, True]


def test_a_failure_while_it_learns_leaves_it_right() -> None:
    rows, seen, calls = Rows(), Seen(), list[int]()
    rows.rows = [(n, key(n)) for n in range(40)]

    def read(start: int) -> list[Row]:
        calls.append(start)
        if len(calls) in (2, 4):
            raise RetryError("away", "离开")
        return rows.read(start)

    for _ in range(2):
        with pytest.raises(RetryError):
            seen.follow(read, rows.oldest)
    seen.follow(read, rows.oldest)
    assert seen.known([key(n) for n in range(50)]) == {key(n) for n in range(40)}


def test_two_processes_that_write_in_turn_take_each_event_once(database: Database, second: Database) -> None:
    """Random batches with repeats, by either one, in either shop, with pruning in between."""
    rng, taken = np.random.default_rng(0), set[tuple[str, int]]()
    inboxes = [Inbox(database), Inbox(second)]
    for moment in range(60):
        inbox, shop = inboxes[rng.integers(2)], "ab"[rng.integers(2)]
        ids = rng.integers(0, 400, rng.integers(1, 20)).tolist()
        expected, known = [], set(taken)
        for number in ids:
            expected.append((shop, number) not in known)
            known.add((shop, number))
        assert inbox.add([event(n, shop) for n in ids], moment) == expected
        taken = known
    for shop in "ab":
        stored = [e.fields["event_id"] for e in inboxes[0].after(shop, 0, 10_000)]
        assert len(stored) == len(set(stored)) == sum(s == shop for s, _ in taken)


def test_who_starts_anew_knows_what_is_there_and_no_more(database: Database, store_url: str) -> None:
    inbox = Inbox(database)
    inbox.add([event(n) for n in range(10)], 10)
    inbox.add([event(n) for n in range(10, 30)], 20)
    assert inbox.prune("a", up_to=inbox.newest("a"), before_us=20) == 10
    assert inbox.add([event(n) for n in range(10, 32)], 30) == [False] * 20 + [True] * 2
    again = Database.open(store_url, migrate=False)
    assert Inbox(again).add([event(n) for n in range(5, 33)], 40) == [True] * 5 + [False] * 22 + [True]
    again.close()


def test_threads_of_two_processes_that_write_at_once_take_each_event_once(database: Database, second: Database) -> None:
    def write(writer: int) -> int:
        inbox, rng = Inbox((database, second)[writer % 2]), np.random.default_rng(writer)
        return sum(sum(inbox.add([event(n) for n in rng.integers(0, 120, 9)], 1)) for _ in range(12))

    with ThreadPoolExecutor(4) as pool:
        fresh = sum(pool.map(write, range(4)))
    stored = [e.fields["event_id"] for e in Inbox(database).after("a", 0, 10_000)]
    assert len(stored) == len(set(stored)) == fresh
