"""`uplift` on a workspace: the shop's own campaigns, what is kept of them, and what planning reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.actions.boosters import TreeSizes
from ebbtide.cli.main import run
from ebbtide.core.config import Config, load_config
from ebbtide.core.errors import DataError, MissingBundleError, MissingError
from ebbtide.events.lake import Lake
from ebbtide.events.simulate import SimulationConfig, write_log
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.uplift_exposures import BEFORE, trial_of_exposures
from ebbtide.pipeline.uplift_shop import ShopUplift, uplift_shop
from ebbtide.pipeline.uplift_store import effects_of, load_uplift

SIMULATED = SimulationConfig(users=900, days=300, seed=3)
UNTIL = SIMULATED.end - timedelta(days=31)
SMALL = TreeSizes(seeds=1, rounds=20)


@dataclass(frozen=True)
class Shop:
    root: Path
    config: Config

    @property
    def lake(self) -> Lake:
        return Places(self.root).lake()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root = tmp_path_factory.mktemp("uplift")
    write_log(SIMULATED, root)
    config = load_config(root / "ebbtide.toml", environ={})
    ingest(config, root)
    return Shop(root, config)


@pytest.fixture(scope="module")
def learnt(shop: Shop) -> ShopUplift:
    return uplift_shop(shop.config, shop.root, until=UNTIL, learner="odds", sizes=SMALL)


def test_outcomes_and_arms_are_those_of_the_raw_tables(shop: Shop) -> None:
    """Oracle: an order in (exposure - 1 s, + 30 days], counted in plain Polars."""
    ready = trial_of_exposures(shop.config, shop.root, until=UNTIL)
    events = pl.concat([shop.lake.read_bucket(b) for b in shop.lake.buckets()])
    orders = events.filter(pl.col("type") == "order", pl.col("ingested_at") <= UNTIL)
    exposures = shop.lake.read_table("exposures").with_columns(at=pl.col("occurred_at") - BEFORE)
    closed = exposures.filter(pl.col("at") + timedelta(days=30) <= UNTIL)
    later = closed.join(orders.select("user_id", when="occurred_at"), on="user_id").filter(
        (pl.col("when") > pl.col("at")) & (pl.col("when") <= pl.col("at") + timedelta(days=30))
    )
    bought = later.unique(["user_id", "at"]).height
    assert len(ready.trial) == closed.height
    assert ready.trial.y.sum() == bought
    counts = dict(zip(ready.trial.arms, np.bincount(ready.trial.arm).tolist(), strict=True))
    assert counts == dict(closed.group_by("action").len().rows())
    assert ready.trial.arms == ("nothing", "call", "coupon", "message")
    assert np.allclose(ready.trial.propensity, [0.4, 0.2, 0.2, 0.2])


def test_what_happened_later_changes_nothing_of_what_is_learnt(shop: Shop) -> None:
    """Leak test: a log that ends at the moment of learning gives the same columns as one that goes on."""
    early = UNTIL - timedelta(days=57)
    whole = trial_of_exposures(shop.config, shop.root, until=early)
    again = trial_of_exposures(shop.config, shop.root, until=UNTIL)
    count = len(whole.trial)
    common = [whole.catalogue.names.index(n) for n in whole.catalogue.names if n in again.catalogue.names]
    place = [again.catalogue.names.index(whole.catalogue.names[i]) for i in common]
    assert np.array_equal(whole.trial.y, again.trial.y[:count])
    assert np.array_equal(whole.trial.X[:, common], again.trial.X[:count][:, place], equal_nan=True)


def test_what_was_kept_is_what_was_learnt(shop: Shop, learnt: ShopUplift) -> None:
    loaded = load_uplift(Places(shop.root))
    shard = shop.lake.read_bucket(shop.lake.buckets()[0])
    there, here = effects_of(loaded, shard, UNTIL), effects_of(learnt.model, shard, UNTIL)
    assert there.equals(here)
    assert there.columns == ["user_id", "action", "effect", "lower", "money_effect"]
    assert there.group_by("user_id").len()["len"].unique().to_list() == [3]
    assert (there["lower"] <= there["effect"]).all()
    assert loaded.actions == ("call", "coupon", "message")


def test_no_future_event_changes_an_effect(shop: Shop, learnt: ShopUplift) -> None:
    shard = shop.lake.read_bucket(shop.lake.buckets()[0])
    known = shard.filter((pl.col("occurred_at") <= UNTIL) & (pl.col("ingested_at") <= UNTIL))
    assert effects_of(learnt.model, shard, UNTIL).equals(effects_of(learnt.model, known, UNTIL))


def test_without_a_ranking_that_wins_everybody_is_told_the_average(learnt: ShopUplift) -> None:
    """A few hundred exposures cannot show who differs: the verdict falls back, and slopes are 0."""
    if learnt.model.is_followed:
        assert all(0 <= line.slope <= 1 for line in learnt.model.lines)
    else:
        assert [line.slope for line in learnt.model.lines] == [0.0, 0.0, 0.0]
        assert "fall back to risk x value" in learnt.model.verdict["en"]


def test_a_damaged_model_is_refused_and_none_is_missed(shop: Shop, learnt: ShopUplift, tmp_path: Path) -> None:
    assert learnt.model.effects is not None
    with pytest.raises(MissingError, match="run `ebbtide uplift`"):
        load_uplift(Places(tmp_path))
    file = Places(shop.root).uplift / "uplift.json"
    kept = file.read_bytes()
    file.write_bytes(kept.replace(b"coupon", b"cannon"))
    with pytest.raises(MissingBundleError, match=r"uplift\.json differ"):
        load_uplift(Places(shop.root))
    file.write_bytes(kept)
    assert not [f for f in Places(shop.root).uplift.rglob("*") if f.suffix in {".pkl", ".pickle", ".joblib"}]


def test_a_shop_whose_outcomes_are_still_open_or_that_has_no_campaign_is_told_so(shop: Shop) -> None:
    with pytest.raises(DataError, match="still open"):
        trial_of_exposures(shop.config, shop.root, until=SIMULATED.start_at + timedelta(days=100))
    with pytest.raises(DataError, match="no exposures are in the lake"):
        trial_of_exposures(shop.config, shop.root, until=SIMULATED.start_at + timedelta(days=60))


def test_the_command_without_a_table_reads_the_workspace(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["uplift", "-w", str(shop.root), "--learner", "odds", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["effects"]) == {"call", "coupon", "message"}
    assert run(["uplift", "-w", str(shop.root), "--treatment", "arm"]) == 2
    assert "--data" in capsys.readouterr().err
