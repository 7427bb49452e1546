"""The hybrid net and item vectors: what they say is learnt, also of items that training never saw."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from tests.models.test_makers_exam import DAY_US, SETTING, add_events
from tests.sequences.items.made import items_of

from ebbtide.core.ids import hash_texts
from ebbtide.evaluation.ranking import auroc
from ebbtide.models.cnn_rnn import HybridColumn, ItemCnn
from ebbtide.models.neural.column import Shape
from ebbtide.sequences.items.ready import ReadyEncoder
from ebbtide.sequences.items.vectors import ItemVectors

ITEMS = 4000
"""So many that hardly one is bought twice: only their vectors tell anything."""
LATER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def table():
    """Item k leans to churn or away from it: the first number of its vector, among five of noise."""
    rng = np.random.default_rng(0)
    lean = rng.choice([-1.0, 1.0], ITEMS)
    vectors = np.column_stack([lean, rng.normal(size=(ITEMS, 5))])
    names = [f"i{k}" for k in range(ITEMS)]
    return items_of(item_id=names, vector=[json.dumps(v.tolist()) for v in vectors]), lean


@pytest.fixture(scope="module")
def vectors(table):
    return ItemVectors.fit(ReadyEncoder(), table[0], datetime(2024, 1, 1, tzinfo=UTC), seed=0)


def shop(make_rows, table, seed):
    """Columns of noise, types alike for all; whoever leaves looks at items that lean to it."""
    rows = add_events(make_rows(300, seed=seed), seed)
    rng, log = np.random.default_rng(seed), rows.sequences.log
    owner = np.repeat(np.arange(len(rows)), np.diff(log.start))
    _, lean = table
    hashes = hash_texts(table[0]["item_id"])
    places = {side: np.flatnonzero(lean == side) for side in (-1.0, 1.0)}
    chosen = np.array([rng.choice(places[2 * rows.y[u] - 1]) for u in owner])
    alike = replace(log, item=hashes[chosen], type=np.full(len(owner), 2, np.uint8))
    return replace(
        rows, X=rng.normal(size=rows.X.shape).astype(np.float32), sequences=replace(rows.sequences, log=alike)
    )


@pytest.fixture(scope="module")
def rows(make_rows, table):
    return shop(make_rows, table, 0)


@pytest.fixture(scope="module")
def unseen(make_rows, table):
    return shop(make_rows, table, 1)


def found(maker, rows):
    return auroc(rows.y, maker.columns(rows.X, rows.sequences)[:, 0].astype(np.float64))


@pytest.fixture(scope="module")
def fitted(rows, vectors):
    return HybridColumn(replace(SETTING, item_vectors=vectors)).fit(rows, seed=0)


def test_vectors_tell_of_items_that_are_hardly_ever_met(rows, unseen, fitted):
    assert found(fitted, unseen) > 0.9
    assert found(HybridColumn(SETTING).fit(rows, seed=0), unseen) < 0.7


def test_the_vectors_are_kept_with_the_net(fitted, unseen, tmp_path):
    fitted.save(tmp_path / "net")
    again = HybridColumn.load(tmp_path / "net")
    assert again.columns(unseen.X, unseen.sequences).tobytes() == fitted.columns(unseen.X, unseen.sequences).tobytes()


def test_a_version_counts_from_its_moment_on(rows, unseen, table, vectors):
    """All items turn round later on: rows before that day are what they were, rows after it are not."""
    turn_us = int(np.median(unseen.as_of_us)) + DAY_US
    turned = np.concatenate([vectors.vector, -vectors.vector])
    item = np.concatenate([vectors.item, vectors.item])
    since = np.concatenate([vectors.valid_from, np.full(len(vectors.item), turn_us)])
    order = np.lexsort((since, item))
    versions = replace(vectors, item=item[order], valid_from=since[order], vector=turned[order])
    one, other = (
        HybridColumn(replace(SETTING, item_vectors=v)).fit(rows.take(rows.as_of_us < turn_us), seed=0)
        for v in (vectors, versions)
    )
    same = one.columns(unseen.X, unseen.sequences) == other.columns(unseen.X, unseen.sequences)
    np.testing.assert_array_equal(same[:, 0], unseen.as_of_us < turn_us)


@pytest.mark.parametrize("dims", [2, 3, 4, 5, 64])
def test_vectors_of_any_length_are_read(dims):
    table = np.random.default_rng(0).normal(size=(7, dims)).astype(np.float32)
    net = ItemCnn(Shape((3, 5), 2, 0, SETTING.deep, table), 16)
    read = net(torch.tensor([[0, 6, 6], [1, 0, 6]]))
    assert read.shape == (2, 3, 16)
    assert torch.equal(read[0, 1], read[1, 2])
    assert not torch.equal(read[0, 0], read[0, 1])
