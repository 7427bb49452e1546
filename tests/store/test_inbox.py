from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebbtide.store.database import Database
from ebbtide.store.inbox import Cursors, Inbox, Incoming


def incoming(event_id: str, user: str = "u", shop: str = "a") -> Incoming:
    return Incoming(shop, event_id, user, {"user_id": user, "type": "order", "occurred_at": 5, "value": 1.5})


def test_an_event_is_stored_once_however_often_it_comes(database: Database) -> None:
    inbox = Inbox(database)
    assert inbox.add([incoming("1"), incoming("2"), incoming("1")], 10) == [True, True, False]
    assert inbox.add([incoming("2"), incoming("3")], 11) == [False, True]
    assert [e.fields["event_id"] for e in inbox.after("a", 0, 10)] == ["1", "2", "3"]


def test_the_same_id_in_two_shops_is_two_events_and_no_shop_sees_the_others(database: Database) -> None:
    inbox = Inbox(database)
    assert inbox.add([incoming("1", shop="a"), incoming("1", shop="b")], 10) == [True, True]
    assert len(inbox.after("a", 0, 10)) == len(inbox.after("b", 0, 10)) == 1
    assert inbox.after("b", 0, 1)[0].seq != inbox.after("a", 0, 1)[0].seq


def test_time_never_runs_back(database: Database) -> None:
    """A clock that is set back must not make what was known before unknown."""
    inbox = Inbox(database)
    inbox.add([incoming("1")], 100)
    inbox.add([incoming("2")], 50)
    inbox.add([incoming("3")], 120)
    assert [e.fields["ingested_at"] for e in inbox.after("a", 0, 10)] == [100, 100, 120]


def test_who_has_read_up_to_a_number_has_missed_nothing_before_it(database: Database) -> None:
    """Writers at once, a reader that follows: each number is seen in order, and none appears behind the reader."""
    inbox, seen = Inbox(database), list[int]()

    def write(writer: int) -> None:
        for k in range(12):
            inbox.add([incoming(f"{writer}-{k}-{i}") for i in range(3)], 1)

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, w) for w in range(4)]
        while not all(w.done() for w in writing):
            seen += [e.seq for e in inbox.after("a", seen[-1] if seen else 0, 10)]
    seen += [e.seq for e in inbox.after("a", seen[-1] if seen else 0, 1000)]
    assert seen == [e.seq for e in inbox.after("a", 0, 1000)]
    assert len(seen) == 4 * 12 * 3


def test_touched_names_each_user_of_the_next_events_once(database: Database) -> None:
    inbox = Inbox(database)
    inbox.add([incoming(str(i), user=f"u{i % 3}") for i in range(9)], 1)
    users, up_to = inbox.touched("a", 0, 4)
    assert users == ["u0", "u1", "u2"]
    assert inbox.count("a", up_to) == 5
    assert inbox.touched("a", inbox.newest("a"), 4) == ([], inbox.newest("a"))


def test_pruning_forgets_old_events_up_to_a_number_and_never_gives_a_number_twice(database: Database) -> None:
    inbox = Inbox(database)
    inbox.add([incoming("1"), incoming("2")], 10)
    inbox.add([incoming("3")], 20)
    last = inbox.newest("a")
    assert inbox.prune("a", up_to=last - 1, before_us=20) == 2
    assert inbox.prune("a", up_to=last, before_us=99) == 1
    inbox.add([incoming("4")], 30)
    assert inbox.newest("a") > last


def test_old_events_are_forgotten_in_pieces_up_to_the_number_and_the_moment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebbtide.store.inbox._FORGOTTEN_AT_ONCE", 3)
    inbox = Inbox(database)
    for moment in (10, 20, 30):
        inbox.add([incoming(f"{moment}-{k}") for k in range(4)], moment)
        inbox.add([Incoming("b", f"{moment}-{k}", "u", {}) for k in range(2)], moment)
    assert inbox.prune("a", up_to=inbox.newest("a"), before_us=30, most=5) == 6
    assert inbox.prune("a", up_to=inbox.newest("a"), before_us=30) == 2
    assert [e.fields["ingested_at"] for e in inbox.after("a", 0, 100)] == [30] * 4
    assert len(inbox.after("b", 0, 100)) == 6


def test_a_cursor_moves_with_the_transaction_of_its_reader(database: Database) -> None:
    assert Cursors(database).position("a", "scored") == 0
    for position in (4, 9):
        with database.write() as connection:
            Cursors.move(connection, "a", "scored", position, 1)
    assert Cursors(database).position("a", "scored") == 9
    assert Cursors(database).position("b", "scored") == 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=40).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t)))
def test_any_text_comes_back_as_it_was(database: Database, text: str) -> None:
    inbox = Inbox(database)
    before = inbox.newest("a")
    inbox.add([Incoming("a", f"{before}{text}", "u", {"user_id": "u", "text": text})], 1)
    assert [e.fields["text"] for e in inbox.after("a", before, 10)] == [text]


def test_a_new_store_goes_on_behind_what_the_lake_has_counted(database: Database) -> None:
    """Numbers are not given twice, and never go back."""
    inbox = Inbox(database)
    inbox.continue_behind(0)
    inbox.add([incoming("1")], 10)
    assert inbox.newest("a") == 1
    inbox.continue_behind(50)
    inbox.continue_behind(7)
    inbox.add([incoming("2")], 11)
    assert inbox.newest("a") == 51
    assert [e.fields["event_id"] for e in inbox.after("a", 50, 10)] == ["2"]


def test_who_follows_the_inbox_reads_what_is_new_and_nothing_else(tmp_path: Path) -> None:
    """The plan of the embedded store: a search by number, no sorting; else each look would walk over everything."""
    database = Database.open(f"sqlite:///{tmp_path}/service.db")
    new = "inbox where shop_id = 'a' and seq > 5"
    for query in (f"select seq, user_id from {new} order by seq limit 9", f"select count(*) from {new}"):
        with database.read() as connection:
            plan = str(connection.exec_driver_sql(f"explain query plan {query}").all())
        assert "COVERING INDEX ix_inbox_order (shop_id=? AND seq>?)" in plan
        assert "TEMP B-TREE" not in plan
    database.close()


def test_the_last_number_before_a_moment_is_found_without_reading_all(database: Database) -> None:
    inbox = Inbox(database)
    assert inbox.last_before("a", 10) == 0
    for moment in (10, 20, 20, 30):
        inbox.add([incoming(f"{moment}-{inbox.newest('a')}-{k}") for k in range(3)], moment)
        inbox.add([incoming(f"{moment}-{inbox.newest('b')}", shop="b")], moment)
    stored = inbox.after("a", 0, 100)
    for moment in (0, 10, 11, 20, 25, 30, 31):
        before = [e.seq for e in stored if e.fields["ingested_at"] < moment]
        found = inbox.last_before("a", moment)
        assert [e.seq for e in stored if e.seq <= found] == before


def test_events_are_found_by_number_and_pruned_ones_are_left_out(database: Database) -> None:
    inbox = Inbox(database)
    inbox.add([incoming(str(k)) for k in range(3)], 10)
    numbers = [e.seq for e in inbox.after("a", 0, 10)]
    inbox.prune("a", up_to=numbers[0], before_us=11)
    assert [e.fields["event_id"] for e in inbox.at([*numbers, numbers[-1] + 9])] == ["1", "2"]
    assert inbox.at([]) == []
    assert inbox.touches("a", numbers[2], 5) == [(numbers[2], "u")]
