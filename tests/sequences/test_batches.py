"""Padded batches: the newest known events of each row, oldest first, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebbtide.sequences.batches import TokenRows, by_length
from ebbtide.sequences.event_log import Sequences
from ebbtide.sequences.tokens import TOKENS
from ebbtide.sequences.vocabulary import Vocabulary

from .conftest import at_us

A = {"user_id": "a"}
TYPE, HOUR, WEEKDAY, REPEAT = (TOKENS.index(name) for name in ("type", "hour", "weekday", "repeat"))


def rows_of(log, *moments, max_len=10):
    sequences = Sequences(log, np.zeros(len(moments), np.int64), np.array([at_us(m) for m in moments]))
    everything = Sequences(log, np.zeros(1, np.int64), np.array([at_us(1000)]))
    return TokenRows.of(sequences, Vocabulary.fit(everything), max_len)


@pytest.fixture
def log(make_log):
    """Monday 2024-01-01 0:00 is day 0. The event of day 2 arrives on day 6."""
    return make_log(
        [
            A | {"day": 1.0, "type": "product_view", "item_id": "x"},
            A | {"day": 2.0, "arrives": 6.0, "type": "search"},
            A | {"day": 3.5, "type": "product_view", "item_id": "x"},
            A | {"day": 5.0, "type": "order", "item_id": "y"},
            A | {"day": 5.0, "type": "order", "item_id": "x"},
        ]
    )


def test_a_batch_holds_what_each_row_knows(log):
    """On day 4: views of day 1 and 3.5, not yet the late search. On day 7: all five."""
    rows = rows_of(log, 4, 7)
    batch = rows.batch(np.array([0, 1]))
    assert batch.length.tolist() == [2, 5]
    assert (batch.codes[0, 2:] == 0).all(), "padding"
    assert batch.codes[0, :2, TYPE].tolist() == batch.codes[1, [0, 2], TYPE].tolist()
    assert batch.codes[1, :, REPEAT].tolist() == [1, 0, 3, 1, 3]
    assert batch.codes[1, :2, WEEKDAY].tolist() == [2, 3], "Tuesday, Wednesday"
    assert batch.codes[1, 2, HOUR] == 13, "12 o'clock"


def test_gaps_are_log_seconds_and_ages_log_hours_over_8(log):
    numbers = rows_of(log, 4).batch(np.array([0])).numbers[0]
    # day 1 to day 3.5: 60 hours; day 4 is 72 and 12 hours later
    np.testing.assert_allclose(numbers, np.log1p([[0, 72], [60 * 3600, 12]]) / 8, rtol=1e-6)


def test_only_the_newest_events_are_kept(log):
    batch = rows_of(log, 7, max_len=2).batch(np.array([0]))
    assert batch.length.tolist() == [2]
    assert batch.codes.shape[1] == 2


def test_a_slice_leaves_out_what_was_before_it(log):
    rows = rows_of(log, 7)
    batch = replace(rows, since_us=np.array([at_us(3.5)])).batch(np.array([0]))
    assert batch.length.tolist() == [3], "the start belongs to the slice"


def test_a_row_without_events_is_one_empty_event(log):
    batch = rows_of(log, 0.5).batch(np.array([0]))
    assert batch.length.tolist() == [1]
    assert (batch.codes == 0).all()


def test_a_row_is_the_same_in_any_company(make_sequences):
    sequences = make_sequences()
    rows = TokenRows.of(sequences, Vocabulary.fit(sequences), 16)
    together = rows.batch(np.arange(len(rows)))
    for i in (0, 7, 33):
        alone = rows.batch(np.array([i]))
        n = int(alone.length[0])
        assert n == together.length[i]
        assert alone.codes[0, :n].tobytes() == together.codes[i, :n].tobytes()
        assert alone.numbers[0, :n].tobytes() == together.numbers[i, :n].tobytes()


def test_no_future_or_late_event_changes_a_batch(make_sequences, make_log):
    """Appending events after the moment, or ones that arrive after it, changes no bit."""
    base = [A | {"day": float(d), "type": "order", "item_id": f"i{d % 3}"} for d in range(10)]
    later = [A | {"day": 20.0, "type": "refund"}, A | {"day": 3.3, "arrives": 30.0, "type": "support"}]
    plain, more = rows_of(make_log(base), 12), rows_of(make_log(base), 12)
    words = Vocabulary.fit(Sequences(make_log(base), np.zeros(1, np.int64), np.array([at_us(12)])))
    more = replace(more, log=words.encode(make_log(base + later)))
    plain = replace(plain, log=words.encode(make_log(base)))
    one, other = plain.batch(np.array([0])), more.batch(np.array([0]))
    assert one.codes.tobytes() == other.codes[:, : one.codes.shape[1]].tobytes()
    assert one.numbers.tobytes() == other.numbers[:, : one.codes.shape[1]].tobytes()
    assert one.length.tolist() == other.length.tolist()


@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)])
def test_every_row_comes_once(rng):
    lengths = np.random.default_rng(1).integers(1, 50, 1003)
    parts = list(by_length(lengths, 64, rng))
    assert sorted(np.concatenate(parts).tolist()) == list(range(1003))
    assert max(len(p) for p in parts) == 64


def test_rows_of_like_length_stand_together():
    lengths = np.random.default_rng(1).integers(1, 50, 5000)
    padded = sum(len(p) * lengths[p].max() for p in by_length(lengths, 64, np.random.default_rng(0)))
    assert padded < 1.1 * lengths.sum()
