"""Flat columns of events: what is in them, joining and choosing users, and what a row may see."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ebbtide.core.ids import hash_texts
from ebbtide.events.schema import EVENT_TYPES
from ebbtide.sequences.event_log import EventLog, Sequences

from .conftest import at_us

A, B = {"user_id": "a"}, {"user_id": "b"}


def test_an_event_is_told_column_by_column(make_log):
    log = make_log([A | {"day": 1, "type": "order", "item_id": "x", "quantity": 2.0, "value": 30.0, "rating": 4.0}])
    assert EVENT_TYPES[log.type[0]] == "order"
    assert log.time[0] == log.known[0] == at_us(1)
    assert log.price[0] == 15.0, "no unit price: the value of a unit"
    assert (log.quantity[0], log.rating[0]) == (2.0, 4.0)
    assert log.item[0] == hash_texts(pl.Series(["x"]))[0]
    assert log.category[0] == log.channel[0] == 0, "none"


def test_what_is_not_known_is_nan(make_log):
    log = make_log([A | {"day": 1, "type": "search"}])
    assert np.isnan([log.price[0], log.quantity[0], log.rating[0]]).all()


def test_parts_join_into_the_log_of_all(make_log):
    events = [A | {"day": 1, "type": "order"}, A | {"day": 2, "type": "search"}, B | {"day": 3, "type": "order"}]
    whole, parts = make_log(events), [make_log(events[:2]), make_log(events[2:])]
    joined = EventLog.joined(parts)
    assert joined.start.tolist() == whole.start.tolist() == [0, 2, 3]
    assert joined.time.tolist() == whole.time.tolist()
    assert len(EventLog.joined([])) == 0


def test_some_users_keep_their_own_events(make_sequences):
    log = make_sequences().log
    chosen = np.array([7, 2, 19])
    few = log.of_users(chosen)
    for place, user in enumerate(chosen):
        own = log.time[log.start[user] : log.start[user + 1]]
        assert few.time[few.start[place] : few.start[place + 1]].tolist() == own.tolist()


def test_rows_see_the_same_events_over_a_log_of_their_users_only(make_sequences):
    some = make_sequences().take(np.array([5, 2, 5, 11]))
    few = some.narrowed()
    assert len(few.log) == len(np.unique(some.user))
    assert few.at_us.tolist() == some.at_us.tolist()
    for old, new in zip(some.user, few.user, strict=True):
        own = [log.item[log.start[u] : log.start[u + 1]].tolist() for log, u in ((some.log, old), (few.log, new))]
        assert own[0] == own[1]


@pytest.mark.parametrize(("moment", "seen"), [(1.5, [True, False, False]), (4, [True, True, False]), (9, [True] * 3)])
def test_an_event_is_visible_once_it_occurred_and_arrived(make_log, moment, seen):
    """The second event occurs on day 2 and arrives on day 4."""
    log = make_log(
        [
            A | {"day": 1, "type": "order"},
            A | {"day": 2, "arrives": 4, "type": "order"},
            A | {"day": 8, "type": "order"},
        ]
    )
    rows = Sequences(log, np.zeros(1, np.int64), np.array([at_us(moment)]))
    assert rows.visible().tolist() == seen


def test_the_latest_row_of_a_user_decides_what_is_visible(make_log):
    log = make_log([A | {"day": 1, "type": "order"}, A | {"day": 5, "type": "order"}, B | {"day": 5, "type": "order"}])
    rows = Sequences(log, np.array([0, 0]), np.array([at_us(2), at_us(6)]))
    assert rows.visible().tolist() == [True, True, False], "user b is in no row"
