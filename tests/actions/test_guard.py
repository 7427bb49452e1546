"""The abuse guard: planted abusers are found and told why, the many others are left alone, a name overrules it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ebbtide.actions.guard import HABITS, behaviour_of, habits_of, suspect
from ebbtide.events.schema import EVENT_COLUMNS

START = datetime(2024, 1, 1, tzinfo=UTC)


def behaviour(users: int = 600, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    orders = rng.poisson(6, users) + 1.0
    listed = orders * rng.lognormal(3.5, 0.5, users)
    off = rng.beta(1, 12, users)
    return pl.DataFrame(
        {
            "user_id": [f"u{n:04d}" for n in range(users)],
            "orders": orders,
            "coupons": rng.binomial(orders.astype(int), 0.1).astype(float),
            "discounted": listed * off,
            "listed": listed,
            "earned": listed * (1 - off),
            "refunds": rng.binomial(orders.astype(int), 0.05).astype(float),
            "refunded": listed * rng.beta(1, 30, users),
            "cancels": rng.binomial(orders.astype(int), 0.02).astype(float),
        }
    )


def with_abusers(frame: pl.DataFrame) -> pl.DataFrame:
    """u0000 to u0002: twenty orders, each with a coupon, nearly each refunded."""
    bad = pl.col("user_id").is_in(["u0000", "u0001", "u0002"])
    changed = {
        "orders": 20.0,
        "coupons": 20.0,
        "refunds": 18.0,
        "discounted": 600.0,
        "listed": 1000.0,
        "earned": 400.0,
        "refunded": 360.0,
    }
    return frame.with_columns(pl.when(bad).then(v).otherwise(c).alias(c) for c, v in changed.items())


def test_planted_abusers_are_suspected_and_told_why() -> None:
    frame = with_abusers(behaviour())
    found = suspect(frame, share=0.02, allow=[], seed=0)
    listed = found.list_of(frame["user_id"], "en")
    assert {"u0000", "u0001", "u0002"} <= set(listed["user_id"])
    why = listed.filter(pl.col("user_id") == "u0000")["why"][0]
    assert "orders with a coupon" in why
    assert "refunds per order" in why
    assert "usual" in why
    assert found.list_of(frame["user_id"], "zh")["why"].str.contains("通常").all()


def test_no_more_than_the_largest_share_is_suspected() -> None:
    for share in (0.002, 0.01, 0.05):
        found = suspect(with_abusers(behaviour()), share=share, allow=[], seed=0)
        assert found.suspected.sum() <= share * 600


def test_a_name_overrules_the_guard_and_stays_on_the_list() -> None:
    frame = with_abusers(behaviour())
    found = suspect(frame, share=0.02, allow=["u0001", "u0500"], seed=0)
    assert found.suspected[1]
    assert not found.kept_back[1]
    assert found.kept_back[0]
    listed = found.list_of(frame["user_id"], "en")
    assert listed.filter("overruled")["user_id"].to_list() == ["u0001"]


def test_where_all_are_alike_nobody_is_suspected() -> None:
    frame = behaviour().with_columns(pl.lit(1.0).alias(c) for c in behaviour().columns if c != "user_id")
    assert not suspect(frame, share=0.05, allow=[], seed=0).suspected.any()


def test_few_users_tell_nothing() -> None:
    assert not suspect(with_abusers(behaviour(99)), share=0.5, allow=["u0000"], seed=0).kept_back.any()


def test_one_refunded_first_order_accuses_nobody() -> None:
    frame = behaviour()
    first = pl.col("user_id") == "u0007"
    changed = {"orders": 1.0, "refunds": 1.0, "coupons": 1.0, "cancels": 0.0}
    frame = frame.with_columns(pl.when(first).then(v).otherwise(c).alias(c) for c, v in changed.items())
    assert not suspect(frame, share=0.01, allow=[], seed=0).suspected[7]


def test_being_unlike_others_alone_accuses_nobody() -> None:
    frame = with_abusers(behaviour())
    unlike = np.zeros(600)
    unlike[[0, 300]] = 9.0
    unlike[5] = np.nan
    found = suspect(frame, share=0.02, allow=[], seed=0, unlike=unlike)
    assert found.suspected[0]
    assert not found.suspected[300]
    assert "a profile unlike other customers'" in found.list_of(frame["user_id"], "en")["why"][0]


def test_the_same_seed_suspects_the_same() -> None:
    frame = with_abusers(behaviour())
    first = suspect(frame, share=0.01, allow=[], seed=3).suspected
    assert (first == suspect(frame, share=0.01, allow=[], seed=3).suspected).all()


def test_behaviour_counts_orders_once_and_refunds_by_their_order() -> None:
    rows = [
        {"type": "order", "order_id": "o1", "value": 8.0, "discount": 2.0, "coupon": "X"},
        {"type": "order", "order_id": "o1", "value": 10.0, "coupon": "X"},
        {"type": "order", "order_id": "o2", "value": 20.0},
        {"type": "refund", "order_id": "o1", "value": -18.0},
        {"type": "order_cancel", "order_id": "o3"},
        {"type": "search"},
    ]
    events = pl.DataFrame(
        [
            {
                c: {"user_id": "a", "event_id": f"e{n}", "occurred_at": START + timedelta(days=n), **r}.get(c)
                for c in EVENT_COLUMNS
            }
            for n, r in enumerate(rows)
        ],
        schema=EVENT_COLUMNS,
    )
    assert behaviour_of(events).to_dicts() == [
        {
            "user_id": "a", "orders": 2.0, "coupons": 1.0, "discounted": 2.0, "listed": 40.0, "earned": 38.0,
            "refunds": 1.0, "refunded": 18.0, "cancels": 1.0,
        }
    ]  # fmt: skip


def test_shares_of_few_orders_are_drawn_towards_all() -> None:
    """One order with a coupon among users of whom one in ten orders has one: (1 + 3 x 0.1 x mean) / (1 + 3 x mean)."""
    frame = behaviour()
    shares = habits_of(frame)
    assert shares.shape == (600, len(HABITS))
    mean = frame["coupons"].sum() / frame["orders"].sum()
    n, k = frame["orders"].to_numpy(), frame["coupons"].to_numpy()
    assert shares[:, 0] == pytest.approx((k + 3 * mean) / (n + 3))
