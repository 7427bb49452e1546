"""What is learnt without labels, each loss held against arithmetic."""

from __future__ import annotations

import numpy as np
import torch

from ebbtide.models.event_model.objectives import GAPS, NEXT, Objectives, coles_loss, vicreg_loss
from ebbtide.models.neural.tensors import Events
from ebbtide.sequences.batches import NUMBERS
from ebbtide.sequences.tokens import TOKENS

SIZES = (6, 4, 4, 3, 5, 4, 4, 25, 8, 4)


def test_coles_is_0_for_equal_twins_far_from_strangers():
    """Twins on two orthogonal axes: own distance 0, the strangers' sqrt(2) is beyond the margin."""
    last = torch.tensor([[1.0, 0], [2, 0], [0, 1], [0, 3]])
    assert float(coles_loss(last)) < 1e-6


def test_coles_punishes_twins_apart_and_strangers_near():
    apart = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    mixed = torch.tensor([[1.0, 0], [1, 0.01], [1, 0.02], [1, 0]])
    assert float(coles_loss(apart)) > 1.9, "squared distance of twins is 2"
    assert float(coles_loss(mixed)) > 0.2, "strangers lie within the margin of .5"


def test_vicreg_punishes_a_collapsed_state():
    spread = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).repeat_interleave(2, 0)
    assert float(vicreg_loss(torch.ones(64, 8))) > 0.9
    assert float(vicreg_loss(spread)) < 0.3


def make(width=8):
    torch.manual_seed(0)
    return Objectives(width, SIZES, SIZES[0])


def events_of(length):
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, s, (2, 5)) for s in SIZES], axis=-1)
    numbers = torch.from_numpy(rng.random((2, 5, len(NUMBERS))).astype(np.float32))
    return Events(torch.from_numpy(codes), numbers, torch.tensor(length), torch.from_numpy(codes[..., 1]))


def test_the_next_loss_of_a_blind_net_is_that_of_even_odds():
    """All logits 0: the weighted sum of log sizes, the gap's bins among them."""
    told, events = make(), events_of([5, 5])
    for layer in (told.kind, told.rest):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    even = sum(weight * np.log(SIZES[TOKENS.index(name)]) for name, weight in NEXT.items()) + np.log(GAPS)
    np.testing.assert_allclose(told.next_loss(torch.zeros(2, 5, 8), events).item(), even, rtol=1e-5)


def test_the_gap_is_told_given_the_next_type():
    """Pauses of 0 before type 2 and of e^8 seconds before type 3, which follow one another by chance: learnt to nothing
    but the type's own log 2."""
    told, rng = make(), np.random.default_rng(0)
    codes = np.zeros((4, 50, len(TOKENS)), np.int64)
    codes[..., 0] = rng.integers(2, 4, (4, 50))
    numbers = torch.zeros(4, 50, len(NUMBERS))
    numbers[..., 0] = torch.from_numpy(codes[..., 0] == 3).float() * 1.05
    events = Events(torch.from_numpy(codes), numbers, torch.full((4,), 50), torch.zeros(4, 50, dtype=torch.int64))
    states = torch.zeros(4, 50, 8)
    steps = torch.optim.Adam(told.parameters(), lr=0.05)
    for _ in range(150):
        steps.zero_grad()
        loss = told.next_loss(states, events)
        loss.backward()
        steps.step()
    assert loss.item() < np.log(2) + 0.05


def test_padding_teaches_nothing():
    told, events = make(), events_of([3, 2])
    states = torch.randn(2, 5, 8)
    before = told.next_loss(states, events).item()
    events.codes[0, 3:] = 1
    events.codes[1, 2:] = 0
    events.numbers[0, 3:] = 9.0
    assert told.next_loss(states, events).item() == before


def test_rows_whose_window_is_open_do_not_count():
    told = make()
    state, counts = torch.randn(3, 16), torch.rand(3, SIZES[0])
    closed = told.window_loss(state, counts, torch.tensor([1.0, 0.0, 1.0])).item()
    counts[1] = 99.0
    assert told.window_loss(state, counts, torch.tensor([1.0, 0.0, 1.0])).item() == closed
    assert told.window_loss(state, counts, torch.zeros(3)).item() == 0.0
