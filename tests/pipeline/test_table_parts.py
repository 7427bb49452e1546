"""Folds and blocks of time: nobody is predicted by a twin, nothing by its future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.core.errors import DataError
from ebbtide.pipeline.table_parts import FOLDS, stratified_parts, time_blocks, time_parts

RNG = np.random.default_rng(3)
GROUP = RNG.integers(0, 700, 1000).astype(np.uint64) * np.uint64(2**40)
Y = (RNG.random(1000) < 0.2).astype(float)


def test_folds_part_the_rows():
    parts = stratified_parts(Y, GROUP)
    assert len(parts) == FOLDS
    assert sorted(np.concatenate([p.asked for p in parts])) == list(range(1000))
    for part in parts:
        assert set(part.known) | set(part.asked) == set(range(1000))
        assert not set(part.known) & set(part.asked)


def test_equal_rows_are_in_one_fold():
    for part in stratified_parts(Y, GROUP):
        assert not set(GROUP[part.known]) & set(GROUP[part.asked])


def test_folds_are_even_in_size_and_in_churn():
    parts = stratified_parts(Y, np.arange(1000, dtype=np.uint64))
    assert {len(p.asked) for p in parts} <= {199, 200, 201}
    assert max(Y[p.asked].sum() for p in parts) - min(Y[p.asked].sum() for p in parts) <= 1


def test_folds_do_not_depend_on_row_order():
    shuffled = RNG.permutation(1000)
    there = [set(GROUP[p.asked]) for p in stratified_parts(Y, GROUP)]
    again = [set(GROUP[shuffled][p.asked]) for p in stratified_parts(Y[shuffled], GROUP[shuffled])]
    assert there == again


def test_another_seed_gives_other_folds():
    first, second = (stratified_parts(Y, GROUP, seed=s)[0].asked for s in (0, 1))
    assert set(first) != set(second)


def test_too_few_distinct_rows_are_refused():
    with pytest.raises(DataError, match="too few distinct rows for 5 folds: 4 that churned, 16 that did not"):
        stratified_parts(np.r_[np.ones(4), np.zeros(16)], np.arange(20, dtype=np.uint64))


@given(st.integers(0, 50), st.integers(2, 400))
def test_nothing_is_learnt_from_a_row_whose_label_was_not_known(embargo, spread):
    rng = np.random.default_rng(embargo * 1000 + spread)
    time_us = np.sort(rng.integers(0, spread, 300)).astype(np.int64)
    y = (rng.random(300) < 0.5).astype(float)
    try:
        parts = time_parts(time_us, y, embargo)
    except DataError:
        return
    for part in parts:
        assert (time_us[part.known] < part.moment_us).all()
        assert (time_us[part.known] + embargo <= part.moment_us).all()
        assert (time_us[part.asked] >= part.moment_us).all()
        assert time_us[part.asked].max() + embargo < part.closed_us
    assert time_us[parts[-1].asked].max() == time_us.max()


def test_the_newest_fifth_is_the_test():
    time_us = np.arange(1000, dtype=np.int64)
    parts = time_parts(time_us, Y, 0)
    assert [len(p.asked) for p in parts] == [200, 200, 200, 200]
    assert parts[-1].asked.min() == 800
    assert len(parts[-1].known) == 800


def test_rows_of_one_time_stand_together():
    starts = time_blocks(np.repeat([10, 20, 30], [100, 5, 5]))
    assert set(starts) <= {10, 20, 30}


def test_a_horizon_longer_than_the_past_is_refused():
    with pytest.raises(DataError, match="shorter --horizon"):
        time_parts(np.arange(1000, dtype=np.int64), Y, 900)
    with pytest.raises(DataError, match="do not reach back far enough"):
        time_parts(np.zeros(1000, np.int64), Y, 0)
