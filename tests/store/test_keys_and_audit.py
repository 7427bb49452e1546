from __future__ import annotations

import hashlib
import json

import pytest
from sqlalchemy import select, update

from ebbtide.core.errors import InputError
from ebbtide.store.answers import Answer, Answers
from ebbtide.store.audit import Audit, Entry
from ebbtide.store.database import Database
from ebbtide.store.keys import SCOPES, Keys
from ebbtide.store.shops import Shops
from ebbtide.store.tables import audit, keys


def test_a_key_opens_its_shop_and_its_scopes_and_nothing_else(database: Database) -> None:
    made = Keys(database).create("a", "shop front", ["events:write"], now_us=0)
    found = Keys(database).find(made.secret, now_us=1)
    assert found == made.key
    assert found is not None
    assert found.shop_id == "a"
    assert [s for s in SCOPES if found.allows(s)] == ["events:write"]


def test_a_wide_scope_stands_for_its_parts_and_admin_for_all(database: Database) -> None:
    wide = Keys(database).create("a", "n", ["alerts:*"], now_us=0).key
    assert wide.scopes == ("alerts:read", "alerts:write")
    assert all(Keys(database).create("a", "n", ["admin"], now_us=0).key.allows(s) for s in SCOPES)


def test_the_secret_is_nowhere_in_the_store_nor_in_what_a_key_says_of_itself(database: Database) -> None:
    made = Keys(database).create("a", "n", ["risk:read"], now_us=0)
    tail = made.secret.removeprefix(f"ebb_{made.key.key_id}_")
    assert len(tail) == 43
    with database.read() as connection:
        assert tail not in str(connection.execute(select(keys)).all())
    assert tail not in repr(made)


@pytest.mark.parametrize(
    "change", [lambda s: s[:-1], lambda s: s[:-1] + ("A" if s[-1] != "A" else "B"), lambda s: "", str.upper]
)
def test_a_secret_that_is_nearly_right_opens_nothing(database: Database, change: object) -> None:
    made = Keys(database).create("a", "n", ["risk:read"], now_us=0)
    assert Keys(database).find(change(made.secret), now_us=1) is None  # type: ignore[operator]


def test_a_key_ends_at_its_expiry_or_when_it_is_revoked(database: Database) -> None:
    made = Keys(database).create("a", "n", ["risk:read"], now_us=0, expires_us=10)
    assert Keys(database).find(made.secret, now_us=9) is not None
    assert Keys(database).find(made.secret, now_us=10) is None
    other = Keys(database).create("a", "n", ["risk:read"], now_us=0)
    Keys(database).revoke("a", other.key.key_id, now_us=5)
    assert Keys(database).find(other.secret, now_us=5) is None
    with pytest.raises(InputError, match="no key"):
        Keys(database).revoke("b", made.key.key_id, now_us=5)


@pytest.mark.parametrize("scopes", [[], ["risk:write"], ["admin", "root"]])
def test_unknown_or_no_scopes_are_refused_with_the_list_of_all(database: Database, scopes: list[str]) -> None:
    with pytest.raises(InputError, match="events:write"):
        Keys(database).create("a", "n", scopes, now_us=0)


@pytest.mark.parametrize("count", [1, 124, 125, 1000])
def test_however_many_entries_come_at_once_they_are_one_chain_in_their_order(database: Database, count: int) -> None:
    """The embedded store takes 124 of them a statement."""
    log = Audit(database)
    log.add([Entry("a", t, "key", "read") for t in range(count)])
    log.add([])
    assert [entry.at_us for _, entry in log.entries("a", limit=2000)] == list(range(count))[::-1]
    assert log.first_broken() is None


def test_no_entry_of_the_audit_can_be_changed_or_removed_unnoticed(database: Database) -> None:
    log = Audit(database)
    log.add([Entry("a", t, "key", "read", subject="s") for t in range(4)])
    log.add([Entry("b", 9, "key", "read")])
    assert log.first_broken() is None
    assert [entry.at_us for _, entry in log.entries("a", limit=2)] == [3, 2]
    third = log.entries("a")[1][0]
    with database.write() as connection:
        connection.execute(update(audit).where(audit.c.seq == third).values(actor="somebody else"))
    assert log.first_broken() == third
    with database.write() as connection:
        connection.execute(audit.delete().where(audit.c.seq == third))
    assert log.first_broken() is not None


def test_the_chain_is_made_of_the_fields_as_a_json_list(database: Database) -> None:
    """By the definition, whatever writes it: chains that were begun by older versions must hold."""
    entry = Entry("a", 7, "cli", 'say "x"', subject="ü\n", request_id="r", detail={"b": 1, "a": "é"})
    detail = json.dumps({"a": "é", "b": 1}, sort_keys=True)
    told = json.dumps(["a", 7, "cli", 'say "x"', "ü\n", "r", detail])
    assert entry.digest(b"before") == hashlib.sha256(b"before" + told.encode()).digest()
    log = Audit(database)
    log.add([entry, Entry("a", 8, "cli", "read")])
    assert [found for _, found in log.entries("a")] == [Entry("a", 8, "cli", "read", detail={}), entry]
    assert log.first_broken() is None


def test_an_answer_is_kept_for_the_same_body_only(database: Database) -> None:
    answers = Answers(database)
    with database.write() as connection:
        answers.keep_within(connection, "a", "k", b"body", Answer(202, b"{}"), 5)
    assert answers.find("a", "k", b"body") == Answer(202, b"{}")
    assert answers.find("b", "k", b"body") is None
    with pytest.raises(InputError, match="another body"):
        answers.find("a", "k", b"other")
    assert (answers.prune(5), answers.prune(6)) == (0, 1)


def test_a_pseudonym_is_stable_in_a_shop_and_differs_between_shops(database: Database) -> None:
    shops = Shops(database)
    assert shops.pseudonym("a", "u") == shops.pseudonym("a", "u") != shops.pseudonym("b", "u")
    shops.register("a")
    assert len(shops.pseudonym("a", "u")) == 32
    with pytest.raises(InputError, match="lower-case"):
        shops.register("A shop")
