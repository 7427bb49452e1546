"""Keyed-hash assignment: stable, independent, even, and not to be guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from ebbtide.actions.experiment import (
    BUCKETS,
    buckets_in,
    buckets_of_share,
    draw_arms,
    is_held_out,
    resolve_users,
    workspace_secret,
)

SECRET = b"a secret of thirty-two bytes ....."
USERS = pl.Series([f"u{n}" for n in range(20_000)])


def test_a_late_joiner_changes_nobodys_arm_and_gets_the_arm_of_an_early_one() -> None:
    early = draw_arms(USERS.head(500), 0.2, "spring", SECRET)
    late = draw_arms(USERS.reverse(), 0.2, "spring", SECRET)
    joined = early.join(late, on="user_id", suffix="_late")
    assert joined.height == 500
    assert joined["arm"].equals(joined["arm_late"].alias("arm"))


def test_buckets_are_even() -> None:
    """20,000 users over 100 groups of buckets: the chi-square test does not object."""
    counts = np.bincount(buckets_in("spring", USERS, SECRET) * 100 // BUCKETS, minlength=100)
    assert chisquare(counts).pvalue > 0.001


def test_arms_have_their_shares_and_chances() -> None:
    arms = draw_arms(USERS, 0.2, "spring", SECRET)
    assert (arms["arm"] == "control").mean() == pytest.approx(0.2, abs=0.012)
    assert arms.group_by("arm").agg(pl.col("chance").unique().first()).sort("arm")["chance"].to_list() == [0.2, 0.8]


def test_layers_are_independent() -> None:
    """Control in one layer says nothing about control in another, nor about the holdout."""
    one = draw_arms(USERS, 0.5, "spring", SECRET)["arm"] == "control"
    other = draw_arms(USERS, 0.5, "summer", SECRET)["arm"] == "control"
    held = pl.Series(is_held_out(USERS, 0.5, SECRET))
    for pair in ((one, other), (one, held), (other, held)):
        assert abs(np.corrcoef(pair[0].to_numpy(), pair[1].to_numpy())[0, 1]) < 0.03


def test_campaigns_of_one_layer_share_their_control() -> None:
    assert draw_arms(USERS, 0.2, "winter", SECRET).equals(draw_arms(USERS, 0.2, "winter", SECRET))


def test_another_secret_draws_other_arms() -> None:
    same = buckets_in("spring", USERS, SECRET) == buckets_in("spring", USERS, b"another")
    assert same.mean() < 0.002


def test_a_larger_holdout_keeps_all_of_the_smaller_one() -> None:
    small, large = is_held_out(USERS, 0.05, SECRET), is_held_out(USERS, 0.1, SECRET)
    assert small.sum() > 800
    assert (large | ~small).all()


def test_a_layer_cannot_be_named_into_the_holdout() -> None:
    """Else a campaign on the layer `holdout` would find only treated users left."""
    drawn = draw_arms(USERS, 0.5, "holdout", SECRET)["bucket"].to_numpy()
    assert (drawn == buckets_in("holdout", USERS, SECRET)).mean() < 0.002


@given(st.floats(0, 1))
def test_shares_become_whole_buckets(share: float) -> None:
    count = buckets_of_share(share)
    assert 0 <= count <= BUCKETS
    assert abs(count / BUCKETS - share) <= 1 / BUCKETS
    assert (count == 0) == (share == 0)


def test_one_identity_however_it_is_spelt() -> None:
    """A composed and a decomposed é, and blanks around, are one user."""
    spelt = resolve_users(pl.Series(["Ren\u00e9", "Rene\u0301", " Ren\u00e9 ", None]))
    assert spelt.to_list() == ["Ren\u00e9"] * 3 + [None]


def test_the_secret_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    made = workspace_secret(tmp_path / "home")
    assert len(made) == 32
    assert workspace_secret(tmp_path / "home") == made
    assert workspace_secret(tmp_path / "other") != made
    assert (tmp_path / "home" / "assignment.secret").stat().st_mode & 0o077 == 0
    assert [p.name for p in (tmp_path / "home").iterdir()] == ["assignment.secret"]
