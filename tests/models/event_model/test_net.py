"""The event net: causal, deaf to padding, the same from one configuration; pretraining learns and can be gone on with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ebbtide.core.errors import DataError, InputError, MissingError
from ebbtide.models.base import Rows
from ebbtide.models.event_model.encoder import EventNet
from ebbtide.models.event_model.pretrain import PretrainConfig, pretrain
from ebbtide.models.event_model.pretrained import Pretrained
from ebbtide.models.event_model.sizes import SIZES, EventModelConfig, config_of
from ebbtide.models.event_model.slices import Slices
from ebbtide.models.event_model.throughput import Throughput
from ebbtide.models.neural.tensors import Events
from ebbtide.sequences.batches import NUMBERS
from ebbtide.sequences.tokens import TokenLog

SIZES_OF_CODES = (6, 4, 4, 3, 18, 4, 4, 25, 8, 4)
ENCODERS = ("gru", "transformer")
DAY = 86_400_000_000


def net_of(encoder, seed=0):
    torch.manual_seed(seed)
    config = EventModelConfig(encoder, width=16, layers=2, heads=2, max_len=12)
    return EventNet(config, SIZES_OF_CODES, len(NUMBERS)).eval()


def events_of(rows=3, length=8, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, s, (rows, length)) for s in SIZES_OF_CODES], axis=-1)
    numbers = torch.from_numpy(rng.random((rows, length, len(NUMBERS))).astype(np.float32))
    return Events(torch.from_numpy(codes), numbers, torch.full((rows,), length), torch.from_numpy(codes[..., 1]))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_no_state_knows_a_later_event(encoder):
    net, events = net_of(encoder), events_of()
    with torch.no_grad():
        before = net(events)
        events.codes[:, 5:] = 1
        events.numbers[:, 5:] = 0.3
        after = net(events)
    np.testing.assert_allclose(after[:, :5], before[:, :5], atol=1e-6)
    assert not torch.allclose(after[:, 5:], before[:, 5:])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_does_not_change_a_state(encoder):
    net, events = net_of(encoder), events_of()
    short = Events(events.codes[:, :5], events.numbers[:, :5], torch.full((3,), 5), events.item[:, :5])
    padded = Events(events.codes, events.numbers, torch.full((3,), 5), events.item)
    with torch.no_grad():
        np.testing.assert_allclose(net.state(padded), net.state(short), atol=1e-6)


def test_sizes_are_what_they_say():
    """Parameters of the encoder alone, which the names promise, built without memory."""
    expected = {"tiny": 2.5e4, "small": 7.9e5, "base": 2.5e7, "large": 3.0e8, "xl": 1.0e9}
    for name, config in SIZES.items():
        with torch.device("meta"):
            net = EventNet(config, (25, 2 + config.items, 502, 502, 18, 8, 7, 25, 8, 4), len(NUMBERS))
        count = sum(p.numel() for p in net.encoder.parameters())
        assert 0.9 * expected[name] < count < 1.1 * expected[name], name


def test_impossible_configurations_are_named():
    with pytest.raises(InputError, match="the sizes are tiny"):
        config_of("huge")
    with pytest.raises(InputError, match="gru or transformer, not `cnn`"):
        config_of("tiny", "cnn")
    with pytest.raises(InputError, match="even multiple of the heads"):
        EventModelConfig(width=10, heads=4)


def rhythm_log(users=120, seed=0):
    """Half of the users alternate types 2 and 3 each day, the others repeat 4 every third day."""
    rng = np.random.default_rng(seed)
    parts, start = [], [0]
    for user in range(users):
        count, step = (40, 1) if user % 2 else (14, 3)
        days = np.arange(count) * step + rng.random()
        types = 2 + np.arange(count) % 2 if user % 2 else np.full(count, 4)
        parts.append((days * DAY, types))
        start.append(start[-1] + count)
    time = np.concatenate([p[0] for p in parts]).astype(np.int64)
    codes = np.zeros((len(time), 7), np.uint16)
    codes[:, 0] = np.concatenate([p[1] for p in parts])
    return TokenLog(np.array(start), time, time.copy(), codes, np.zeros(len(time), np.uint64))


def slices(limit_days=30):
    return Slices(rhythm_log(), limit_days * DAY, 5 * DAY, 12, SIZES_OF_CODES[0])


HOW = PretrainConfig(epochs=6, users=24, learning_rate=0.01, max_events=60_000)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("contrast", ["none", "coles", "vicreg"])
def test_pretraining_learns(encoder, contrast):
    losses = pretrain(net_of(encoder), [slices()], SIZES_OF_CODES, replace(HOW, contrast=contrast), seed=0)
    assert losses[-1] < losses[0] - 0.3


def test_pretraining_sees_nothing_after_the_limit():
    """A log cut at the limit gives the same net, bit for bit."""
    log = rhythm_log()
    keep = log.time <= 30 * DAY
    owner = np.repeat(np.arange(len(log.start) - 1), np.diff(log.start))
    start = np.concatenate([[0], np.cumsum(np.bincount(owner[keep], minlength=len(log.start) - 1))])
    cut = TokenLog(start, log.time[keep], log.known[keep], log.codes[keep], log.item[keep])
    assert len(cut.time) < len(log.time)
    nets = []
    for tokens in (log, cut):
        net = net_of("gru")
        shop = Slices(tokens, 30 * DAY, 5 * DAY, 12, SIZES_OF_CODES[0])
        pretrain(net, [shop], SIZES_OF_CODES, replace(HOW, max_events=20_000, epochs=2, watched=False), seed=3)
        nets.append(net.state_dict())
    assert all(torch.equal(nets[0][k], nets[1][k]) for k in nets[0])


def test_nobody_with_enough_events_is_told_in_words():
    log = Slices(rhythm_log(4), DAY // 2, DAY, 12, SIZES_OF_CODES[0])
    with pytest.raises(DataError, match="at least 4 each"):
        pretrain(net_of("gru"), [log], SIZES_OF_CODES, HOW, seed=0)


def test_throughput_counts_real_events():
    found: list[Throughput] = []
    how = replace(HOW, epochs=1, max_events=5_000)
    pretrain(net_of("transformer"), [slices()], SIZES_OF_CODES, how, seed=0, measured=found.append)
    meter = found[0]
    assert meter.events > 0
    assert meter.events_per_second > 0
    assert meter.utilisation is None, "the peak of a CPU is not known"
    # 2 layers x (3 x 16 x 16 + 16 x 16 + 2 x 4 x 16 x 16) weights, 6 each; attention 12 x 2 x 16 / 2 a pair
    assert meter.weights == 2 * 12 * 16 * 16
    np.testing.assert_allclose(
        meter.flops_per_second * meter.seconds, 6 * meter.weights * meter.events + 192 * meter.pairs, rtol=1e-9
    )


def test_a_saved_net_comes_back(tmp_path):
    begun = Pretrained(net_of("gru").config, SIZES_OF_CODES, net_of("gru"))
    begun.save(tmp_path)
    again, events = Pretrained.load(tmp_path), events_of()
    with torch.no_grad():
        assert torch.equal(again.net.state(events), begun.net.state(events))
    with pytest.raises(MissingError, match="run `ebbtide pretrain` first"):
        Pretrained.load(tmp_path / "elsewhere")


def test_a_net_that_read_times_otherwise_is_refused(tmp_path):
    Pretrained(net_of("gru").config, SIZES_OF_CODES, net_of("gru")).save(tmp_path)
    file = tmp_path / "event_net.json"
    file.write_text(file.read_text().replace("gap_seconds", "gap"))
    with pytest.raises(MissingError, match="run `ebbtide pretrain` again"):
        Pretrained.load(tmp_path)


def test_wider_nets_take_smaller_steps():
    assert [round(SIZES[name].rate(0.002), 6) for name in ("tiny", "small", "xl")] == [0.005, 0.00125, 0.000179]


def test_a_pass_reads_as_many_events_as_there_are_or_as_it_may():
    """60 users have 40 events and 60 have 14: 3,240, a twentieth of the users held out."""
    found: list[int] = []
    shop = replace(slices(), limit_us=60 * DAY)
    for most in (1e9, 1_000):
        how = replace(HOW, epochs=1, users=8, max_events=int(most))
        pretrain(net_of("gru"), [shop], SIZES_OF_CODES, how, seed=0, measured=lambda m: found.append(m.events))
    assert 2_200 < found[0] < 4_000
    assert 500 < found[1] < 1_200


def test_a_model_that_knows_the_future_of_a_rehearsed_past_is_refused():
    """Rows as of day 10 whose outcomes are known on day 40: seen until day 40 is fine, until day 41 is not."""
    rows = Rows(
        np.zeros((1, 1), np.float32), np.zeros(1), np.array([10 * DAY]), np.zeros(1, np.uint64), ("x",), 30 * DAY
    )  # fmt: skip
    begun = Pretrained(net_of("gru").config, SIZES_OF_CODES, net_of("gru"), 40 * DAY)
    begun.check_known(rows)
    with pytest.raises(InputError, match="pretrain with `--until` that day or earlier"):
        replace(begun, until_us=41 * DAY).check_known(rows)
