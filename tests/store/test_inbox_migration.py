"""An inbox of the older kind, with its events, becomes one of appends."""

from __future__ import annotations

from alembic import command

from ebbtide.store.database import Database, _alembic
from ebbtide.store.inbox import Inbox, Incoming
from ebbtide.store.shops import Shops


def event(event_id: str) -> Incoming:
    return Incoming("a", event_id, "u", {"user_id": "u", "type": "order", "occurred_at": 5})


def test_events_and_numbers_of_an_older_store_stay(store_url: str) -> None:
    old = Database.open(store_url, migrate=False)
    with old.write() as connection:
        command.upgrade(_alembic(connection), "0005")
    Shops(old).register("a")
    inbox = Inbox(old)
    inbox.add([event(str(k)) for k in range(5)], 7)
    last = inbox.newest("a")
    inbox.prune("a", up_to=last, before_us=8, most=1)
    inbox.add([event("5"), event("6")], 9)
    kept = inbox.after("a", 0, 100)
    inbox.prune("a", up_to=inbox.newest("a"), before_us=8)
    old.close()
    new = Database.open(store_url)
    inbox = Inbox(new)
    assert new.is_current()
    assert inbox.after("a", 0, 100) == kept
    assert inbox.add([event("5"), event("8")], 10) == [False, True]
    assert inbox.newest("a") > kept[-1].seq
    new.close()


def test_numbers_go_on_where_they_were_though_no_event_is_left(store_url: str) -> None:
    old = Database.open(store_url, migrate=False)
    with old.write() as connection:
        command.upgrade(_alembic(connection), "0005")
    Shops(old).register("a")
    Inbox(old).add([event(str(k)) for k in range(5)], 7)
    Inbox(old).prune("a", up_to=5, before_us=8)
    old.close()
    new = Database.open(store_url)
    Inbox(new).add([event("5")], 9)
    assert Inbox(new).newest("a") == 6
    new.close()
