"""How `auto` chooses: on closed moments only, with models that had not seen them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebbtide.models.auto import HeldOut, Learnt, choose, fit_chosen, hold_out, together
from ebbtide.models.base import Rows, sigmoid
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.lightgbm import LightGbmModel
from ebbtide.models.registry import Entry, Setting, candidates

DAY_US = 86_400_000_000
SETTING = Setting(30.0)
ENTRIES = candidates("auto")


class Spy:
    """A model that remembers what it was fitted on."""

    def __init__(self, seen: list[Rows]) -> None:
        self.seen = seen

    def fit(self, rows, *, seed):
        self.seen.append(rows)
        return self

    def margin(self, X):
        return np.zeros(len(X))


def spies(names=("one", "two"), prior=0.5):
    seen: list[Rows] = []
    return {n: Entry(lambda _: Spy(seen), Spy, prior) for n in names}, seen


def held(day, y, margins, horizon=30):
    """A held-out moment `day` days in, whose labels were known `horizon` days later."""
    y = np.asarray(y, float)
    return HeldOut(
        day * DAY_US, (day + horizon) * DAY_US, np.arange(len(y), dtype=np.uint64), y,
        {name: np.atleast_2d(np.asarray(m, float)) for name, m in margins.items()},
    )  # fmt: skip


@pytest.fixture(scope="module")
def past():
    """Four held-out moments, 30 days apart: one model knows, two guess; trees that got better with every round."""
    rng, moments = np.random.default_rng(0), []
    for day in (30, 60, 90, 120):
        truth = rng.normal(0, 1.5, 400)
        path = np.vstack([truth * step / 8 for step in range(1, 9)])
        y = rng.random(400) < sigmoid(truth - 0.5)
        guesses = {"bgnbd": rng.normal(0, 1, 400), "forest": rng.normal(0, 1, 400)}
        moments.append(held(day, y, {**guesses, "logistic": truth, "lightgbm": path}))
    return moments


def pick(past, day, entries=ENTRIES):
    return choose(past, entries, known_us=day * DAY_US)


def test_a_held_out_moment_is_predicted_from_labels_known_by_then(make_rows):
    """Every row that any candidate is fitted on had its outcome window closed: as_of + embargo <= moment."""
    rows = make_rows(900, moments=6)
    for moment in rows.moments():
        entries, seen = spies()
        found = hold_out(rows, int(moment), entries, SETTING, seed=0)
        assert (found is None) == (not seen)
        for given in seen:
            assert (given.as_of_us + rows.embargo_us <= moment).all()
            assert len(given) == (rows.as_of_us + rows.embargo_us <= moment).sum() > 0
        if found:
            assert (found.moment_us, found.closed_us) == (moment, moment + rows.embargo_us)
            assert np.array_equal(found.user, rows.at(int(moment)).user)


def test_labels_that_were_not_known_change_no_held_out_margin(make_rows):
    """Flip every label that was open at the moment: the margins stay, bit for bit."""
    rows = make_rows(900, moments=6)
    moment = int(rows.moments()[3])
    open_ = rows.as_of_us + rows.embargo_us > moment
    flipped = replace(rows, y=np.where(open_, 1 - rows.y, rows.y))
    entries = {n: e for n, e in ENTRIES.items() if n != "lightgbm"}
    one, other = (hold_out(r, moment, entries, SETTING, seed=0) for r in (rows, flipped))
    for name in entries:
        assert one.margins[name].tobytes() == other.margins[name].tobytes()


def test_a_held_out_moment_carries_the_newest_cohort_that_its_models_had_learnt_from(make_rows):
    """Its labels as they stood then, and margins of the same models, so that their level can be told."""
    rows = make_rows(900, moments=6)
    moment = int(rows.moments()[-1])
    known = rows.known_at(moment)
    newest = known.at(int(known.moments()[-1]))
    found = hold_out(rows, moment, ENTRIES, SETTING, seed=0)
    assert np.array_equal(found.newest.y, newest.y)
    alone = ENTRIES["logistic"].make(SETTING).fit(known, seed=0)
    np.testing.assert_allclose(found.newest.margins["logistic"], alone.margin(newest.X)[None], atol=1e-12)
    np.testing.assert_allclose(found.margins["logistic"], alone.margin(rows.at(moment).X)[None], atol=1e-12)


def test_an_outcome_that_arrives_after_the_moment_does_not_move_the_anchor(make_rows):
    """Late outcomes of the newest known cohort were not known at the moment: nothing of what was held out changes."""
    rows = make_rows(900, moments=6)
    moment = int(rows.moments()[-1])
    never = np.where(rows.y == 1, 2**62, rows.as_of_us + rows.embargo_us)
    late = np.where(rows.y == 0, moment + 1, never)
    closed = rows.as_of_us + rows.embargo_us <= moment
    half = closed & (rows.user % np.uint64(2) == 0)
    with_late = replace(rows, stayed_us=np.where(half, late, never))
    unknown = replace(rows, y=np.where(half, 1.0, rows.y), stayed_us=np.where(half, 2**62, never))
    entries = {n: e for n, e in ENTRIES.items() if n != "lightgbm"}
    one, other = (hold_out(r, moment, entries, SETTING, seed=0) for r in (with_late, unknown))
    assert one.newest.y.tobytes() == other.newest.y.tobytes()
    for name in entries:
        assert one.margins[name].tobytes() == other.margins[name].tobytes()
        assert one.newest.margins[name].tobytes() == other.newest.margins[name].tobytes()


def test_nothing_is_held_out_when_nothing_was_known(make_rows):
    rows = make_rows(300, moments=3)
    entries, _ = spies()
    assert hold_out(rows, int(rows.moments()[0]), entries, SETTING, seed=0) is None
    one_class = replace(rows, y=np.ones(len(rows)))
    assert hold_out(one_class, int(rows.moments()[-1]), entries, SETTING, seed=0) is None
    assert hold_out(rows, int(rows.moments()[-1]) + 1, entries, SETTING, seed=0) is None


def test_only_closed_moments_are_looked_at(past):
    """The choice at day 120 does not change with what is held out at days 120 (open) or when those labels flip."""
    chosen = pick(past, 120)
    spoilt = replace(past[3], y=1 - past[3].y, margins={n: -m for n, m in past[3].margins.items()})
    assert chosen == pick(past[:3], 120) == pick([*past[:3], spoilt], 120)
    assert len(chosen.history) == 3


def test_a_moment_closes_at_the_end_of_its_outcome_window(past):
    assert len(pick(past, 90).history) == 2
    assert len(pick(past, 90 - 1e-3).history) == 1


def test_a_choice_takes_the_labels_that_had_arrived(past):
    """Of those who stayed at day 60, half were known to only from day 100 on: at day 95 they count as churned."""
    stayed = np.where(past[1].y == 1, 2**62, np.where(np.arange(400) % 2, 100, 90) * DAY_US)
    late = replace(past[1], stayed_us=stayed)
    then = replace(past[1], y=np.where(stayed > 95 * DAY_US, 1.0, past[1].y))
    assert then.y.mean() > past[1].y.mean() + 0.1
    assert pick([past[0], late], 95) == pick([past[0], then], 95) != pick([past[0], past[1]], 95)
    assert pick([past[0], late], 100) == pick([past[0], past[1]], 100)


def test_the_order_of_moments_does_not_matter(past):
    one, other = pick(past, 150), pick(past[::-1], 150)
    assert one.variant == other.variant
    assert [h.as_of_us for h in one.history] == [h.as_of_us for h in other.history]
    assert one.weight == pytest.approx(other.weight, abs=1e-6)
    assert one.calibration.to_json() == pytest.approx(other.calibration.to_json(), abs=1e-6)


def test_without_evidence_the_usual_choice_stays():
    chosen = pick([], 100)
    assert chosen.weight == {n: e.prior for n, e in ENTRIES.items()}
    assert chosen.calibration == AffineCalibration()
    assert LightGbmModel.rounds_grid[chosen.variant["lightgbm"]] == LightGbmModel.usual_rounds
    assert chosen.history == ()


@pytest.mark.parametrize("name", ["recency", "frequency", "bgnbd", "logistic", "lightgbm"])
def test_one_candidate_has_weight_one(name, past):
    """With evidence and without: there is nobody to share with."""
    margins = dict.fromkeys(("recency", "frequency"), past[0].margins["logistic"])
    known = [replace(h, margins={**h.margins, **margins}) for h in past]
    assert pick([], 150, candidates(name)).weight == {name: 1.0}
    assert pick(known, 150, candidates(name)).weight == {name: 1.0}


def test_weights_go_to_who_knows(past):
    weight = pick(past, 150).weight
    assert all(w >= 0 for w in weight.values())
    assert weight["bgnbd"] < 0.1 < weight["logistic"]


def test_the_number_of_rounds_is_the_one_that_predicted_best():
    """The margin that is right after the third number of rounds, and too bold after it."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1.5, 4000)
    y = rng.random(4000) < sigmoid(truth)
    path = np.vstack([truth * f for f in (0.3, 0.6, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)])
    assert pick([held(30, y, {"lightgbm": path})], 60, candidates("lightgbm")).variant == {"lightgbm": 2}


def test_moments_with_one_class_only_are_borne():
    """Everybody churned: nothing to weigh or to calibrate on."""
    margins = {n: np.zeros((8 if n == "lightgbm" else 1, 50)) for n in ENTRIES}
    chosen = pick([held(30, np.ones(50), margins)], 60)
    assert chosen.weight == {n: e.prior for n, e in ENTRIES.items()}
    assert chosen.calibration == AffineCalibration()


def test_applying_a_choice_is_the_calibrated_weighted_sum(past):
    chosen, asked = pick(past, 150), past[0]
    by_hand = sum(w * asked.margins[n][chosen.variant[n]] for n, w in chosen.weight.items())
    np.testing.assert_allclose(chosen.apply(asked), chosen.calibration.apply(by_hand))


def test_weights_add_up_to_one(past):
    """Margins half as bold: the slope of the calibration doubles, and not the weights."""
    shy = [replace(h, margins={n: m / 2 for n, m in h.margins.items()}) for h in past]
    one, other = pick(past, 150), pick(shy, 150)
    for chosen in (one, other):
        assert sum(chosen.weight.values()) == pytest.approx(1.0)
    assert other.calibration.slope > 1.5 * one.calibration.slope


def test_a_level_that_the_newest_cohort_shows_is_corrected_before_anything_is_learnt(past):
    """Models that are half a unit too low on what they have just learnt from are lifted, at every moment."""
    rng = np.random.default_rng(1)

    def anchored(h):
        level = rng.normal(0, 1, 2000)
        seen = (rng.random(2000) < sigmoid(level + 0.5)).astype(float)
        low = {n: np.tile(level, (len(m), 1)) for n, m in h.margins.items()}
        return replace(h, newest=Learnt(seen, low))

    lifted = [anchored(h) for h in past]
    one, other = pick(past, 150), pick(lifted, 150)
    for free, held_down in zip(one.history, other.history, strict=True):
        assert held_down.shift == pytest.approx(free.shift - 0.5, abs=0.15)
    assert one.weight == pytest.approx(other.weight)


def test_candidates_that_were_held_out_apart_are_put_together(make_rows):
    """Held out alone or with others: the same margins, in the held-out cohort and in the one learnt from."""
    rows = make_rows(900, moments=6)
    moment = int(rows.moments()[-1])
    names = ("bgnbd", "logistic")
    entries = {n: ENTRIES[n] for n in names}
    whole = hold_out(rows, moment, entries, SETTING, seed=0)
    joined = together([hold_out(rows, moment, {n: ENTRIES[n]}, SETTING, seed=0) for n in names])
    for one, other in ((whole.margins, joined.margins), (whole.newest.margins, joined.newest.margins)):
        assert list(one) == list(other)
        assert all(one[n].tobytes() == other[n].tobytes() for n in names)
    bare = replace(whole, newest=None)
    assert together([bare, bare]).newest is None


def test_the_final_stack_stands_at_the_level_of_the_newest_cohort(make_rows, past):
    """In the newest cohort more churn than in the older ones: the mean of its probabilities is its own base rate."""
    rows = make_rows(3000, moments=4)
    newest = rows.as_of_us == rows.as_of_us.max()
    moved = replace(rows, y=np.where(newest & (rows.user % np.uint64(3) == 0), 1.0, rows.y))
    chosen = replace(pick(past, 150), weight={"logistic": 1.0})
    entries = candidates("logistic")
    stack, _ = fit_chosen(moved, chosen, entries, SETTING, seed=0)
    plain, _ = fit_chosen(moved, chosen, entries, SETTING, seed=0, anchored=False)
    rate = moved.y[newest].mean()
    assert sigmoid(stack.margin(rows.X[newest])).mean() == pytest.approx(rate, abs=0.005)
    assert rate - sigmoid(plain.margin(rows.X[newest])).mean() > 0.03
    assert plain.intercept == 0.0


def test_candidates_without_weight_are_not_fitted(make_rows, past):
    entries, seen = spies(("one", "two", "three"))
    chosen = replace(pick(past, 150), weight={"one": 0.7, "two": 0.0, "three": 0.3})
    stack, _ = fit_chosen(make_rows(), chosen, entries, SETTING, seed=0)
    assert stack.weights == [0.7, 0.3]
    assert len(seen) == 2


def test_trees_are_boosted_for_as_long_as_chosen(make_rows, past):
    chosen = replace(pick(past, 150), variant={"lightgbm": 1}, weight={"lightgbm": 1.0})
    stack, _ = fit_chosen(make_rows(), chosen, candidates("lightgbm"), SETTING, seed=0)
    assert stack.members[0].rounds == LightGbmModel.rounds_grid[1]


def test_the_best_columns_are_chosen_from_what_was_known_and_read_from_the_bundle(make_rows, past):
    """Flip every label that was open: the same columns, the same margins. The fitted member reads these columns only."""
    entries = {"logistic": replace(candidates("logistic")["logistic"], columns=2)}
    rows = make_rows(900, moments=6)
    moment = int(rows.moments()[3])
    open_ = rows.as_of_us + rows.embargo_us > moment
    flipped = replace(rows, y=np.where(open_, 1 - rows.y, rows.y))
    one, other = (hold_out(r, moment, entries, SETTING, seed=0) for r in (rows, flipped))
    assert one.margins["logistic"].tobytes() == other.margins["logistic"].tobytes()
    whole = hold_out(rows, moment, candidates("logistic"), SETTING, seed=0)
    assert np.abs(whole.margins["logistic"] - one.margins["logistic"]).max() > 1e-3
    chosen = replace(pick(past, 150, entries), variant={"logistic": 0}, weight={"logistic": 1.0})
    stack, _ = fit_chosen(rows, chosen, entries, SETTING, seed=0)
    terms = stack.contributions(rows.X)
    used = [n for n, column in zip(rows.names, terms.T, strict=False) if np.ptp(column) > 0]
    assert len(used) == 2
    assert "never_known" not in used
    np.testing.assert_allclose(terms.sum(axis=1), stack.margin(rows.X), atol=1e-9)
