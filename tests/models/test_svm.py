"""The support vector machine: its optimum, its kernel, its exact reasons, its size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.kernel_approximation import Nystroem
from sklearn.svm import LinearSVC

from ebbtide.core.errors import DefectError
from ebbtide.evaluation.ranking import auroc
from ebbtide.models import svm
from ebbtide.models.attribution import permutation_terms, reference_row
from ebbtide.models.base import sigmoid
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.shapley import shapley_few
from ebbtide.models.svm import SvmConfig, SvmModel, _fit, _Machine, _separate
from ebbtide.models.svm_kernels import add_terms, gauss_legendre


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(800)


@pytest.fixture(scope="module")
def model(rows):
    return SvmModel(SvmConfig(landmarks=64)).fit(rows, seed=0)


def objective(features, sign, hinge, point):
    short = np.maximum(0, 1 - sign * (features @ point))
    return 0.5 * point[:-1] @ point[:-1] + hinge * short @ short


def test_the_newton_steps_end_where_the_library_ends():
    """scikit-learn's LinearSVC minimises the same squared hinge, but pulls the constant too: a large scale frees it."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 6))
    sign = np.where(features[:, 0] + 0.5 * features[:, 1] + rng.normal(size=400) > 0.7, 1.0, -1.0)
    ours = _separate(np.column_stack([features, np.ones(400)]), sign, 0.05)
    theirs = LinearSVC(C=0.05, dual=False, tol=1e-10, intercept_scaling=1000.0, max_iter=10_000).fit(features, sign)
    np.testing.assert_allclose(ours, np.r_[theirs.coef_[0], theirs.intercept_], atol=1e-4)


def test_no_step_from_the_optimum_lowers_the_loss():
    rng = np.random.default_rng(1)
    features = np.column_stack([rng.normal(size=(300, 4)), np.ones(300)])
    sign = np.where(rng.random(300) < 0.3, 1.0, -1.0)
    point = _separate(features, sign, 1.0)
    best = objective(features, sign, 1.0, point)
    for _ in range(50):
        assert objective(features, sign, 1.0, point + rng.normal(0, 1e-2, 5)) >= best - 1e-6 * best


def test_the_radial_part_is_the_librarys_nystroem_machine():
    """With all weight on the kernel: the same landmarks, the same features up to a turn, the same margins."""
    rng = np.random.default_rng(2)
    z = np.round(rng.normal(size=(150, 3)), 3).astype(np.float32)
    y = (np.abs(z[:, 0]) + 0.3 * rng.normal(size=150) > 0.7).astype(float)
    config = SvmConfig(landmarks=150, reach=1.5, hinge=1e4)
    ours = _fit(z, y, config, 0)
    kernel = Nystroem(gamma=1.5 / 6, n_components=150, random_state=0).fit_transform(z.astype(float))
    features = np.column_stack([z / np.sqrt(3), kernel])
    theirs = LinearSVC(C=1e4 / 150, dual=False, tol=1e-10, intercept_scaling=1000.0, max_iter=10_000).fit(features, y)
    np.testing.assert_allclose(ours.margin(z), theirs.decision_function(features), atol=0.05)
    assert auroc(y, ours.margin(z)) > 0.95, "which no straight line reaches here"


@pytest.fixture
def machine():
    """Four regressors of three columns: the first column has two."""
    rng = np.random.default_rng(3)
    return _Machine(rng.normal(size=4), rng.normal(size=(20, 4)), rng.normal(size=20), 0.3, 0.7)


def test_terms_are_the_exact_shapley_values(machine):
    """Against all coalitions of the columns; both regressors of a column come and go together."""
    rng, owner = np.random.default_rng(4), np.array([0, 1, 2, 0])
    z, reference = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    z[0] = reference
    z[1, 3] = reference[3]
    out = np.zeros((30, 4))
    add_terms(
        z, reference, owner, machine.slopes, machine.landmarks, machine.weights, machine.width, gauss_legendre(8), out
    )
    for i in range(30):

        def taken(columns, i=i):
            return machine.margin(np.where(columns[:, owner] > 0.5, z[i], reference).astype(np.float32))

        shares, _ = shapley_few(taken, np.ones((1, 3)), np.zeros(3))
        np.testing.assert_allclose(out[i, :3], shares[0], rtol=0, atol=1e-9)


def test_more_quadrature_points_change_no_term(rows, model, monkeypatch, make_rows):
    X = make_rows(100, seed=9).X
    X[:8][np.eye(8, dtype=bool)] = 3e38
    terms = model.contributions(X)
    np.testing.assert_allclose(terms.sum(axis=1), model.margin(X), rtol=0, atol=1e-9)
    monkeypatch.setattr(svm, "POINTS", 60)
    np.testing.assert_allclose(model.contributions(X), terms, rtol=0, atol=1e-9)


def test_sampled_walks_agree_with_the_exact_terms(rows, model):
    """`attribution.py` knows nothing of the kernel, and comes to the same values on average."""
    X = rows.X[:40]
    walked = permutation_terms(model.margin, X, reference_row(rows.X), permutations=40)
    assert np.abs(walked - model.contributions(X)).max() < 0.05
    np.testing.assert_allclose(walked[:, -1], model.contributions(X)[:, -1], atol=1e-9)


def test_margins_are_log_odds(make_rows):
    """On users that were not seen, the best line through the margins is near the identity."""
    model, fresh = SvmModel().fit(make_rows(2000, seed=1), seed=0), make_rows(5000, seed=5)
    line = AffineCalibration.fit(model.margin(fresh.X), fresh.y, slope_spread=3.0)
    assert line.slope == pytest.approx(1.0, abs=0.15)
    assert sigmoid(model.margin(fresh.X)).mean() == pytest.approx(fresh.y.mean(), abs=0.05)


def test_a_curved_truth_is_learnt_that_a_line_cannot_see(make_rows):
    rows = make_rows(2000)
    share = rows.column("share").astype(float)
    y = (np.random.default_rng(0).random(2000) < np.where(np.abs(share - 0.5) < 0.25, 0.8, 0.2)).astype(float)
    X = np.where(np.arange(8) == 4, rows.X, 1.0).astype(np.float32)
    bent = SvmModel(SvmConfig(hinge=2000.0)).fit(replace(rows, X=X, y=y), seed=0)
    assert auroc(y, bent.margin(X)) > 0.75
    assert auroc(y, share) < 0.55


def test_a_sample_of_users_is_learnt_from_where_rows_are_many(rows):
    few = SvmModel(SvmConfig(landmarks=32, most_rows=200)).fit(rows, seed=0)
    kept = rows.take(rows.user.astype(float) <= np.quantile(rows.user.astype(float), 200 / 800))
    again = SvmModel(SvmConfig(landmarks=32)).fit(kept, seed=0)
    assert few.margin(rows.X).tobytes() == again.margin(rows.X).tobytes()


def test_another_seed_draws_other_landmarks(rows, model):
    other = SvmModel(SvmConfig(landmarks=64)).fit(rows, seed=1)
    assert np.abs(other.margin(rows.X) - model.margin(rows.X)).max() > 1e-3


def test_rows_that_tell_nothing_get_the_base_rate(rows):
    blank = replace(rows, X=np.ones_like(rows.X))
    model = SvmModel().fit(blank, seed=0)
    np.testing.assert_allclose(sigmoid(model.margin(blank.X[:5])), rows.y.mean(), atol=0.05)
    assert (model.contributions(blank.X[:5])[:, :-1] == 0).all()


def test_the_saved_machine_is_small_and_short_in_digits(model, tmp_path):
    model.save(tmp_path)
    file = tmp_path / "svm.json"
    assert file.stat().st_size < 15_000
    landmarks = json.loads(file.read_text(encoding="utf-8"))["machine"]["landmarks"]
    assert all(v == round(v, 3) for row in landmarks for v in row)


def test_a_machine_that_was_not_fitted_says_so(rows):
    with pytest.raises(DefectError, match="before it is fitted"):
        SvmModel().margin(rows.X)
