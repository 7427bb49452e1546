"""A shop whose sessions carry signal that counts do not: how much of it does each learner find?

    python benchmarks/click_shop.py [--users 50000] [--seed 1] [--models lightgbm event_boost event_model] [--keep FOLDER]

A click shop (`ebbtide.events.click_shop`) is simulated and ingested. Learners are fitted on what was known at a moment
and judged on the orders of the 30 days after it, at that one moment, which none of them has seen:

    (a) `log`     the default windowed features
    log     the default windowed features
    mood    the same, and told each user's hidden mood at each cutoff
    moods   the same, and told the moods 1, 2, 4 and 8 weeks before it too

Differences to `log` are paired by user. What `mood` and `moods` have over it is there to be gained from sequences:
moods never tell the future, nor who has left. `--models` takes any models of the registry; the first is told the moods.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from ebbtide.core.config import load_config
from ebbtide.core.ids import hash_texts
from ebbtide.core.progress import silent
from ebbtide.core.windows import from_us
from ebbtide.evaluation.paired import paired_difference
from ebbtide.events.click_shop import click_shop
from ebbtide.events.simulate import SimulationConfig, Truth, write_log
from ebbtide.models.base import Matrix, Rows
from ebbtide.models.columns import rows_with_model_columns
from ebbtide.models.registry import MODELS
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.train import Prepared, prepare
from machine import machine_line
from planted_truth import Asked, cohort_rows, fit_and_ask, since

LAGS_DAYS = (0, 7, 14, 28, 56)
HORIZON_DAYS = 30


@dataclass(frozen=True)
class Trial:
    """The rows to learn from and the rows to be judged on, whose labels only the full log knows."""

    shop: SimulationConfig
    ready: Prepared
    asked: Asked

    def learn_and_ask(self, model: str, more: Columns | None = None) -> Matrix:
        """Margins at the judged moment of a registered model, with more columns or without."""
        setting = self.ready.setting_at(self.ready.until_us)
        given = (self.ready.rows.known_at(self.ready.until_us), self.asked.rows)
        known, asked = (rows_with_model_columns(rows, setting) for rows in given)
        if more:
            known, asked = joined(known, more(self, known)), joined(asked, more(self, asked))
        return fit_and_ask(model, known, asked, replace(setting, checkpoints=None))


Columns = Callable[[Trial, Rows], dict[str, Matrix]]


def main() -> None:
    asked = arguments()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        root = asked.keep or Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        trial = make_trial(click_shop(asked.users, asked.seed), root)
        compare(trial, asked.models)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="empty folder for the shop's workspace, which is then kept")
    parser.add_argument(
        "--models", nargs="+", default=["lightgbm", "event_boost", "event_model"], choices=sorted(MODELS)
    )
    return parser.parse_args()


def make_trial(shop: SimulationConfig, root: Path) -> Trial:
    """Simulate, ingest, compute the rows as known one horizon before the end of the log."""
    started = time.perf_counter()
    files = write_log(shop, root)
    print(f"{shop.users:,} users, {files.rows:,} rows written; {since(started)}")
    config = load_config(root / "ebbtide.toml", environ={})
    ingest(config, root)
    until = shop.end - timedelta(days=HORIZON_DAYS)
    ready = prepare(config, root, until=until, progress=silent, held_out=1, entries=MODELS)
    asked = cohort_rows(ready, until, shop.end)
    print(f"{len(ready.rows):,} rows at {len(ready.rows.moments())} cutoffs, {len(ready.rows.names)} columns; "
          f"{len(asked.rows):,} users asked about, {asked.rows.y.mean():.1%} of them churned; {since(started)}")  # fmt: skip
    return Trial(shop, ready, asked)


def compare(trial: Trial, models: list[str]) -> None:
    """Print the AUROC of each way and its paired difference to the first model with the log alone."""
    ways: list[tuple[str, str, Columns | None]] = [(model, "log", None) for model in models]
    ways += [
        (models[0], "mood", partial(mood_columns, LAGS_DAYS[:1])),
        (models[0], "moods", partial(mood_columns, LAGS_DAYS)),
    ]
    y = trial.asked.rows.y
    alone: Matrix | None = None
    for model, name, columns in ways:
        started = time.perf_counter()
        margin = trial.learn_and_ask(model, columns)
        alone = margin if alone is None else alone
        if columns is None and model != models[0]:
            told(y, f"{models[0]} + {model}", (alone + margin) / 2, alone, started)
        told(y, f"{model} {name}", margin, alone, started)


def told(y: Matrix, name: str, margin: Matrix, alone: Matrix, started: float) -> None:
    """Print a score's AUROC and its paired difference. A mean of two models' log-odds is their equal-weight stack."""
    gain = paired_difference(y, margin, alone)
    level = paired_difference(y, margin, np.zeros(len(y)))  # a score without variety has AUROC 0.5
    print(f"{name:24} AUROC {0.5 + level.value:.4f} [{0.5 + level.low:.4f}, {0.5 + level.high:.4f}]  beside the log alone "
          f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]; {since(started)}", flush=True)  # fmt: skip


def mood_columns(lags_days: tuple[int, ...], trial: Trial, rows: Rows) -> dict[str, Matrix]:
    """The hazard of each row's user from the mood then and before; NaN before the user joined."""
    moments = [from_us(int(m)) for m in rows.moments()]
    wanted = sorted({m - timedelta(days=lag) for m in moments for lag in lags_days})
    inside = [m for m in wanted if m >= trial.shop.start_at]
    states = dict(zip(inside, Truth(trial.shop).at_many(inside), strict=True))
    out = {f"mood_{lag}": np.full(len(rows), np.nan, np.float32) for lag in lags_days}
    for moment in moments:
        at = rows.as_of_us == np.int64(moment.timestamp() * 1e6)
        for lag in lags_days:
            state = states.get(moment - timedelta(days=lag))
            if state is not None:
                out[f"mood_{lag}"][at] = looked_up(state, rows.user[at])
    return out


def looked_up(state: pl.DataFrame, users: np.ndarray) -> Matrix:
    known = pl.DataFrame({"user": hash_texts(state["user_id"]), "hazard": state["hazard_doubt"].cast(pl.Float32)})
    found = pl.DataFrame({"user": users}).join(known, on="user", how="left", maintain_order="left")
    return found["hazard"].fill_null(np.nan).to_numpy()


def joined(rows: Rows, more: dict[str, Matrix]) -> Rows:
    """Rows with more columns at their end."""
    return replace(rows, X=np.column_stack([rows.X, *more.values()]), names=(*rows.names, *more))


if __name__ == "__main__":
    main()
