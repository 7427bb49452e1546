"""Treated rows as if nothing had been done: the planted risk and the planted effects are found again, by any model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from ebbtide.churn.labels import NEVER_US
from ebbtide.models.base import Rows, Vector
from ebbtide.models.exposures import Exposures
from ebbtide.models.undone import churned_anyway, draws, learn_from, learnable, not_back_yet

WINDOW = 1_000_000
USERS = 6000
MOMENT = 10 * WINDOW


def planted(*, effect: float, seed: int = 0, silent_only: bool = True, users: int = USERS) -> tuple[Rows, Vector]:
    """Rows of one cutoff, and the chance of churn of each without an action.

    Who stays comes back at an even pace. At 40 % of the window a call goes to those at risk who have not come back yet,
    but for a control of 30 %, and moves the log-odds that they never will by `effect`.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=users)
    risk = expit(0.8 * x - 0.2)
    churns = rng.random(users) < risk
    back = np.where(churns, NEVER_US, (rng.random(users) * WINDOW).astype(np.int64) + 1)
    called = (x > 0.3) & (rng.random(users) > 0.3)
    hit_at = int(0.4 * WINDOW)
    hit = called & (back > hit_at)
    later = risk / (risk + (1 - risk) * 0.6)  # of those not back yet
    churns_then = rng.random(users) < expit(logit(later) + effect)
    back = np.where(
        hit, np.where(churns_then, NEVER_US, hit_at + 1 + (rng.random(users) * 0.6 * WINDOW).astype(np.int64)), back
    )
    treated = hit if silent_only else called
    user = np.arange(users, dtype=np.uint64)
    shown = np.full(int(treated.sum()), hit_at)
    given = Exposures(user[treated], shown, shown, np.zeros(len(shown), np.int64), ("call",), "model")
    X = np.column_stack([x, rng.normal(size=users)]).astype(np.float32)
    y, as_of = (back == NEVER_US).astype(float), np.zeros(users, np.int64)
    return Rows(X, y, as_of, user, ("x", "noise"), WINDOW, back, exposures=given), risk


def with_rule(rows: Rows, rule: str) -> Rows:
    assert rows.exposures is not None
    return replace(rows, exposures=replace(rows.exposures, rule=rule))  # type: ignore[arg-type]


def level_error(rows: Rows, risk: Vector) -> float:
    """Mean label less mean planted risk, of the same rows."""
    return float(rows.y.mean() - risk[rows.user.astype(np.int64)].mean())


@pytest.mark.parametrize("effect", [-1.2, 0.8, 0.0])
def test_the_level_and_the_effect_are_found_where_keeping_and_leaving_out_err(effect: float) -> None:
    """Treated are those who had not come back: left out, the others look too loyal; kept, the action counts as nature."""
    rows, risk = planted(effect=effect)
    found = learn_from(rows, MOMENT, seed=0)
    (call,) = found.effects
    assert call.kind == "call"
    assert call.log_odds == pytest.approx(effect, abs=0.25)
    assert abs(level_error(found.rows, risk)) < 0.02
    assert level_error(learnable(with_rule(rows, "leave_out"), MOMENT, seed=0), risk) < -0.02
    kept = level_error(learnable(with_rule(rows, "keep"), MOMENT, seed=0), risk)
    assert kept == pytest.approx(0.0, abs=0.015) if effect == 0 else np.sign(kept) == np.sign(effect)


def test_the_level_is_right_among_the_risky_too() -> None:
    rows, risk = planted(effect=-1.2)
    found, risky = learnable(rows, MOMENT, seed=0), risk > 0.6
    assert found.y[risky].mean() == pytest.approx(risk[risky].mean(), abs=0.04)
    assert rows.y[risky].mean() < risk[risky].mean() - 0.08


def test_who_came_back_before_the_action_is_left_as_they_are() -> None:
    rows, _ = planted(effect=-1.2, silent_only=False)
    assert rows.exposures is not None
    assert rows.stayed_us is not None
    found = learnable(rows, MOMENT, seed=0)
    before = rows.stayed_us <= int(0.4 * WINDOW)
    untouched = before | (rows.treated_us() == NEVER_US)
    assert np.array_equal(found.y[untouched], rows.y[untouched])
    assert (found.y[~untouched] >= rows.y[~untouched]).all()  # a call that helps makes nobody leave


def test_columns_stay_as_they_are_and_labels_are_labels() -> None:
    rows, _ = planted(effect=-1.2)
    found = learnable(rows, MOMENT, seed=0)
    assert found.names == rows.names
    assert np.array_equal(found.X, rows.X)
    assert set(np.unique(found.y)) == {0.0, 1.0}
    assert found.exposures is None
    assert np.array_equal(learnable(rows, MOMENT, seed=0).y, found.y)


def test_an_exposure_that_arrives_later_changes_nothing_before() -> None:
    rows, _ = planted(effect=-1.2)
    assert rows.exposures is not None
    late = replace(rows.exposures, known_us=np.full(len(rows.exposures.user), 5 * WINDOW))
    before = learn_from(replace(rows, exposures=late), 5 * WINDOW - 1, seed=0)
    assert np.array_equal(before.rows.y, rows.y)
    assert before.effects == ()
    assert len(learn_from(replace(rows, exposures=late), 5 * WINDOW, seed=0).effects) == 1


def test_rare_actions_count_together() -> None:
    rows, _ = planted(effect=-1.2)
    assert rows.exposures is not None
    kind = np.zeros(len(rows.exposures.user), np.int64)
    kind[:30], kind[30:60] = 1, 2
    found = learn_from(
        replace(rows, exposures=replace(rows.exposures, kind=kind, kinds=("call", "mail", "post"))), MOMENT, seed=0
    )
    assert [(e.kind, e.rows) for e in found.effects] == [("call", len(kind) - 60), (None, 60)]


def test_where_everybody_was_treated_there_is_nothing_to_learn_from() -> None:
    rows, _ = planted(effect=-0.5, users=400)
    everybody = Exposures(
        rows.user, np.ones(400, np.int64), np.ones(400, np.int64), np.zeros(400, np.int64), ("call",), "model"
    )
    found = learn_from(replace(rows, exposures=everybody), MOMENT, seed=0)
    assert len(found.rows) == 0


def test_who_churned_anyway() -> None:
    """An action that helps: the churned stay churned. One that harms: the stayed stay, some of the churned would have."""
    y, low, high = np.array([1.0, 0.0]), np.full(2, 0.4), np.full(2, 0.6)
    assert churned_anyway(y, high, low) == pytest.approx([1.0, 0.2 / 0.6])
    assert churned_anyway(y, low, high) == pytest.approx([0.4 / 0.6, 0.0])
    p = 0.4 * churned_anyway(y, high, low)[0] + 0.6 * churned_anyway(y, high, low)[1]
    assert p == pytest.approx(0.6)


def test_part_not_back_yet_by_hand() -> None:
    """Five; back at .2 -> 4/5; one treated at .3 leaves four less two = 3 to watch; back at .5 -> 4/5 * 2/3; two stay away."""
    share = np.array([0.2, 0.3, 0.5, 1.0, 1.0])
    curve, end = not_back_yet(share, np.array([True, False, True, False, False]), np.array([0.1, 0.2, 0.4, 0.9]))
    assert curve == pytest.approx([1.0, 0.8, 0.8, 0.8 * 2 / 3])
    assert end == pytest.approx(0.8 * 2 / 3)


def test_draws_are_even_and_each_row_has_its_own() -> None:
    rows, _ = planted(effect=0.0)
    found = draws(rows, 0)
    assert np.array_equal(draws(rows.take(np.arange(10, 20)), 0), found[10:20])
    assert np.histogram(found, 10, (0, 1))[0].min() > 500
    assert not np.allclose(draws(rows, 1), found)
