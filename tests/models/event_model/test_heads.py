"""The multi-task head: targets by hand, likelihoods against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import lognorm

from ebbtide.events.schema import EVENT_TYPES
from ebbtide.models.base import Rows
from ebbtide.models.event_model.heads import Heads
from ebbtide.models.event_model.targets import Targets
from ebbtide.sequences.event_log import EventLog, Sequences

DAY = 86_400_000_000
ORDER, VIEW = EVENT_TYPES.index("order"), EVENT_TYPES.index("product_view")


def rows_of(days, types, prices, *, known=None, at=10.0, horizon=20.0) -> Rows:
    n, time = len(days), (np.array(days) * DAY).astype(np.int64)
    zeros, nans = np.zeros(n, np.uint64), np.full(n, np.nan, np.float32)
    log = EventLog(
        start=np.array([0, n]),
        time=time,
        known=time if known is None else (np.array(known) * DAY).astype(np.int64),
        type=np.array(types, np.uint8),
        item=zeros,
        category=zeros,
        channel=zeros,
        price=np.array(prices, np.float32),
        quantity=nans,
        rating=nans,
    )
    moment = np.array([int(at * DAY)])
    return Rows(
        np.zeros((1, 1), np.float32), np.zeros(1), moment, np.zeros(1, np.uint64), ("x",), int(horizon * DAY),
        sequences=Sequences(log, np.zeros(1, np.int64), moment),
    )  # fmt: skip


def test_targets_count_order_days_money_and_the_wait():
    """As of day 10, horizon 20: two lines on day 16 are one order day; day 18 a second; day 31 is too late."""
    rows = rows_of([9, 11, 16, 16.2, 18, 31], [ORDER, VIEW, ORDER, ORDER, ORDER, ORDER], [7, 5, 10, 20, 40, 99])
    found = Targets.of(rows)
    assert found.orders.tolist() == [2]
    assert found.value.tolist() == [70]
    assert found.wait.tolist() == [6]
    assert found.silent.tolist() == [[1, 0]], "no order within 5 days, one within 10"


def test_an_order_that_arrived_after_the_window_is_not_known():
    found = Targets.of(rows_of([16], [ORDER], [10], known=[40]))
    assert found.orders.tolist() == [0]
    assert np.isnan(found.wait).all()
    assert found.silent.tolist() == [[1, 1]]


@pytest.fixture
def heads():
    torch.manual_seed(0)
    return Heads(4, 20.0).eval()


def test_the_wait_is_lognormal_and_censored(heads):
    told, wait = heads(torch.randn(2, 4)).detach(), torch.tensor([6.0, float("nan")])
    mu, scale = told[:, -2].numpy(), np.log1p(np.exp(told[:, -1].numpy())) + 1e-2
    seen = -lognorm.logpdf(6.0, scale[0], scale=np.exp(mu[0])) - np.log(6.0) - 0.5 * np.log(2 * np.pi)
    longer = -lognorm.logsf(20.0, scale[1], scale=np.exp(mu[1]))
    np.testing.assert_allclose(float(heads._wait(told, wait)), (seen + longer) / 2 / np.log(21), rtol=1e-4)


def test_money_is_zero_inflated(heads):
    """Nobody pays: only the odds of paying are wrong."""
    told = heads(torch.randn(3, 4)).detach()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(told[:, 4], torch.zeros(3))
    np.testing.assert_allclose(float(heads._money(told, torch.zeros(3))), float(expected), rtol=1e-6)


def test_the_outlook_is_positive_and_finite(heads):
    for values in heads.outlook(10 * torch.randn(50, 4)).values():
        assert torch.isfinite(values).all()
        assert (values >= 0).all()


def test_every_task_pulls_on_the_state(heads):
    state = torch.randn(6, 4, requires_grad=True)
    target = {
        "churned": torch.tensor([0.0, 1, 0, 1, 0, 1]),
        "silent": torch.ones(6, 2),
        "orders": torch.ones(6),
        "value": torch.tensor([0.0, 5, 0, 7, 9, 0]),
        "wait": torch.tensor([3.0, float("nan"), 2, 1, float("nan"), 4]),
    }
    for name in target:
        changed = {**target, name: 1 - target[name] if name == "churned" else target[name].nan_to_num(9.0) + 1}
        one, other = heads.loss(state, target), heads.loss(state, changed)
        assert float(one.detach()) != float(other.detach()), name
