"""Augmented batches: what is changed, what never is, and that scoring sees nothing of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.models.test_makers_exam import SETTING, add_events

from ebbtide.core.settings import AugmentConfig
from ebbtide.models.makers import MAKERS
from ebbtide.models.neural.augment import augmented, cropped, jittered, masked, mixed
from ebbtide.models.neural.tensors import to_events
from ebbtide.sequences.batches import NUMBERS, Batch
from ebbtide.sequences.tokens import TOKENS

NETS = ["cnn", "cnn_rnn", "lstm", "rnn", "transformer"]
ROWS, WIDTH = 200, 12
EVERYTHING = AugmentConfig(crop=0.4, mask=0.1, jitter=0.3, mixup=0.4)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    length = rng.integers(1, WIDTH + 1, ROWS)
    length[0] = WIDTH
    inside = np.arange(WIDTH) < length[:, None]
    return Batch(
        codes=rng.integers(1, 9, (ROWS, WIDTH, len(TOKENS))) * inside[..., None],
        numbers=(rng.random((ROWS, WIDTH, len(NUMBERS))) * inside[..., None]).astype(np.float32),
        length=length,
        item=rng.integers(1, 99, (ROWS, WIDTH)).astype(np.uint64) * inside,
    )


def events_of(batch, row):
    """What row holds, newest event last."""
    n = batch.length[row]
    return batch.codes[row, :n], batch.numbers[row, :n], batch.item[row, :n]


def test_all_is_off_by_default(batch, rng):
    assert augmented(batch, AugmentConfig(), rng) is batch
    assert AugmentConfig().mixup == 0
    assert AugmentConfig().rare == "none"


def test_the_batch_that_is_given_stays(batch, rng):
    before = [part.tobytes() for part in (batch.codes, batch.numbers, batch.length, batch.item)]
    augmented(batch, EVERYTHING, rng)
    assert [part.tobytes() for part in (batch.codes, batch.numbers, batch.length, batch.item)] == before


def test_a_crop_keeps_the_newest_events(batch, rng):
    made = cropped(batch, 0.5, rng)
    assert (made.length >= 1).all()
    assert (made.length > batch.length * 0.5 - 1).all()
    assert (made.length < batch.length).mean() > 0.3
    for row in range(ROWS):
        n = made.length[row]
        codes, numbers, item = events_of(batch, row)
        assert (made.codes[row, :n] == codes[-n:]).all()
        assert (made.item[row, :n] == item[-n:]).all()
        assert (made.numbers[row, 1:n] == numbers[-n:][1:]).all()
        assert made.numbers[row, 0, 0] == (0 if n < batch.length[row] else numbers[0, 0])
        assert not made.codes[row, n:].any()


def test_the_share_of_tokens_that_is_masked(batch, rng):
    made = masked(batch, 0.3, rng)
    known = batch.codes > 0
    assert (made.codes[known] == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert (made.codes[made.codes > 0] == batch.codes[made.codes > 0]).all()
    hidden = made.codes[..., TOKENS.index("item")] == 0
    assert not made.item[hidden].any()
    assert (made.item[~hidden] == batch.item[~hidden]).all()


def test_jitter_moves_times_by_the_spread_and_no_zero(batch, rng):
    made = jittered(batch, 0.2, rng)
    assert (made.numbers[batch.numbers == 0] == 0).all()
    assert (made.numbers >= 0).all()
    far = batch.numbers > 0.3
    assert (made.numbers - batch.numbers)[far].std() == pytest.approx(0.2 / 8, rel=0.1)
    assert made.codes is batch.codes


def test_a_blend_is_the_weighted_sum_of_both_rows(batch, rng):
    events = mixed(to_events(batch, torch.device("cpu")), 0.5, rng)
    x = torch.randn(ROWS, WIDTH, 3)
    made, (partner, weight) = events.blended(x), (events.mix.partner, events.mix.weight)
    assert ((weight >= 0.5) & (weight <= 1)).all()
    assert (events.length == torch.maximum(events.mix.own, events.mix.own[partner])).all()
    own = x * (torch.arange(WIDTH) < events.mix.own[:, None]).unsqueeze(-1)
    for row in range(0, ROWS, 17):
        expected = weight[row] * own[row] + (1 - weight[row]) * own[partner[row]]
        torch.testing.assert_close(made[row], expected)
    assert not made[~events.mask()].any(), "nothing beyond the longer of both"


@pytest.mark.parametrize("name", NETS)
def test_nets_learn_from_changed_batches_and_score_unchanged_ones(name, make_rows):
    rows, unseen = add_events(make_rows(400)), add_events(make_rows(120, seed=9), seed=9)
    setting = replace(SETTING, augment=EVERYTHING)
    plain, one, two = (MAKERS[name].make(s).fit(rows, seed=7) for s in (SETTING, setting, setting))
    told = one.columns(unseen.X, unseen.sequences)
    assert told.tobytes() == two.columns(unseen.X, unseen.sequences).tobytes(), "a seed fixes all draws"
    assert told.tobytes() == one.columns(unseen.X, unseen.sequences).tobytes(), "nothing is drawn in scoring"
    assert told.tobytes() != plain.columns(unseen.X, unseen.sequences).tobytes()
    order = np.argsort(np.argsort(told[:, 0]))
    assert order[unseen.y == 1].mean() > order[unseen.y == 0].mean() + 0.15 * len(unseen)
