"""Tail and lake together are, at any moment, all that was accepted, each event once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.core.settings import LakeConfig
from ebbtide.events.data_files import sorted_events
from ebbtide.events.lake import lake_folder
from ebbtide.events.live_event import event_frame
from ebbtide.pipeline import histories as module
from ebbtide.pipeline import tail as tail_module
from ebbtide.pipeline.histories import Bucket, Histories
from ebbtide.pipeline.landing import land
from ebbtide.pipeline.tail import Tail
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox, Incoming, Stored
from ebbtide.store.shops import Shops

CONFIG = LakeConfig(buckets=3)
USERS = [f"u{k}" for k in range(7)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few events, so that a test has many of them."""
    for name, value in (("_AT_ONCE", 5), ("_NEWEST", 6), ("_RUN", 24)):
        monkeypatch.setattr(tail_module, name, value)
    monkeypatch.setattr(module, "_READ_AT_ONCE", 4)


def event(number: int, user: str | None = None) -> Incoming:
    own = user or USERS[number * number % len(USERS)]
    fields = {"user_id": own, "type": "order", "occurred_at": 10**15 + 1_000_000 * (number % 11), "value": 1.5}
    return Incoming("shop", f"e{number}", own, fields)


def ids(frames: Iterator[pl.DataFrame] | list[pl.DataFrame]) -> list[str]:
    return sorted(event_id for frame in frames for event_id in frame["event_id"].to_list())


class Site:
    """A store and a lake, two processes that ask, and what was accepted so far."""

    def __init__(self, root: Path) -> None:
        shutil.rmtree(root, ignore_errors=True)
        self.root, url = root, f"sqlite:///{root}/service.db"
        self.databases = [Database.open(url), Database.open(url)]
        Shops(self.databases[0]).register("shop")
        self.inboxes = [Inbox(database) for database in self.databases]
        self.asking = [Histories(inbox, "shop", root, CONFIG) for inbox in self.inboxes]
        self.accepted: list[Incoming] = []

    def add(self, count: int) -> None:
        new = [event(len(self.accepted) + k) for k in range(count)]
        self.inboxes[count % 2].add([*new, *self.accepted[-2:]], len(self.accepted))
        self.accepted += new

    def land(self, limit: int) -> None:
        land(self.inboxes[0], "shop", self.root, CONFIG, limit=max(limit, 1))

    def prune(self, limit: int) -> None:
        """Forget what has landed and every process has read from the lake, as after the least time that events are kept."""
        known = min(histories.landed for histories in self.asking)
        self.inboxes[0].prune("shop", up_to=known, before_us=2**60, most=max(limit, 1))

    def check(self, number: int) -> None:
        """All ways to ask, of one process."""
        histories, expected = self.asking[number % 2], sorted(e.event_id for e in self.accepted)
        whole = histories.of_users([*USERS, "a stranger"])
        assert whole["event_id"].sort().to_list() == expected
        assert whole.equals(whole.sort("user_id", "occurred_at", "event_id"))
        user = USERS[number % len(USERS)]
        assert histories.of_users([user]).equals(whole.filter(pl.col("user_id") == user))
        assert ids(histories.in_parts(USERS, rows=4)) == expected
        assert ids(histories.everybody()) == expected

    def close(self) -> None:
        for database in self.databases:
            database.close()


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "land", "prune", "refresh", "check"]), st.integers(0, 25)), max_size=12
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 3)), max_size=20),
    st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 3)), max_size=12),
)
def test_a_bucket_that_is_joined_by_new_files_is_what_reading_all_gives(
    old: list[tuple[str, int]], new: list[tuple[str, int]]
) -> None:
    """Equal moments and new users too."""
    frames, count = list[pl.DataFrame](), 0
    for rows in (old, new):
        found = []
        for user, moment in rows:
            count += 1
            found.append({"event_id": f"e{count * 7919 % 100}-{count}", "user_id": user, "occurred_at": moment})
        frames.append(sorted_events(event_frame(found)))
    joined = Bucket.of((), frames[0]).joined((), frames[1])
    whole = Bucket.of((), sorted_events(pl.concat(frames)))
    assert joined.events.equals(whole.events)
    assert joined.place == whole.place
    for name in ("first", "times", "hashes"):
        assert np.array_equal(getattr(joined, name), getattr(whole, name))


@pytest.mark.usefixtures("small")
@settings(deadline=None, max_examples=15)
@given(STEPS)
def test_tail_and_lake_are_all_that_was_accepted_whatever_happens_in_between(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    site = Site(tmp_path_factory.getbasetemp() / "site")
    for step, count in steps:
        match step:
            case "add":
                site.add(count)
            case "land":
                site.land(count)
            case "prune":
                site.prune(count)
            case "refresh":
                site.asking[count % 2].refresh()
            case "check":
                site.check(count)
    site.check(0)
    site.check(1)
    site.close()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("everybody", [False, True])
def test_events_that_are_pruned_between_two_looks_are_read_from_the_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everybody: bool
) -> None:
    """The number is known, the event has left the inbox: it has landed, though this process has not seen that yet."""
    site = Site(tmp_path / "site")
    site.add(20)
    at = Inbox.at

    def pruned_before(inbox: Inbox, numbers: Sequence[int]) -> list[Stored]:
        monkeypatch.undo()
        site.land(100)
        inbox.prune("shop", up_to=20, before_us=2**60)
        return at(inbox, numbers)

    monkeypatch.setattr(Inbox, "at", pruned_before)
    found = site.asking[0].everybody() if everybody else [site.asking[0].of_users(USERS)]
    assert ids(found) == sorted(e.event_id for e in site.accepted)
    site.close()


@pytest.mark.usefixtures("small")
def test_who_asks_while_others_add_land_and_prune_misses_nothing_and_sees_nothing_twice(tmp_path: Path) -> None:
    """What was accepted before the question is in the answer, once."""
    site, done = Site(tmp_path / "site"), list[int]()

    def ask(number: int) -> None:
        histories = site.asking[number % 2]
        while not done:
            before = {e.event_id for e in list(site.accepted)}
            found = histories.of_users(USERS)["event_id"].to_list()
            assert len(found) == len(set(found))
            assert before <= set(found)

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, k) for k in range(3)]
        for k in range(12):
            site.add(9)
            site.land(15)
            site.asking[k % 2].refresh()
            site.prune(100)
        done.append(1)
        for one in asking:
            one.result()
    site.check(0)
    site.close()


def test_landing_takes_an_event_once_though_the_inbox_holds_it_twice(tmp_path: Path) -> None:
    """As it may, of events older than those that it remembers."""
    site = Site(tmp_path / "site")
    site.inboxes[0].add([event(k) for k in range(5)], 1)
    with site.databases[0].write() as connection:
        connection.exec_driver_sql(
            "insert into inbox (shop_id, event_key, user_id, ingested_us, body) "
            "select shop_id, event_key, user_id, ingested_us, body from inbox where seq < 4"
        )
    assert land(site.inboxes[0], "shop", site.root, CONFIG).repeated == 3
    site.asking[0].refresh()
    assert ids([site.asking[0].of_users(USERS)]) == [f"e{k}" for k in range(5)]
    assert (lake_folder(site.root) / "events").is_dir()
    site.close()


def test_a_burst_takes_little_memory_and_landing_gives_it_back(tmp_path: Path) -> None:
    """Whatever the number of users: 16 bytes an event, but for the newest few thousand."""

    class Burst:
        count = 200_000

        def touches(self, shop_id: str, start: int, limit: int) -> list[tuple[int, str]]:
            return [(n, f"user-{n}") for n in range(start, min(start + limit, self.count + 1))]

    tail = Tail(Burst(), "shop", 0)  # type: ignore[arg-type]
    tail.follow()
    assert len(tail) == Burst.count
    held = sum(run.hashes.nbytes + run.numbers.nbytes for run in tail._runs)
    assert held <= 16 * Burst.count
    assert tail._count < tail_module._NEWEST
    assert tail.numbers(["user-7", "user-199999", "nobody"], 0).tolist() in ([7, 199_999], [199_999, 7])
    assert tail.counts(["user-7", "nobody"]).tolist() == [1, 0]
    tail.forget(Burst.count - 10)
    assert len(tail) == 10
    assert tail.numbers(["user-7", "user-199999"], tail.begin).tolist() == [199_999]


@pytest.mark.usefixtures("small")
def test_a_store_in_the_place_of_another_is_followed_anew() -> None:
    class Store:
        def __init__(self) -> None:
            self.rows = [(n, f"u{n % 3}") for n in range(1, 30)]

        def touches(self, shop_id: str, start: int, limit: int) -> list[tuple[int, str]]:
            return [row for row in self.rows if row[0] >= start][:limit]

    store = Store()
    tail = Tail(store, "shop", 0)  # type: ignore[arg-type]
    tail.follow()
    store.rows = [(n, "u9") for n in range(1, 8)]
    tail.follow()
    assert np.sort(tail.numbers(["u9", "u1"], 0)).tolist() == list(range(1, 8))
