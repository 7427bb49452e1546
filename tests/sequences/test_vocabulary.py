"""Vocabularies: fitted on what training rows see, unseen things share a token, saved as text."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.core.errors import DataError, MissingBundleError
from ebbtide.sequences.event_log import Sequences
from ebbtide.sequences.tokens import TOKENS
from ebbtide.sequences.vocabulary import Vocabulary

from .conftest import at_us


def test_only_what_the_rows_see_is_learnt(make_log):
    """Item x is bought five times before the moment, item y after it."""
    events = [{"user_id": "a", "day": d, "type": "order", "item_id": "x"} for d in range(1, 6)]
    events += [{"user_id": "a", "day": d, "type": "order", "item_id": "y"} for d in range(11, 19)]
    log = make_log(events)
    words = Vocabulary.fit(Sequences(log, np.zeros(1, np.int64), np.array([at_us(10)])))
    assert len(words.items) == 1
    codes = words.encode(log).codes[:, TOKENS.index("item")]
    assert codes.tolist() == [2] * 5 + [1] * 8, "y was not seen in training"


def test_rare_items_and_those_beyond_the_most_frequent_share_a_token(make_log):
    events = [{"user_id": "a", "day": d + k / 10, "type": "order", "item_id": name}
              for k, (name, count) in enumerate({"often": 9, "seldom": 4, "some": 6}.items()) for d in range(count)]  # fmt: skip
    log = make_log(events)
    rows = Sequences(log, np.zeros(1, np.int64), np.array([at_us(30)]))
    assert len(Vocabulary.fit(rows).items) == 2, "seldom has fewer than five events"
    assert len(Vocabulary.fit(rows, most_items=1).items) == 1


def test_nothing_is_token_0(make_log):
    log = make_log([{"user_id": "a", "day": d, "type": "search"} for d in range(6)])
    words = Vocabulary.fit(Sequences(log, np.zeros(1, np.int64), np.array([at_us(30)])))
    assert (words.encode(log).codes[:, 1:] == 0).all()


def test_every_code_fits_its_size(make_sequences):
    rows = make_sequences()
    words = Vocabulary.fit(rows)
    codes = words.encode(rows.log).codes
    assert (codes.max(axis=0) < np.array(words.sizes[: codes.shape[1]])).all()
    assert len(words.sizes) == len(TOKENS)


def test_price_bins_hold_about_equal_shares(make_sequences):
    rows = make_sequences(200)
    codes = Vocabulary.fit(rows).encode(rows.log).codes[:, TOKENS.index("price")]
    _, count = np.unique(codes, return_counts=True)
    assert count.max() < 2.5 * count.min()


def test_a_saved_vocabulary_says_the_same(make_sequences, tmp_path):
    rows = make_sequences()
    words = Vocabulary.fit(rows)
    words.save(tmp_path)
    assert Vocabulary.load(tmp_path).encode(rows.log).codes.tobytes() == words.encode(rows.log).codes.tobytes()


def test_a_vocabulary_of_nets_that_read_times_otherwise_is_refused(make_sequences, tmp_path):
    Vocabulary.fit(make_sequences()).save(tmp_path)
    file = tmp_path / "vocabulary.json"
    file.write_text(file.read_text().replace("gap_seconds", "gap"))
    with pytest.raises(MissingBundleError, match="train again"):
        Vocabulary.load(tmp_path)


def test_no_events_are_refused_in_words(make_log):
    log = make_log([{"user_id": "a", "day": 5, "type": "order"}])
    with pytest.raises(DataError, match="no events to learn sequences from"):
        Vocabulary.fit(Sequences(log, np.zeros(1, np.int64), np.array([at_us(1)])))
