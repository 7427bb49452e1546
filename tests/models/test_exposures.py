"""Who was treated, by the row's own window, with what was known at a moment only."""

from __future__ import annotations

import numpy as np

from ebbtide.churn.labels import NEVER_US
from ebbtide.models.auto import HeldOut
from ebbtide.models.base import Rows
from ebbtide.models.exposures import Exposures, Rule

WINDOW = 30
AS_OF = 100


def exposures(given: list[tuple[int, int, int, int]], rule: Rule = "leave_out") -> Exposures:
    """From (user, at, known, kind)."""
    user, at, known, kind = (np.array(c, np.int64) for c in zip(*sorted(given), strict=True))
    return Exposures(user.astype(np.uint64), at, known, kind, ("call", "coupon"), rule)


def rows(users: int, given: Exposures) -> Rows:
    at, y = np.full(users, AS_OF, np.int64), np.arange(users) % 2.0
    X, user = np.zeros((users, 1), np.float32), np.arange(users, dtype=np.uint64)
    return Rows(X, y, at, user, ("x",), WINDOW, exposures=given)


def since(given: list[tuple[int, int, int, int]], users: int = 3) -> list[int]:
    return rows(users, exposures(given)).treated_us().tolist()


def test_the_window_is_half_open_like_every_other() -> None:
    """At as_of: outside. At the very end: inside. A microsecond later: outside."""
    assert since([(0, 100, 100, 0), (1, 130, 130, 0), (2, 131, 131, 0)]) == [NEVER_US, 130, NEVER_US]


def test_a_row_is_treated_since_the_first_of_its_actions_was_known() -> None:
    assert since([(1, 110, 400, 0), (1, 120, 125, 1), (2, 140, 140, 0)]) == [NEVER_US, 125, NEVER_US]


def test_the_first_action_is_the_first_of_those_known_then() -> None:
    given = exposures([(1, 110, 400, 0), (1, 120, 125, 1), (1, 128, 128, 0)])
    who, at = np.array([1], np.uint64), np.array([AS_OF])
    found = [given.first_known(who, at, WINDOW, moment) for moment in (124, 130, 400)]
    assert [(int(t[0]), int(k[0])) for t, k in found] == [(NEVER_US, -1), (120, 1), (110, 0)]


def test_only_what_was_known_then_is_left_out() -> None:
    """User 1's action was known in time, user 2's arrived at 300: until then the row is learnt from."""
    both = rows(4, exposures([(1, 110, 110, 0), (2, 110, 300, 0)]))
    assert [both.known_at(moment).user.tolist() for moment in (129, 130, 299, 300)] == [
        [],
        [0, 2, 3],
        [0, 2, 3],
        [0, 3],
    ]
    assert both.untreated().user.tolist() == [0, 3]


def test_kept_and_modelled_rows_are_learnt_from_and_judge_nothing() -> None:
    for rule in ("keep", "model"):
        kept = rows(4, exposures([(1, 110, 110, 0)], rule))
        assert kept.known_at(130).user.tolist() == [0, 1, 2, 3]
        assert kept.untreated().user.tolist() == [0, 2, 3]


def test_a_held_out_member_helps_to_choose_until_it_is_known_to_be_treated() -> None:
    members = np.arange(3, dtype=np.uint64)
    held = HeldOut(
        AS_OF,
        AS_OF + WINDOW,
        members,
        np.ones(3),
        {"m": np.arange(3.0)[None]},
        treated_us=np.array([NEVER_US, 110, 300]),
    )
    assert held.known_at(299).user.tolist() == [0, 2]
    assert held.known_at(300).margins["m"].tolist() == [[0.0]]
    assert held.untreated().user.tolist() == [0]
