"""A training that is killed leaves the old bundle whole; run again, it goes on and ends as if nothing had happened."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from ebbtide.models.neural import loop
from ebbtide.pipeline.train import train

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["ebbtide.pipeline.train"])
EPOCHS = 3


def _train_until(config, root, until, checkpoints):
    """In a process of its own: train, and die at once after so many checkpoints."""
    save, left = loop.save_checkpoint, [checkpoints]

    def save_and_die(*args):
        save(*args)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    loop.save_checkpoint = save_and_die
    train(config, root, until=until, model="rnn")


class Passes:
    """Counts the passes over the rows."""

    def __init__(self):
        self.count = 0

    def __call__(self, stage, done, total):
        self.count += stage.en == "training rnn" and done < total


@pytest.fixture(scope="module")
def open_small(sim_log, open_shop):
    def open_():
        shop = open_shop(sim_log)
        deep = shop.config.deep.model_copy(update={"epochs": EPOCHS, "hidden": 8, "max_len": 16, "patience": 9})
        config = shop.config.model_copy(update={"deep": deep})
        return type(shop)(shop.root, config).with_train(max_cutoffs=5, bootstrap=50)

    return open_


def net_of(shop, bundle):
    (file,) = (shop.shelf.folder / bundle).rglob("net.safetensors")
    return file.read_bytes()


@pytest.mark.timeout(240)
def test_killed_and_run_again_the_net_is_that_of_an_unbroken_run(open_small):
    """Killed in the second fit: the first one is not done again, the second goes on where it was."""
    checkpoints = EPOCHS + 2
    calm, shop, whole, rest = open_small(), open_small(), Passes(), Passes()
    unbroken = calm.train(model="rnn", progress=whole)
    before = shop.train(model="recency").bundle

    child = FORKS.Process(target=_train_until, args=(shop.config, shop.root, shop.until, checkpoints))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert shop.shelf.current_id() == before
    assert shop.shelf.load(before).stack.names == ["recency"]

    resumed = shop.train(model="rnn", progress=rest)
    assert whole.count >= 2 * EPOCHS
    assert rest.count == whole.count - checkpoints
    assert net_of(shop, resumed.bundle) == net_of(calm, unbroken.bundle)
    assert shop.shelf.current_id() == resumed.bundle
    assert not (shop.root / ".ebbtide" / "checkpoints").exists()
