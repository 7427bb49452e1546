"""`compare`: every model judged as `train` judges it, on the same customers, and told in words."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ebbtide.core.errors import DataError, InputError, MissingExtraError
from ebbtide.core.language import Text
from ebbtide.evaluation.intervals import Estimate
from ebbtide.models import registry
from ebbtide.models.registry import Entry
from ebbtide.models.rules import RecencyModel
from ebbtide.pipeline.compare import compare, saved_bytes
from ebbtide.pipeline.comparison import ModelComparison, ModelFigures

METRICS = ("auroc", "average_precision", "log_loss", "ece")


@pytest.fixture(scope="module")
def quick():
    """`auto` weighs the two rules of thumb, so that it takes no time; one tree beside them."""
    whole = dict(registry.MODELS)
    few = {name: replace(whole[name], prior=0.5) for name in ("recency", "frequency")} | {"tree": whole["tree"]}
    registry.MODELS.clear()
    registry.MODELS.update(few)
    yield
    registry.MODELS.clear()
    registry.MODELS.update(whole)  # in the old order, on which the last bits of a sum depend


@pytest.fixture(scope="module")
def own(quick, sim_log, open_shop):
    """A shop with an `auto` bundle, and the report of its training."""
    shop = open_shop(sim_log)
    return shop, shop.train()


@pytest.fixture(scope="module")
def found(own):
    """On the shop and moment for which the bundle was trained."""
    return compare(own[0].config, own[0].root, models=["recency", "auto", "tree"], until=own[0].until)


def named(comparison, name):
    return next(m for m in comparison.models if m.name == name)


def test_the_figures_are_those_that_train_prints(found, own):
    """Nothing is measured in another way just for the comparison."""
    verdict, auto = own[1].verdict, named(found, "auto")
    test = verdict.test
    assert found.as_of == verdict.tested_at
    assert (found.users, found.churned) == (test.users, test.churned)
    assert {m: getattr(auto, m) for m in METRICS} == {m: test.metrics[m] for m in METRICS}
    assert auto.empc == test.profit.expected
    assert list(auto.moments.values()) == pytest.approx([m.auroc[0] for m in verdict.backtest])
    assert len(own[1].weights) == 2, "both rules have a say, so their margins were joined"


def test_the_best_stands_first_and_the_others_so_far_behind(found):
    assert [m.name for m in found.models] == sorted(
        ("recency", "auto", "tree"), key=lambda n: -named(found, n).auroc.value
    )
    best = found.models[0]
    assert best.behind == Estimate(0.0, 0.0, 0.0)
    for m in found.models[1:]:
        assert m.behind.value == pytest.approx(m.auroc.value - best.auroc.value)
        assert m.behind.low <= m.behind.value <= m.behind.high


def test_cost_is_measured(found, own):
    for m in found.models:
        assert m.training_seconds > 0
        assert m.microseconds > 0
    shop, report = own
    folder = shop.shelf.folder / report.bundle
    parts = [f for part in ("models", "makers") for f in (folder / part).rglob("*") if f.is_file()]
    kept = sum(f.stat().st_size for f in parts)
    assert named(found, "auto").size_bytes == kept == saved_bytes(shop.shelf.load(report.bundle).stack, ())
    assert named(found, "recency").size_bytes < kept < named(found, "tree").size_bytes


def test_comparing_writes_no_bundle(small_shop):
    compare(small_shop.config, small_shop.root, models=["recency"])
    assert small_shop.shelf.ids() == []


def test_until_hides_what_came_later(found, own, open_shop, sim_log):
    """The same comparison on a lake without the later events."""
    until = own[0].until
    shop = open_shop(sim_log.filter(sim_log["ingested_at"] <= until))
    again = compare(shop.config, shop.root, models=["recency", "tree"], until=until)
    for m in again.models:
        assert m.auroc == named(found, m.name).auroc


def test_a_candidate_predicts_each_moment_once_although_auto_needs_it_too(quick, small_shop, monkeypatch):
    fits, fit = [], RecencyModel.fit
    monkeypatch.setattr(RecencyModel, "fit", lambda self, rows, *, seed: fits.append(1) or fit(self, rows, seed=seed))
    both = compare(small_shop.config, small_shop.root, models=["recency", "auto"])
    rehearsed = len(both.models[0].moments)
    assert rehearsed >= 2
    assert len(fits) == rehearsed + 2, "and once on all closed moments for itself, once for auto"


def test_a_name_given_twice_is_one_model(small_shop):
    assert len(compare(small_shop.config, small_shop.root, models=["recency", "recency"]).models) == 1


def test_an_unknown_name_is_refused_before_any_work(tmp_path, small_shop):
    """The folder holds no lake: the names are read first."""
    with pytest.raises(InputError, match="no model `recenty`"):
        compare(small_shop.config, tmp_path, models=["recency", "recenty"])


class Costly(RecencyModel):
    def fit(self, rows, *, seed):
        raise MissingExtraError("deep", Text("this net", "该网络"))


class Picky(RecencyModel):
    def fit(self, rows, *, seed):
        raise DataError("no tokens in {n} rows", "{n} 行中没有标记", n=len(rows))


@pytest.fixture
def two_that_fail(quick, monkeypatch):
    monkeypatch.setitem(registry.MODELS, "costly", Entry(lambda _: Costly(), Costly.load))
    monkeypatch.setitem(registry.MODELS, "picky", Entry(lambda _: Picky(), Picky.load))


def test_by_default_what_cannot_run_is_left_out_with_the_reason(small_shop, two_that_fail):
    found = compare(small_shop.config, small_shop.root)
    assert {m.name for m in found.models} == {"recency", "frequency", "tree", "auto"}
    assert set(found.left_out) == {"costly", "picky"}
    assert "pip install 'ebbtide[deep]'" in found.left_out["costly"].en
    said = [line.zh for section in found.sections() for line in section.lines]
    assert any(line.startswith("未参加：picky：") and "行中没有标记" in line for line in said)
    assert "this net needs an extra" in found.to_json()["left_out"]["costly"]["en"]


@pytest.mark.parametrize(("name", "fault"), [("costly", MissingExtraError), ("picky", DataError)])
def test_what_was_asked_for_by_name_must_run(small_shop, two_that_fail, name, fault):
    with pytest.raises(fault):
        compare(small_shop.config, small_shop.root, models=["recency", name])


@pytest.mark.parametrize("models", [None, ["recency"]])
def test_a_history_that_allows_no_moment_says_so(quick, small_shop, monkeypatch, models):
    """The sufficiency gate lets such a log through only where churn is frequent; here no moment is offered."""
    monkeypatch.setattr("ebbtide.pipeline.train.held_out_moments", lambda *_: [])
    with pytest.raises(DataError, match="too short to compare"):
        compare(small_shop.config, small_shop.root, models=models)


def test_the_comparison_is_json_and_tables_in_both_languages(found):
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [m["name"] for m in told["models"]] == [m.name for m in found.models]
    assert set(told["models"][0]["auroc"]) == {"value", "low", "high"}
    head, ranking, cost = found.sections()
    assert f"{found.users:,} customers" in head.lines[0].en
    assert f"{found.users:,} 位顾客" in head.lines[0].zh
    for table in (ranking, cost):
        assert [row[0] for row in table.rows] == [m.name for m in found.models]
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert ranking.rows[0][2] == "–"


def figures(name, auroc, behind, microseconds) -> ModelFigures:
    e = Estimate(auroc, auroc - 0.05, auroc + 0.05)
    return ModelFigures(name, e, e, e, e, e, Estimate(*behind), {}, 1.0, microseconds, 10)


@pytest.mark.parametrize(
    ("others", "verdict"),
    [
        ([("b", 0.7, (-0.1, -0.2, -0.01), 1.0)], "a ranks best, and no other comes near"),
        (
            [("b", 0.79, (-0.01, -0.03, 0.01), 2.0), ("c", 0.78, (-0.02, -0.05, 0.0), 1.0), ("d", 0.6, (-0.2, -0.3, -0.1), 0.1)],
            "a ranks best, but cannot be told from b, c; of these, c scores fastest",
        ),
        ([("b", 0.79, (-0.01, -0.03, 0.01), 9.0)], "a ranks best, but cannot be told from b; of these, a scores fastest"),
        ([("b", 0.5, (None, None, None), 9.0)], "a ranks best, but cannot be told from b; of these, a scores fastest"),
    ],
)  # fmt: skip
def test_the_verdict_says_who_is_best_and_who_is_as_good(others, verdict):
    """As good: the interval of the paired difference reaches zero, or there is none."""
    best = figures("a", 0.8, (0.0, 0.0, 0.0), 5.0)
    rest = [figures(name, auroc, behind, cost) for name, auroc, behind, cost in others]
    found = ModelComparison(datetime(2024, 6, 1, tzinfo=UTC), 100, 30, (best, *rest), {})
    assert found.verdict().en == verdict
    assert found.verdict().zh.startswith("a 排序最好")
