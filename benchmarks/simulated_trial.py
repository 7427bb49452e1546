"""A simulated shop as a trial with known answers: what its campaigns teach, whom it asks about, what each action truly does."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from ebbtide.actions.boosters import TreeSizes, boost
from ebbtide.actions.linear_effects import standardised
from ebbtide.actions.trial import Trial
from ebbtide.churn.labels import cohort_at
from ebbtide.core.config import load_config
from ebbtide.core.ids import hash_texts
from ebbtide.core.windows import to_us
from ebbtide.events.simulate import SimulationConfig, Truth, write_log
from ebbtide.features.encode import encode
from ebbtide.features.engine import compute
from ebbtide.models.base import Matrix, Vector
from ebbtide.pipeline.dataset import known_events
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.uplift_exposures import ShopTrial, trial_of_exposures

ACTIONS = ("call", "coupon", "message")
PAYING, GUIDING, TELLING = 60, 240, 40
"""Replays that pay what a choice truly wins, that guide the oracle, and that tell a learner the effects of earlier moments."""
EARLIER_DAYS = (60, 120)
REFERENCE_FOLDS = 5
TREES = {
    "8 leaves": TreeSizes(rounds=160, seeds=2),
    "16 leaves": TreeSizes(rounds=400, seeds=1, leaves=16, depth=5, leaf_rows=30, leaf_share=0.003),
    "32 leaves": TreeSizes(rounds=400, seeds=1, leaves=32, depth=8, leaf_rows=20, leaf_share=0.002, learning_rate=0.03),
}


@dataclass(frozen=True)
class SimulatedTrial:
    """trial (N rows, F columns): closed campaigns. The J users asked about at the end: X (J, F), user (J,), what each action
    truly adds to their chance of an order, paid and guide (J, A), from replays of their own. told_rows, told, told_user: T users and
    earlier moments with the true effects of them."""

    trial: Trial
    campaigns: int
    X: Matrix
    user: NDArray[np.uint64]
    paid: Vector
    guide: Vector
    told_rows: Matrix
    told: Vector
    told_user: NDArray[np.uint64]

    def save(self, file: Path) -> None:
        """All arrays as one .npz."""
        mine = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "trial"}
        trial = {f"trial_{f.name}": np.array(getattr(self.trial, f.name)) for f in fields(Trial)}
        np.savez(file, **mine, **trial)

    @classmethod
    def load(cls, file: Path) -> SimulatedTrial:
        """Read what `save` wrote."""
        with np.load(file) as kept:
            told = {name: kept[name] for name in kept.files}
        trial = Trial(**{f.name: told.pop(f"trial_{f.name}") for f in fields(Trial)})
        trial = replace(trial, names=tuple(map(str, trial.names)), arms=tuple(map(str, trial.arms)))
        return cls(trial=trial, **{**told, "campaigns": int(told["campaigns"])})


def simulated_trial(config: SimulationConfig, kept: Path | None) -> SimulatedTrial:
    """Simulate, ingest and replay; with `kept`, a folder, the arrays are read from there if they are, and else put there."""
    file = None if kept is None else kept / f"{config.users}-{config.days}-{config.campaign_effect:g}-{config.seed}.npz"
    if file is not None and file.is_file():
        return SimulatedTrial.load(file)
    moment = config.end - timedelta(days=31)
    moments = [moment, *(moment - timedelta(days=d) for d in EARLIER_DAYS)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_log(config, root)
        settings = load_config(root / "ebbtide.toml", environ={})
        ingest(settings, root)
        ready = trial_of_exposures(settings, root, until=moment)
        asked = [asked_about(root, replace(ready, until=at)) for at in moments]
    (ids, X), *earlier = asked
    few, both = (effects_at(config, ids, moment, n) for n in (PAYING, PAYING + GUIDING))
    made = SimulatedTrial(
        trial=ready.trial,
        campaigns=ready.campaigns,
        X=X,
        user=hash_texts(ids),
        paid=few,
        guide=((PAYING + GUIDING) * both - PAYING * few) / GUIDING,
        told_rows=np.concatenate([at_once for _, at_once in earlier]),
        told=np.concatenate(
            [effects_at(config, who, at, TELLING) for (who, _), at in zip(earlier, moments[1:], strict=True)]
        ),
        told_user=np.concatenate([hash_texts(who) for who, _ in earlier]),
    )
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        made.save(file)
    return made


def asked_about(root: Path, ready: ShopTrial) -> tuple[pl.Series, Matrix]:
    """Who is eligible at `ready.until`, and what is known of them."""
    lake, ids, parts = Places(root).lake(), [], []
    for bucket in lake.buckets():
        known = known_events(lake.read_bucket(bucket), ready.until)
        members = cohort_at(known, ready.until, ready.definition)["user_id"]
        shard = encode(known, ready.definition)
        at = np.flatnonzero(shard.user_ids.is_in(members.implode()).to_numpy()).astype(np.int32)
        parts.append(compute(shard, at, np.full(len(at), to_us(ready.until)), ready.catalogue, tables=ready.seen.items))
        ids.append(shard.user_ids.gather(at))
    return pl.concat(ids), np.concatenate(parts)


def effects_at(config: SimulationConfig, ids: pl.Series, moment: datetime, futures: int) -> Vector:
    """What each action adds to the chance of an order, (N, A): the mean over the first so many replays."""
    truth = Truth(config).effects(moment, futures=futures)
    joined = ids.to_frame("user_id").join(truth, on="user_id", how="left", maintain_order="left")
    return joined.select([f"uplift_{a}" for a in ACTIONS]).to_numpy()


def references(shop: SimulatedTrial) -> dict[str, Vector]:
    """What the log can show: learners that are told the true effects of all other users, now and at earlier moments, say what
    they expect of each user by the columns alone, (J, A) each. Trees of several sizes, a linear one, and the mean of all."""
    rng = np.random.default_rng(0)
    distinct = np.unique(np.concatenate([shop.user, shop.told_user]))
    folds = rng.integers(0, REFERENCE_FOLDS, len(distinct))
    now, then = (folds[np.searchsorted(distinct, who)] for who in (shop.user, shop.told_user))
    told = {name: np.empty_like(shop.guide) for name in (*TREES, "linear")}
    for k in range(REFERENCE_FOLDS):
        X = np.concatenate([shop.X[now != k], shop.told_rows[then != k]])
        y = np.concatenate([shop.guide[now != k], shop.told[then != k]])
        weight = np.repeat([1.0, TELLING / GUIDING], [np.sum(now != k), np.sum(then != k)])
        for name in told:
            told[name][now == k] = _expected(name, X, y, weight, shop.X[now == k])
    return {**told, "mean": np.mean(list(told.values()), axis=0)}


def _expected(name: str, X: Matrix, y: Vector, weight: Vector, of: Matrix) -> Vector:
    if name in TREES:
        models = [boost(X, column, weight, sizes=TREES[name], seed=0, binary=False) for column in y.T]
        return np.column_stack([m.predict(of) for m in models])
    known = np.isfinite(X)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, X, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, X - centre, 0.0) ** 2).sum(axis=0) / count)
    spread = np.where(spread > 0, spread, 1.0)
    ridge = Ridge(alpha=300.0).fit(standardised(X, centre, spread), y, sample_weight=weight)
    return np.asarray(ridge.predict(standardised(of, centre, spread)))
