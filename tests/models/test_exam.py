"""The exam: every model of the registry is found and put through the same laws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file as load_safetensors

from ebbtide.core.errors import DataError
from ebbtide.models.base import Model, Rows, sigmoid
from ebbtide.models.registry import MODELS, Setting

NAMES = sorted(name for name, entry in MODELS.items() if not entry.makers)
"""Models of their own; those that read a column maker sit their exam with it (test_makers_exam.py)."""
SETTING = Setting(horizon_days=30.0)
LEARNS_WITHOUT_LABELS = {"bgnbd"}

UNTRAINABLE = {
    "only churned": (lambda r: replace(r, y=np.ones(len(r))), "both churned and retained"),
    "only retained": (lambda r: replace(r, y=np.zeros(len(r))), "both churned and retained"),
    "one user": (lambda r: replace(r, user=np.full_like(r.user, 5)), "several users"),
    "too few rows": (lambda r: r.take(np.arange(9)), "at least 10 rows"),
    "an infinite number": (lambda r: replace(r, X=np.where(r.X[3, 3] == r.X, np.inf, r.X)), "must be finite"),
}


@pytest.fixture(scope="module")
def rows(make_rows) -> Rows:
    return make_rows()


@pytest.fixture(scope="module")
def unseen(make_rows):
    return make_rows(200, seed=9).X


@pytest.fixture(scope="module")
def fitted(rows) -> dict[str, Model]:
    return {name: MODELS[name].make(SETTING).fit(rows, seed=7) for name in NAMES}


def test_every_model_sits_the_exam():
    assert NAMES == [
        "bgnbd", "forest", "frequency", "lightgbm", "lightgbm_large", "logistic", "mlp", "recency", "svm", "tree",
    ]  # fmt: skip
    assert all(MODELS[n].make(SETTING).name == n for n in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_not_changed(name, make_rows, rows, unseen, fitted):
    fresh, X = make_rows(), unseen.copy()
    fitted[name].margin(X)
    fitted[name].contributions(X)
    for part in ("X", "y", "as_of_us", "user"):
        assert getattr(rows, part).tobytes() == getattr(fresh, part).tobytes()
    assert X.tobytes() == unseen.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_model(name, rows, unseen, fitted):
    again = MODELS[name].make(SETTING).fit(rows, seed=7)
    assert again.margin(unseen).tobytes() == fitted[name].margin(unseen).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_answers_bit_for_bit(name, unseen, fitted, tmp_path: Path):
    fitted[name].save(tmp_path / name)
    again = MODELS[name].load(tmp_path / name)
    assert again.margin(unseen).tobytes() == fitted[name].margin(unseen).tobytes()
    assert again.contributions(unseen).tobytes() == fitted[name].contributions(unseen).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_pickled(name, fitted, tmp_path: Path):
    """What is saved is text, or arrays that NumPy and safetensors read without running anything."""
    fitted[name].save(tmp_path / name)
    files = [f for f in (tmp_path / name).rglob("*") if f.is_file()]
    assert files
    for file in files:
        if file.suffix == ".npz":
            np.load(file, allow_pickle=False).close()
        elif file.suffix == ".safetensors":
            assert load_safetensors(file)
        else:
            file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_contributions_sum_to_the_margin(name, unseen, fitted):
    terms = fitted[name].contributions(unseen)
    assert terms.shape == (len(unseen), unseen.shape[1] + 1)
    np.testing.assert_allclose(terms.sum(axis=1), fitted[name].margin(unseen), atol=1e-6)
    assert np.ptp(terms[:, -1]) <= 1e-9, "the base is the same for everybody"


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_lie_between_0_and_1(name, unseen, fitted):
    p = sigmoid(fitted[name].margin(unseen))
    assert p.shape == (len(unseen),)
    assert ((p >= 0) & (p <= 1)).all()
    assert len(np.unique(p)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_row_order_and_company_do_not_matter(name, unseen, fitted):
    """A user scored alone, in a batch or in another order gets the same score."""
    model, order = fitted[name], np.random.default_rng(0).permutation(len(unseen))
    together = model.margin(unseen)
    np.testing.assert_allclose(model.margin(unseen[order]), together[order], rtol=0, atol=1e-9)
    alone = np.concatenate([model.margin(unseen[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(alone, together[:20], rtol=0, atol=1e-9)
    shares = model.contributions(unseen[::2])
    np.testing.assert_allclose(shares, model.contributions(unseen)[::2], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_gets_no_scores(name, unseen, fitted):
    assert fitted[name].margin(unseen[:0]).shape == (0,)
    assert fitted[name].contributions(unseen[:0]).shape == (0, unseen.shape[1] + 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0])
def test_odd_values_get_finite_scores(name, value, unseen, fitted):
    X = unseen[:12].copy()
    X[:8][np.eye(8, dtype=bool)] = value
    X[8:] = value
    assert np.isfinite(fitted[name].margin(X)).all()
    terms = fitted[name].contributions(X)
    np.testing.assert_allclose(terms.sum(axis=1), fitted[name].margin(X), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_training_with_unknown_cells_everywhere_works(name, rows):
    holes = rows.X.copy()
    holes[np.random.default_rng(1).random(holes.shape) < 0.2] = np.nan
    model = MODELS[name].make(SETTING).fit(replace(rows, X=holes), seed=7)
    assert np.isfinite(model.margin(holes)).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", sorted(UNTRAINABLE))
def test_what_cannot_be_learnt_from_is_refused_in_words_or_borne(name, wrong, rows):
    change, words = UNTRAINABLE[wrong]
    if name in LEARNS_WITHOUT_LABELS:
        model = MODELS[name].make(SETTING).fit(change(rows), seed=7)
        assert np.isfinite(model.margin(rows.X)).all()
        return
    with pytest.raises(DataError, match=words):
        MODELS[name].make(SETTING).fit(change(rows), seed=7)


@pytest.mark.parametrize("name", NAMES)
def test_the_ranking_is_better_than_chance(name, make_rows, fitted):
    """On users it has not seen, from the same shop."""
    fresh = make_rows(2000, seed=5)
    margin = fitted[name].margin(fresh.X)
    order = np.argsort(np.argsort(margin))
    assert order[fresh.y == 1].mean() > order[fresh.y == 0].mean() * 1.1
