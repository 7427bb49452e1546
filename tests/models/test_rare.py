"""Made-up rows of the rare class: between neighbours or by a GAN, like the class, and of training rows only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebbtide.core.settings import AugmentConfig
from ebbtide.models.auto import Choice, MadeColumns, fit_chosen, held_margins
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.rare import RareScale, between_neighbours, with_more_rare
from ebbtide.models.registry import MODELS, Setting
from ebbtide.models.tabular_gan import imagined_rows

SMOTE, GAN = AugmentConfig(rare="smote", rare_share=0.4), AugmentConfig(rare="gan", rare_share=0.4)


@pytest.fixture(scope="module")
def rows(make_rows):
    """One in ten churned."""
    whole = make_rows(800)
    churned = np.flatnonzero(whole.y == 1)
    kept = np.sort(np.r_[np.flatnonzero(whole.y == 0), churned[:: max(1, 9 * len(churned) // (whole.y == 0).sum())]])
    stayed = np.where(whole.y == 1, 2**62, whole.as_of_us)
    return replace(whole, stayed_us=stayed).take(kept)


@pytest.fixture(scope="module", params=[SMOTE, GAN], ids=["smote", "gan"])
def more(rows, request):
    return with_more_rare(rows, request.param, seed=0)


def made_up(rows, more):
    """The rows that are not among the real ones."""
    real = {row.tobytes() for row in rows.X}
    return more.take(np.array([row.tobytes() not in real for row in more.X]))


def test_the_rare_class_is_brought_to_its_share(rows, more):
    assert rows.y.mean() < 0.25
    assert more.y.mean() == pytest.approx(0.4, abs=0.01)
    assert (more.y == 0).sum() == (rows.y == 0).sum()
    assert made_up(rows, more).y.all()


def test_made_up_rows_are_of_known_users_moments_and_ranges(rows, more):
    made = made_up(rows, more)
    rare = rows.take(rows.y == 1)
    real = set(zip(rare.user.tolist(), rare.as_of_us.tolist(), rare.stayed_us.tolist(), strict=True))
    assert set(zip(made.user.tolist(), made.as_of_us.tolist(), made.stayed_us.tolist(), strict=True)) <= real
    assert (np.fmin.reduce(made.X) >= np.fmin.reduce(rows.X) - 1e-3)[:6].all()
    assert (np.fmax.reduce(made.X) <= np.fmax.reduce(rows.X) * 1.001)[:6].all()
    whole = [rows.names.index(n) for n in ("outcome_repeat_days", "outcome_last_age_days", "constant")]
    assert (made.X[:, whole] == np.rint(made.X[:, whole])).all(), "counts stay whole"
    assert np.isnan(made.X[:, rows.names.index("never_known")]).all()


def test_made_up_rows_stand_in_the_order_of_all_rows(more):
    assert (np.lexsort((more.user, more.as_of_us)) == np.arange(len(more))).all()


def test_the_same_seed_makes_the_same_rows(rows):
    one, two = (with_more_rare(rows, SMOTE, seed=3) for _ in range(2))
    assert one.X.tobytes() == two.X.tobytes()
    z = RareScale.of(rows.X).to_scale(rows.X)
    one, two = (imagined_rows(z, 50, seed=3, steps=3) for _ in range(2))
    assert one.tobytes() == two.tobytes()


def test_the_rarer_class_may_be_the_retained(rows):
    more = with_more_rare(replace(rows, y=1 - rows.y), SMOTE, seed=0)
    assert (more.y == 0).mean() == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("config", [AugmentConfig(), AugmentConfig(rare="smote", rare_share=0.05)])
def test_nothing_is_made_up_unasked_or_beyond_the_share(rows, config):
    assert with_more_rare(rows, config, seed=0) is rows


def test_a_class_of_one_is_left_alone(rows):
    y = np.zeros(len(rows))
    y[3] = 1
    alone = replace(rows, y=y)
    assert with_more_rare(alone, SMOTE, seed=0) is alone


def test_the_scale_goes_there_and_back(rows):
    scale = RareScale.of(rows.X)
    back = scale.from_scale(scale.to_scale(rows.X), rows.X)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(rows.X))
    close = np.isclose(back, rows.X, rtol=1e-4, atol=1e-3) | np.isnan(rows.X)
    assert close.mean() > 0.99, "all but the tails that the scale clips"


def test_a_row_between_two_lies_on_the_line_and_keeps_what_is_unknown():
    z = np.array([[0, 0, np.nan], [2, 4, 1], [90, 90, 90]], np.float32)
    made = between_neighbours(z[:2], np.array([0, 0, 1]), np.random.default_rng(0))
    assert np.isnan(made[:2, 2]).all()
    assert made[2, 2] == 1, "the other end is unknown, so the cell does not move"
    np.testing.assert_allclose(made[:, 1], 2 * made[:, 0], rtol=1e-6)
    assert ((made[:, 0] >= 0) & (made[:, 0] <= 2)).all()


def test_neighbours_are_the_nearest_ones():
    """Two clouds: nobody walks from one to the other."""
    rng = np.random.default_rng(0)
    z = np.vstack([rng.normal(-9, 1, (600, 3)), rng.normal(9, 1, (600, 3))]).astype(np.float32)
    made = between_neighbours(z, np.arange(1200), rng)
    assert (np.sign(made[:, 0]) == np.sign(z[:, 0])).all()


def test_a_gan_learns_centres_spreads_and_what_is_unknown():
    rng = np.random.default_rng(0)
    z = np.column_stack([rng.normal(1.5, 0.3, 600), rng.normal(-1, 1, 600), rng.normal(0, 1, 600)])
    z[:, 2] = np.where(rng.random(600) < 0.5, np.nan, z[:, 2])
    made = imagined_rows(z.astype(np.float32), 2000, seed=0, steps=600)
    np.testing.assert_allclose(np.nanmean(made, axis=0)[:2], [1.5, -1], atol=0.35)
    assert 0.1 < made[:, 0].std() < 0.6
    assert 0.5 < made[:, 1].std() < 1.5
    assert 0.25 < np.isnan(made[:, 2]).mean() < 0.75
    assert not np.isnan(made[:, :2]).any()


def test_only_training_rows_are_seen(make_rows, rows):
    """A model's made-up rows, and so its margins, do not depend on who is asked about."""
    setting, entries = Setting(30.0, augment=SMOTE), {"logistic": MODELS["logistic"]}
    asked = make_rows(50, seed=9)
    alone = held_margins(rows, asked.take(np.arange(10)), entries, setting, seed=0)["logistic"]
    assert alone.tobytes() == held_margins(rows, asked, entries, setting, seed=0)["logistic"][:, :10].tobytes()
    plain = held_margins(rows, asked, entries, Setting(30.0), seed=0)["logistic"]
    assert plain[:, :10].tobytes() != alone.tobytes()


def test_without_a_calibration_no_row_is_made_up(rows):
    """The base rate of the made-up rows would go straight into the probabilities."""
    entries, setting = {"logistic": MODELS["logistic"]}, Setting(30.0, augment=SMOTE)

    def margin(calibration, setting):
        choice = Choice({"logistic": 0}, {"logistic": 1.0}, calibration, ())
        stack, _ = fit_chosen(rows, choice, entries, setting, seed=0)
        return stack.margin(rows.X).tobytes()

    plain = margin(AffineCalibration(), Setting(30.0))
    assert margin(AffineCalibration(), setting) == plain
    assert margin(AffineCalibration(1.0, 0.1), setting) != plain


def test_models_that_read_nets_get_no_made_up_rows(rows):
    """They read log-odds that know the labels, and made-up rows have no events."""
    made = MadeColumns(rows, Setting(30.0, augment=SMOTE), 0)
    assert len(made.learnt_rows(MODELS["logistic"])) > len(rows)
    entry = replace(MODELS["logistic"], alone=True)
    assert len(made.learnt_rows(entry)) == len(rows)
