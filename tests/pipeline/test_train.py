"""`train`: the same data and seed give the same bundle, every model by its name, and refusals in words."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from ebbtide.core.config import Config
from ebbtide.core.errors import DataError, InputError, MissingBundleError, MissingError, RetryError, SufficiencyError
from ebbtide.features.declarations import Recency
from ebbtide.features.families import FAMILIES
from ebbtide.models.base import sigmoid
from ebbtide.models.bgnbd import COLUMNS as BGNBD_COLUMNS
from ebbtide.models.registry import MODELS
from ebbtide.pipeline import train as module
from ebbtide.pipeline.score import score_members
from ebbtide.pipeline.train import newest_moment, train


@pytest.fixture(scope="module")
def shop(sim_log, open_shop):
    """A shop to train in as often as a test likes, with few cutoffs."""
    return open_shop(sim_log).with_train(max_cutoffs=5)


@pytest.fixture(scope="module")
def one_bucket(shop):
    return shop.lake.read_bucket(shop.lake.buckets()[0])


def probabilities(shop, bundle, events):
    return score_members(events, shop.until, shop.shelf.load(bundle)).probability


def test_the_report_tells_what_was_done(trained):
    report, manifest = trained.report, trained.bundle.manifest
    assert report.bundle == trained.shop.shelf.current_id()
    assert (report.until, report.model, report.sampled) == (trained.shop.until, "auto", 1.0)
    assert report.rows == manifest["rows"] > 1000
    assert report.users == manifest["users"] > 200
    assert report.moments == len(manifest["cutoffs"]) == 8
    assert report.columns == len(trained.bundle.columns) == len(trained.bundle.catalogue) + 1
    assert report.weights == dict(
        zip([m.name for m in trained.bundle.stack.members], trained.bundle.stack.weights, strict=True)
    )
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["bundle"] == report.bundle
    for line in report.lines():
        assert line.en
        assert line.zh
        assert "{" not in line.en + line.zh


def test_rows_that_no_model_can_learn_from_are_refused_before_any_model_is_made(shop, monkeypatch):
    """A single infinite number at the newest cutoff, which only the last of all fits would meet."""
    collected = module.collect

    def spoilt(*given, **options):
        rows = collected(*given, **options)
        rows.X[-1, rows.names.index("outcome_age_days")] = np.inf
        return rows

    monkeypatch.setattr(module, "collect", spoilt)
    monkeypatch.setattr(module, "rehearse", lambda *_, **__: pytest.fail("a model was rehearsed"))
    with pytest.raises(DataError, match="infinite ones stand in outcome_age_days;"):
        shop.train()


def test_training_ends_at_the_newest_closed_moment(trained):
    """Refitted on all closed cutoffs: the newest outcome window closes exactly at until."""
    newest = trained.bundle.manifest["cutoffs"][-1]
    assert newest == (trained.shop.until - timedelta(days=30)).isoformat()


def test_the_figures_are_those_of_moments_before_the_end(trained):
    verdict = trained.report.verdict
    assert verdict.tested_at == trained.shop.until - timedelta(days=30)
    assert [m.as_of for m in verdict.backtest] == [trained.shop.until - timedelta(days=d) for d in (60, 30)]


@pytest.mark.parametrize("name", [n for n, e in sorted(MODELS.items()) if not e.makers])
def test_every_model_trains_saves_loads_and_scores(name, shop, one_bucket, monkeypatch):
    """What was fitted and what is read back give the same probabilities, bit for bit."""
    fitted, real = [], module.write_bundle
    monkeypatch.setattr(module, "write_bundle", lambda folder, b, card: fitted.append(b) or real(folder, b, card))
    report = shop.train(model=name)
    assert report.weights == {name: 1.0}
    assert report.bundle.endswith(f"-{name}")
    loaded = shop.shelf.load()
    before, after = (score_members(one_bucket, shop.until, b) for b in (fitted[0], loaded))
    assert before.log_odds.tobytes() == after.log_odds.tobytes()
    assert len(np.unique(after.probability)) > 1
    assert np.array_equal(after.probability, sigmoid(after.log_odds))
    terms = loaded.calibration.apply_to_contributions(loaded.stack.contributions(after.X))
    np.testing.assert_allclose(terms.sum(axis=1), after.log_odds, rtol=0, atol=1e-6)


def test_the_same_seed_gives_the_same_bundle_and_another_seed_another(shop, one_bucket):
    """Byte for byte, apart from names, dates and the manifest that holds them."""
    one, again, other = (
        shop.with_train(seed=seed).train(model="lightgbm").bundle for seed in (1, 1, 2)
    )  # fmt: skip
    files = [read_files(shop.shelf.folder / b) for b in (one, again, other)]
    assert files[0] == files[1]
    assert files[0] != files[2]
    scores = [probabilities(shop, b, one_bucket) for b in (one, again, other)]
    assert scores[0].tobytes() == scores[1].tobytes()
    assert 0 < np.abs(scores[0] - scores[2]).max() < 0.5


def read_files(folder):
    kept = [
        p for p in folder.rglob("*") if p.is_file() and p.name not in ("manifest.json", "model_card.md", "items.npz")
    ]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in kept}


def test_a_cap_on_rows_samples_users_and_says_so(shop):
    whole = shop.train(model="recency")
    capped = shop.with_train(max_rows=1000).train(model="recency")
    assert 900 < capped.rows <= 1000 < whole.rows
    assert 0 < capped.sampled < whole.sampled == 1.0
    assert capped.users / whole.users == pytest.approx(capped.sampled, abs=0.1)
    assert shop.shelf.load().manifest["sampled"] == capped.sampled
    said = [line for line in capped.lines() if "sample" in line.en]
    assert len(said) == 1
    assert f"{capped.sampled:.1%}" in said[0].en
    assert f"{capped.sampled:.1%}" in said[0].zh
    assert not [line for line in whole.lines() if "sample" in line.en]


def test_by_default_everything_known_is_used(shop):
    newest = max(shop.lake.read_bucket(b)["ingested_at"].max() for b in shop.lake.buckets())
    report = train(shop.config, shop.root, model="recency")
    assert report.until == newest_moment(shop.lake) == newest


def test_an_unknown_model_is_refused_before_any_work(tmp_path):
    """There is not even a lake here."""
    with pytest.raises(InputError, match=r"no model `lightgmb` \(`lightgbm`\?\)") as fault:
        train(Config(), tmp_path, model="lightgmb")
    assert fault.value.exit_code == 2


def test_without_a_lake_it_says_what_to_do(tmp_path):
    with pytest.raises(MissingError, match="run `ebbtide ingest`") as fault:
        train(Config(), tmp_path)
    assert fault.value.exit_code == 4


def test_too_few_users_are_refused_with_the_nearest_way_out(sim_log, open_shop):
    few = sim_log.filter(pl.col("user_id").is_in(sim_log["user_id"].unique().sort()[:60].implode()))
    shop = open_shop(few)
    with pytest.raises(SufficiencyError, match="at least 100 are needed") as fault:
        shop.train(model="recency")
    assert fault.value.exit_code == 3
    assert not shop.shelf.ids()


def test_too_short_a_history_is_refused(shop):
    with pytest.raises(SufficiencyError, match="the history is too short: 69 days are known, 90 are needed"):
        shop.train(until=shop.until - timedelta(days=140), model="recency")


def test_a_disk_that_fills_up_keeps_the_current_bundle(shop, monkeypatch):
    current = shop.train(model="recency").bundle

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RetryError, match="No space left on device"):
        shop.train(model="frequency")
    assert shop.shelf.current_id() == current
    assert not list(shop.shelf.folder.glob(".*"))


def test_a_train_that_dies_before_its_end_changes_nothing(shop, monkeypatch):
    current, known = shop.train(model="recency").bundle, shop.shelf.ids()

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_bundle", die)
    with pytest.raises(KeyboardInterrupt):
        shop.train(model="frequency")
    assert (shop.shelf.current_id(), shop.shelf.ids()) == (current, known)


def test_bundles_of_one_workspace_stand_in_the_order_of_their_making(shop):
    made = [shop.train(model=name).bundle for name in ("recency", "frequency", "recency")]
    assert shop.shelf.ids()[-3:] == made
    assert shop.shelf.current_id() == made[-1]
    assert shop.shelf.roll_back() == made[-2]


def with_features(shop, **changes):
    features = shop.config.features.model_copy(update=changes)
    return replace(shop, config=shop.config.model_copy(update={"features": features}))


def test_features_that_the_config_drops_are_not_used(shop, trained):
    names = trained.bundle.catalogue.names
    dropped = with_features(shop, drop=["browsing", names[-1]]).train(model="recency").bundle
    used = shop.shelf.load(dropped).catalogue
    assert names[-1] not in used.names
    assert {f.family for f in trained.bundle.catalogue.features} - {f.family for f in used.features} == {"browsing"}


def test_the_columns_that_purchase_models_stand_on_cannot_be_dropped(shop):
    """Whatever else is dropped: without x, t_x and T there are no expected orders."""
    dropped = with_features(shop, drop=list(FAMILIES)).train(model="bgnbd").bundle
    assert shop.shelf.load(dropped).catalogue.names == BGNBD_COLUMNS
    assert shop.score(bundle=dropped).frame["expected_orders"].null_count() == 0


def test_a_shipped_feature_may_be_dropped_where_the_log_lacks_it(sim_log, open_shop):
    """A config must not break because a shop has no searches yet; a name that nobody knows is refused."""
    shop = open_shop(sim_log.filter(pl.col("type") == "order")).with_train(max_cutoffs=4)
    unseen = Recency("search").name
    used = shop.shelf.load(with_features(shop, drop=[unseen]).train(model="recency").bundle).catalogue
    assert unseen not in used.names
    with pytest.raises(InputError, match="neither a feature nor a family: serch"):
        with_features(shop, drop=["serch"]).train(model="recency")


def test_a_shop_s_own_features_are_used_and_kept_in_the_bundle(shop):
    """The bundle keeps the declarations: it scores without the file."""
    file = shop.root / "own.py"
    file.write_text('from ebbtide.features.declarations import Count\nFEATURES = [Count("order", days=17)]\n')
    report = with_features(shop, file="own.py").train(model="recency")
    file.unlink()
    assert shop.shelf.load(report.bundle).catalogue.names[-1] == "order_count_17d"
    assert len(shop.score()) > 0


def test_a_shop_without_money_trains_without_gamma_gamma(sim_log, open_shop):
    """And without value at risk: unknown, not zero."""
    shop = open_shop(sim_log.with_columns(value=pl.lit(None, pl.Float64))).with_train(max_cutoffs=5)
    report = shop.train(model="recency")
    assert shop.shelf.load(report.bundle).gamma_gamma is None
    listed = shop.score().frame
    assert listed["value_at_risk"].null_count() == len(listed) > 0


def test_progress_tells_every_stage_to_its_end(shop):
    told = {}
    train(
        shop.config, shop.root, until=shop.until, model="recency",
        progress=lambda stage, done, total: told.setdefault(stage.en, []).append((done, total)),
    )  # fmt: skip
    assert len(told) >= 6
    assert all(steps[0][0] == 0 and steps[-1][0] == steps[-1][1] for steps in told.values())


def test_no_bundle_is_current_before_the_first_train(small_shop):
    with pytest.raises(MissingBundleError, match="run `ebbtide train` first"):
        small_shop.score()
