"""The training loop: it stops in time, goes on after a kill, and tells what went wrong in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ebbtide.core.errors import DataError, RetryError
from ebbtide.models.neural.checkpoint import load_checkpoint
from ebbtide.models.neural.loop import LoopConfig, Work, memory_in_words, train_loop


class KilledError(Exception):
    """What ends a training in the middle."""


def make_net():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.2), nn.Linear(8, 1))


@pytest.fixture
def net():
    return make_net()


def work_of(net, dies_at=None, seen=None):
    """A straight line to learn, in batches drawn a pass at a time; `dies_at`: the pass that does not come to its end."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32))
    y = x.sum(1, keepdim=True)

    def batches(epoch):
        if seen is not None:
            seen.append(epoch)
        order = np.random.default_rng(epoch).permutation(64)
        yield order[:32]
        if epoch == dies_at:
            raise KilledError
        yield order[32:]

    def loss(rows):
        return (net(x[rows]) - y[rows]).square().mean()

    return Work(batches, 2, loss, lambda: float(loss(np.arange(64))))


def weights(net):
    return {name: value.numpy().tobytes() for name, value in net.state_dict().items()}


def test_training_learns(net):
    losses = train_loop(net, work_of(net), LoopConfig(epochs=30, learning_rate=0.02))
    assert losses[-1] < losses[0] / 2
    assert not net.training


@pytest.mark.parametrize("dies_at", [1, 3, 5])
def test_a_resumed_training_ends_with_the_weights_of_an_unbroken_one(dies_at, tmp_path):
    whole, broken, config = make_net(), make_net(), LoopConfig(epochs=6, key="a", checkpoint=tmp_path / "net")
    losses = train_loop(whole, work_of(whole), replace(config, checkpoint=None))
    with pytest.raises(KilledError):
        train_loop(broken, work_of(broken, dies_at), config)
    again, seen = make_net(), []
    assert train_loop(again, work_of(again, seen=seen), config) == losses
    assert seen == list(range(dies_at, 6))
    assert weights(again) == weights(whole)


def test_a_finished_training_is_not_done_again(tmp_path):
    config = LoopConfig(epochs=4, key="a", checkpoint=tmp_path / "net")
    one, other, seen = make_net(), make_net(), []
    losses = train_loop(one, work_of(one), config)
    assert train_loop(other, work_of(other, seen=seen), config) == losses
    assert seen == []
    assert weights(other) == weights(one)


def test_a_checkpoint_of_something_else_is_not_gone_on_with(tmp_path):
    config, net, seen = LoopConfig(epochs=2, key="a", checkpoint=tmp_path / "net"), make_net(), []
    train_loop(net, work_of(net), config)
    train_loop(net, work_of(net, seen=seen), replace(config, key="b"))
    assert seen == [0, 1]


def test_a_damaged_checkpoint_counts_as_none(net, tmp_path):
    (tmp_path / "net").write_bytes(b"half of one")
    assert load_checkpoint(tmp_path / "net", net, torch.optim.AdamW(net.parameters()), "a") is None


def test_the_best_weights_are_kept_and_training_stops_in_time(net):
    """The held-out loss grows after the third pass: two more are tried, and the weights are those after the third."""
    told, kept, work = iter([3.0, 2.0, 1.0, 2.0, 3.0, 0.0]), [], work_of(net)

    def held_out():
        kept.append(weights(net))
        return next(told)

    losses = train_loop(net, replace(work, held_out=held_out), LoopConfig(epochs=6, patience=2))
    assert losses == [3.0, 2.0, 1.0, 2.0, 3.0]
    assert weights(net) == kept[2]


def test_a_loss_that_is_no_number_is_told(net):
    work = replace(work_of(net), loss=lambda rows: net(torch.full((2, 4), torch.inf)).mean())
    with pytest.raises(DataError, match=r"no finite number: lower deep\.learning_rate"):
        train_loop(net, work, LoopConfig(epochs=2))


def test_memory_that_runs_out_is_told(net):
    def greedy(rows):
        return torch.empty(1 << 60).mean()

    with pytest.raises(RetryError, match=r"memory ran out .* lower deep\.batch"):
        train_loop(net, replace(work_of(net), loss=greedy), LoopConfig(epochs=2))
    with pytest.raises(RetryError, match="memory ran out"), memory_in_words():
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_other_mistakes_are_not_taken_for_a_lack_of_memory(net):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train_loop(net, replace(work_of(net), loss=lambda rows: net(torch.zeros(2, 5)).mean()), LoopConfig(epochs=2))
