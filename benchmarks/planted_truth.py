"""Planted truth: how much of what can be known about churn does the default pipeline find in the log alone?

    python benchmarks/planted_truth.py [--users 50000] [--held-out 2] [--seed 1]

A shop is simulated and ingested. The default learner is trained on what was known at a moment and judged on the
orders of the 30 days after it. Beside it stands the same learner, with the same rows, that is also told the
simulator's hidden state of each user at each cutoff: order rate, regularity, engagement and the hazard of every cause.
Hidden state never tells the future, nor whether a user has left already: it goes on after leaving as if nothing had
happened.

Then the reasons: of the churners with a planted cause (they left, or are at risk of leaving, for one of the four
named causes), how many have the family of that cause among the first three reasons?
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.churn.labels import churn_labels, cohort_at
from ebbtide.core.config import Config, load_config
from ebbtide.core.ids import hash_texts
from ebbtide.core.windows import from_us, to_us
from ebbtide.evaluation.intervals import wilson
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.ranking import auroc
from ebbtide.events.lake import Lake
from ebbtide.events.simulate import CAUSES, SimulationConfig, Truth, write_log
from ebbtide.explain.reasons import reasons
from ebbtide.features.encode import encode
from ebbtide.features.engine import compute
from ebbtide.models.auto import MadeColumns, choose, fit_chosen
from ebbtide.models.base import Matrix, Rows, Vector
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.columns import model_columns, rows_with_model_columns
from ebbtide.models.registry import MODELS, Setting, candidates
from ebbtide.models.stack import StackModel
from ebbtide.models.undone import learnable
from ebbtide.pipeline.dataset import LABEL_COLUMNS, known_events
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.rehearsal import rehearse
from ebbtide.pipeline.train import Prepared, prepare
from ebbtide.sequences.event_log import EventLog, Sequences
from machine import machine_line

HIDDEN = ("order_rate_per_day", "regularity", "engagement", *(f"hazard_{cause}" for cause in CAUSES))
FAMILIES_OF_CAUSE = {
    "late_delivery": {"delivery"},
    "bad_service": {"service"},
    "price": {"price"},
    "boredom": {"browsing", "variety"},
}


def main() -> None:
    asked = arguments()
    print(machine_line())
    shop = SimulationConfig(users=asked.users, seed=asked.seed)
    until = shop.end - timedelta(days=30)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        started = time.perf_counter()
        files = write_log(shop, root)
        config = load_config(root / "ebbtide.toml", environ={})
        report = ingest(config, root)
        print(f"{asked.users:,} users, {files.rows:,} rows; accepted {report.total.accepted:,}; {since(started)}")
        ready = prepare(config, root, until=until, progress=lambda *_: None, held_out=asked.held_out)
        asked_rows = cohort_rows(ready, until, shop.end)
        print(f"{len(ready.rows):,} training rows at {len(ready.rows.moments())} cutoffs, {len(ready.rows.names)} columns; "
              f"{len(asked_rows.rows):,} users asked about, {asked_rows.rows.y.mean():.1%} of them churned; {since(started)}")  # fmt: skip
        blind = learn(config, ready, ready.rows)
        print(f"trained on the log; {since(started)}")
        judge_hidden(config, ready, asked_rows, Truth(shop), blind.margin(asked_rows.rows))
        print(f"trained with the truth too; {since(started)}")
        judge_reasons(ready, asked_rows, blind, Truth(shop).at(until))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="AUROC beside the same learner that knows the hidden state; reasons.")
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--held-out", type=int, default=2, help="past moments rehearsed to weigh the models")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def since(started: float) -> str:
    return f"{time.perf_counter() - started:,.0f} s so far"


class Asked:
    """The cohort at the judged moment: ids and rows with labels from the full log."""

    def __init__(self, user_id: pl.Series, rows: Rows) -> None:
        self.user_id, self.rows = user_id, rows


def cohort_rows(ready: Prepared, until: datetime, end: datetime) -> Asked:
    """Features as known at `until`, labels as known at `end`, bucket by bucket."""
    lake, definition, ids, parts, labels, logs = ready.lake, ready.definition, [], [], [], []
    for bucket in lake.buckets():
        known = known_events(lake.read_bucket(bucket), until)
        members = cohort_at(known, until, definition)
        shard = encode(known, definition)
        at_user = np.flatnonzero(shard.user_ids.is_in(members["user_id"].implode()).to_numpy()).astype(np.int32)
        at_us = np.full(len(at_user), to_us(until), np.int64)
        parts.append(compute(shard, at_user, at_us, ready.catalogue, tables=ready.seen.items))
        logs.append(EventLog.of(shard.events, shard.start).of_users(at_user.astype(np.int64)))
        ids.append(shard.user_ids.gather(at_user).alias("user_id"))
        labels.append(outcome(lake, bucket, ids[-1].to_frame(), until, end, ready))
    user_id, y = pl.concat(ids), np.concatenate(labels)
    at_us = np.full(len(y), to_us(until), np.int64)
    events = Sequences(EventLog.joined(logs), np.arange(len(y)), at_us)
    X, user = np.concatenate(parts), hash_texts(user_id)
    return Asked(user_id, Rows(X, y, at_us, user, ready.catalogue.names, 0, sequences=events))


def fit_and_ask(name: str, known: Rows, asked: Rows, setting: Setting, *, seed: int = 0) -> Vector:
    """Margins of a registered model, fitted on `known` with the column makers that it reads, on `asked`."""
    entry, made = MODELS[name], MadeColumns(known, setting, seed)
    model = entry.make(setting).fit(made.rows_for(entry, known), seed=seed)
    return model.margin(made.rows_for(entry, asked).X)


def outcome(
    lake: Lake, bucket: int, members: pl.DataFrame, until: datetime, end: datetime, ready: Prepared
) -> NDArray[np.float64]:
    events = lake.read_bucket(bucket, LABEL_COLUMNS)
    labels = churn_labels(events, members, as_of=until, definition=ready.definition, known_until=end)
    joined = members.join(labels, on="user_id", how="left", maintain_order="left")
    return joined["churned"].cast(pl.Float64).to_numpy()


class Learnt:
    """A fitted stack with the setting and calibration under which it predicts."""

    def __init__(self, stack: StackModel, calibration: AffineCalibration, ready: Prepared) -> None:
        self.stack, self.calibration, self._setting = stack, calibration, ready.setting_at(ready.until_us)

    def filled(self, rows: Rows) -> Rows:
        return rows_with_model_columns(rows, self._setting)

    def margin(self, rows: Rows) -> NDArray[np.float64]:
        return self.calibration.apply(self.stack.margin(self.filled(rows).X))


def learn(config: Config, ready: Prepared, rows: Rows) -> Learnt:
    """The policy of `ebbtide train`, on these rows: rehearse, choose, fit on all closed moments."""
    entries, seed = candidates(config.train.model), config.train.seed
    past = rehearse(rows, ready.held_out, entries, ready.setting_at, seed=seed, progress=lambda *_: None)
    now = ready.until_us
    choice = choose([p.held for p in past], entries, known_us=now)
    setting = ready.setting_at(now)
    print("   weights", {name: round(weight, 2) for name, weight in choice.weight.items()})
    learnt = learnable(rows_with_model_columns(rows, setting), now, seed=seed)
    stack, _ = fit_chosen(learnt, choice, entries, setting, seed=seed)
    return Learnt(stack, choice.calibration, ready)


def judge_hidden(
    config: Config, ready: Prepared, asked: Asked, truth: Truth, blind_margin: NDArray[np.float64]
) -> None:
    """The same learner with the hidden state as further columns, at every cutoff and at the judged moment."""
    moments = [int(m) for m in ready.rows.moments()]
    states = truth.at_many([*map(from_us, moments), from_us(ready.until_us)])
    told = learn(config, ready, with_hidden(ready.rows, dict(zip(moments, states, strict=False))))
    told_margin = told.margin(with_hidden(asked.rows, {ready.until_us: states[-1]}))
    y = asked.rows.y
    difference = paired_difference(y, told_margin, blind_margin)
    print(f"AUROC: told the hidden state {auroc(y, told_margin):.4f}, the log alone {auroc(y, blind_margin):.4f}, difference "
          f"{difference.value:.4f} ({difference.low:.4f} to {difference.high:.4f})")  # fmt: skip


def with_hidden(rows: Rows, states: dict[int, pl.DataFrame]) -> Rows:
    """Rows with the hidden columns at their end, joined on (moment, user)."""
    extra = np.full((len(rows), len(HIDDEN)), np.nan, np.float32)
    for moment, state in states.items():
        at = np.flatnonzero(rows.as_of_us == moment)
        keys = hash_texts(state["user_id"])
        order = np.argsort(keys)
        place = order[np.searchsorted(keys[order], rows.user[at])]
        if not (keys[place] == rows.user[at]).all():
            raise SystemExit("a row has no hidden state")
        extra[at] = state.select(HIDDEN).to_numpy()[place]
    X: Matrix = np.column_stack([rows.X, extra])
    return replace(rows, X=X, names=(*rows.names, *HIDDEN))


def judge_reasons(ready: Prepared, asked: Asked, learnt: Learnt, state: pl.DataFrame) -> None:
    """How often the family of the planted cause stands among the first three reasons."""
    known = pl.DataFrame({"user_id": asked.user_id, "churned": asked.rows.y == 1}).join(
        state, on="user_id", how="left", maintain_order="left"
    )
    chosen = (known["churned"] & (known["main_cause"] != "natural")).to_numpy()
    rows = learnt.filled(asked.rows.take(chosen))
    columns = (*ready.catalogue.features, *model_columns(ready.definition.horizon_days))
    terms = learnt.calibration.apply_to_contributions(learnt.stack.contributions(rows.X))
    said = reasons(terms, rows.X, columns, {}, at_most=3)
    planted = known.filter(chosen)
    named = {
        cause: np.array([any(reason.family in families for reason in said[i]) for i in range(len(said))])
        for cause, families in FAMILIES_OF_CAUSE.items()
    }
    cause = planted["main_cause"].to_numpy()
    hit = np.select([cause == c for c in named], list(named.values()), default=False)
    here = planted["still_customer"].to_numpy()
    low, high = wilson(hit.sum(), len(hit))
    print(f"planted cause among the first three reasons: {hit.mean():.1%} ({low:.1%} to {high:.1%}) of {len(hit):,} churners; "
          f"left already {shares(hit[~here])}, still customers {shares(hit[here])}")  # fmt: skip
    for c, families in FAMILIES_OF_CAUSE.items():
        print(f"   {c:14} {shares(named[c][cause == c])} have {' or '.join(sorted(families))} there; "
              f"of the churners with another cause {named[c][cause != c].mean():.1%}")  # fmt: skip


def shares(hit: NDArray[np.bool_]) -> str:
    return f"{hit.mean():.1%} of {len(hit):,}" if len(hit) else "nobody"


if __name__ == "__main__":
    main()
