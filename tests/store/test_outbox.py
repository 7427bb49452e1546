"""A message is claimed by one worker at a time, comes back when its worker dies, and is never lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ebbtide.core.errors import RetryError
from ebbtide.store.alert_memory import counts_of_day, lock_alerts, memories_of, remember, set_counts
from ebbtide.store.database import Database
from ebbtide.store.destinations import FAILURES, Destinations, Standing
from ebbtide.store.outbox import Message, NewMessage, Outbox
from ebbtide.store.timers import Timer, Timers


def filled(database: Database, count: int, *, shop: str = "a", channel: str = "crm", due_us: int = 10) -> Outbox:
    outbox = Outbox(database, shop)
    rows = [NewMessage(channel, f"{shop}{k}", due_us + k, 10, f"u{k}", "", b"{}") for k in range(count)]
    with database.write() as connection:
        outbox.add_within(connection, rows)
    return outbox


def claim(database: Database, outbox: Outbox, now_us: int, limit: int = 100, channel: str = "crm") -> list[Message]:
    with database.write() as connection:
        return outbox.claim_within(connection, channel, now_us, limit, 1000)


def test_only_what_is_due_is_claimed_the_longest_waiting_first(database: Database) -> None:
    outbox = filled(database, 5)
    assert outbox.next_due_us("crm") == 10
    assert [m.message_id for m in claim(database, outbox, 12, 2)] == ["a0", "a1"]
    assert [m.message_id for m in claim(database, outbox, 12)] == ["a2"]
    assert claim(database, outbox, 12) == []
    assert claim(database, outbox, 99, channel="other") == []
    assert claim(database, Outbox(database, "b"), 99) == []


def test_the_message_of_a_worker_that_died_comes_back_with_the_same_id_when_its_lease_ends(database: Database) -> None:
    outbox = filled(database, 1)
    first = claim(database, outbox, 10)[0]
    assert claim(database, outbox, 1009) == []
    again = claim(database, outbox, 1010)[0]
    assert (again.message_id, again.body, again.attempts) == (first.message_id, first.body, 2)


def test_many_workers_at_once_claim_every_message_exactly_once(database: Database) -> None:
    outbox = filled(database, 200)

    def work(_: int) -> list[str]:
        mine: list[str] = []
        while got := claim(database, outbox, 300, 7):
            mine += [m.message_id for m in got]
        return mine

    with ThreadPoolExecutor(4) as pool:
        found = [m for part in pool.map(work, range(4)) for m in part]
    assert sorted(found) == sorted(f"a{k}" for k in range(200))


def test_a_worker_that_claims_does_not_wait_for_another_that_claims(database: Database) -> None:
    """On PostgreSQL rows that are being claimed are skipped; SQLite has one writer, and says so after its time."""
    outbox = filled(database, 4)
    if database.is_embedded:
        return
    with database.write() as first:
        mine = outbox.claim_within(first, "crm", 99, 2, 1000)
        assert [m.message_id for m in claim(database, outbox, 99)] == ["a2", "a3"]
    assert [m.message_id for m in mine] == ["a0", "a1"]


def test_who_has_lost_the_lease_can_say_that_it_was_sent_and_nothing_else(database: Database) -> None:
    outbox = filled(database, 2)
    late, other = claim(database, outbox, 11)
    again = {m.message_id: m for m in claim(database, outbox, 5000)}
    with database.write() as connection:
        outbox.retry_within(connection, late, 9_999_999, "timeout")
        outbox.bury_within(connection, other, "gone")
        outbox.sent_within(connection, [late], 5001)
    assert outbox.counts() == {("crm", "sent"): 1, ("crm", "waiting"): 1}
    with database.write() as connection:
        outbox.bury_within(connection, again["a1"], "gone")
        outbox.retry_within(connection, again["a0"], 0, "too late: it was sent")
    assert outbox.counts() == {("crm", "dead"): 1, ("crm", "sent"): 1}
    assert outbox.dead() == [("crm", "a1", "gone")]


def test_dead_letters_wait_again_as_new_ones(database: Database) -> None:
    outbox = filled(database, 2)
    with database.write() as connection:
        for message in outbox.claim_within(connection, "crm", 99, 9, 1000):
            outbox.bury_within(connection, message, "gone")
    assert outbox.next_due_us("crm") is None
    assert outbox.revive(500, channel="other") == 0
    assert outbox.revive(500) == 2
    assert {(m.attempts, m.since_us) for m in claim(database, outbox, 500)} == {(1, 500)}


def test_messages_of_expired_alerts_are_dropped_and_old_ones_forgotten(database: Database) -> None:
    outbox = filled(database, 3)
    with database.write() as connection:
        outbox.drop_alerts_within(connection, ["a0"], "expired")
        outbox.sent_within(connection, outbox.claim_within(connection, "crm", 11, 9, 1000), 50)
    assert outbox.counts() == {("crm", "dropped"): 1, ("crm", "sent"): 1, ("crm", "waiting"): 1}
    with database.write() as connection:
        assert outbox.prune_within(connection, done_before_us=51, dead_before_us=0) == 2
    assert outbox.counts() == {("crm", "waiting"): 1}


def test_the_same_message_is_stored_once(database: Database) -> None:
    filled(database, 2)
    assert filled(database, 3).counts() == {("crm", "waiting"): 3}


def test_a_channel_is_closed_after_failures_in_a_row_and_a_restart_remembers_it(database: Database) -> None:
    places = Destinations(database, "a")
    assert places.standing("crm") == Standing()
    standing = Standing()
    for _ in range(FAILURES):
        standing = standing.after_failure(100, was_trial=False)
    with database.write() as connection:
        places.put_within(connection, "crm", standing)
    assert Destinations(database, "a").standing("crm") == standing
    assert Destinations(database, "b").standing("crm") == Standing()
    assert standing.allows(standing.closed_until_us - 1, 8) == 0
    with database.write() as connection:
        places.put_within(connection, "crm", Standing())
    assert places.standing("crm") == Standing()


def test_a_receiver_that_is_back_waits_eight_seconds_at_most_for_a_trial() -> None:
    standing, pauses = Standing(FAILURES, 0), []
    for _ in range(12):
        standing = standing.after_failure(0, was_trial=True)
        pauses.append(standing.closed_until_us / 1e6)
    assert pauses == [8] * 12


def test_a_timer_gives_way_to_a_newer_one_and_is_stopped_by_what_follows_in_its_time_only(database: Database) -> None:
    timers = Timers(database)
    with database.write() as connection:
        Timers.set_within(connection, "a", [Timer("cart", "u1", 10, 20), Timer("cart", "u2", 10, 20)])
        Timers.set_within(connection, "a", [Timer("cart", "u1", 21, 31), Timer("cart", "u2", 11, 21)])
    assert timers.due("a", 99, 9) == [
        Timer("cart", "u1", 10, 20),
        Timer("cart", "u2", 11, 21),
        Timer("cart", "u1", 21, 31),
    ]
    assert timers.due("a", 19, 9) == []
    assert timers.next_due_us("a") == 20
    with database.write() as connection:
        Timers.stop_within(connection, "a", "cart", [("u1", 9), ("u1", 21), ("u2", 10), ("u2", 22)])
        Timers.stop_within(connection, "a", "other", [("u2", 12)])
    assert timers.due("a", 99, 9) == [Timer("cart", "u1", 10, 20), Timer("cart", "u2", 11, 21)]


def test_a_timer_is_taken_once_and_not_if_it_was_renewed_meanwhile(database: Database) -> None:
    with database.write() as connection:
        Timers.set_within(connection, "a", [Timer("cart", f"u{k}", 10, 20) for k in range(3)])
    seen = Timers(database).due("a", 20, 9)
    with database.write() as connection:
        Timers.set_within(connection, "a", [Timer("cart", "u1", 15, 25)])
        assert sorted(t.user_id for t in Timers.take_within(connection, "a", seen)) == ["u0", "u2"]
        assert Timers.take_within(connection, "a", seen) == []


def test_memories_and_counts_are_replaced_and_empty_ones_forgotten(database: Database) -> None:
    with database.write() as connection:
        lock_alerts(connection, "a")
        remember(connection, "a", {"u1": {"today": 1}, "u2": {"today": 2}})
        remember(connection, "a", {"u1": {"today": 3}, "u2": {}})
        assert memories_of(connection, "a", ["u1", "u2"]) == {"u1": {"today": 3}}
        assert memories_of(connection, "b", ["u1"]) == {}
        set_counts(connection, "a", 7, {"": 3, "cart": 2})
        set_counts(connection, "a", 7, {"": 4})
        assert counts_of_day(connection, "a", 7) == {"": 4, "cart": 2}
        set_counts(connection, "a", 30, {"": 1})
        assert counts_of_day(connection, "a", 7) == {}


def test_only_one_transaction_at_a_time_raises_alerts_of_a_shop(database: Database) -> None:
    def impatient(shop_id: str) -> None:
        with database.write() as connection:
            if not database.is_embedded:
                connection.exec_driver_sql("set local lock_timeout = '50ms'")
            lock_alerts(connection, shop_id)

    if database.is_embedded:
        return impatient("a")
    with database.write() as first:
        lock_alerts(first, "a")
        impatient("b")
        with pytest.raises(RetryError):
            impatient("a")
    return impatient("a")
