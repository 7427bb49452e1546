"""Treated customers in training: kept, left out, or modelled as if nothing had been done, beside the planted truth.

    python benchmarks/treated.py [--shops 3] [--users 3000] [--effect 4] [--model auto] [--only SCENE]

Each shop runs one campaign, 30 days before the judged moment, so that the newest cutoffs have it inside their windows, and for
all but the newest whom it treats depends on who had not come back by then. Scenes: `control`: it goes to those silent for
30 days or longer, 40 % of whom get nothing; `few`: a tenth of them gets nothing; `none`: nobody; `chance`: it goes to half of
all customers, silent or not; `rare`: to 3 in 100 of them.

Truth: the same shop with actions that do nothing lives the same lives until the campaign, and says who would have churned
without it. `label`: the mean label that a rule learns from less the true one, at the cutoffs with treated rows. `mean`,
`silent` and `apart`: the predicted risk less that of the same learner on the true labels, on average, on average of those
silent for 30 days, and as root mean square. `RMSE`: of the risk, against replays of the 30 days after the judged moment for
each customer without any action; by then the campaign works no more. AUROC is of what then happened, with an interval by
customer.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.churn.labels import NEVER_US
from ebbtide.core.config import Config, load_config
from ebbtide.core.progress import silent
from ebbtide.evaluation.intervals import Estimate, draw_weights
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.ranking import auroc, auroc_of
from ebbtide.evaluation.tally import Ranking
from ebbtide.events.simulate import SimulationConfig, Truth, write_log
from ebbtide.models.base import Rows, Vector, sigmoid
from ebbtide.models.columns import rows_with_model_columns
from ebbtide.models.exposures import Rule
from ebbtide.models.undone import learn_from
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.train import Prepared, prepare
from machine import machine_line
from planted_truth import Asked, cohort_rows, learn

RULES: tuple[Rule, ...] = ("keep", "leave_out", "model")
FUTURES = 20
CAMPAIGN, UNTIL = 202, 232
SILENT = 30
SCENES = {
    "control": {"campaign_share": 1.0, "campaign_control": 0.4, "campaign_silent_days": SILENT},
    "few": {"campaign_share": 1.0, "campaign_control": 0.1, "campaign_silent_days": SILENT},
    "none": {"campaign_share": 1.0, "campaign_control": 0.0, "campaign_silent_days": SILENT},
    "chance": {"campaign_share": 0.5, "campaign_control": 0.4, "campaign_silent_days": 0},
    "rare": {"campaign_share": 0.03, "campaign_control": 0.4, "campaign_silent_days": 0},
}


def main() -> None:
    asked = arguments()
    print(machine_line())
    for scene in [asked.only] if asked.only else SCENES:
        found: dict[str, list[dict[str, float]]] = {rule: [] for rule in RULES}
        for seed in range(1, asked.shops + 1):
            shop = SimulationConfig(
                users=asked.users, days=UNTIL + 31, seed=seed, campaign_every_days=CAMPAIGN, duplicates=0.0,
                campaign_effect=asked.effect, **SCENES[scene],
            )  # fmt: skip
            for rule, figures in one_shop(shop, asked.model).items():
                found[rule].append(figures)
        print(f"\n{scene}: {asked.shops} shops of {asked.users:,} customers, effect {asked.effect:g}; means over shops")
        for rule, figures in found.items():
            table = {name: np.array([f[name] for f in figures]) for name in figures[0]}
            print(
                f"  {rule:10}" + "  ".join(f"{name} {values.mean():+.4f}" for name, values in table.items()), flush=True
            )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Error against the risk without an action, by treatment of the treated."
    )
    parser.add_argument("--shops", type=int, default=3)
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--effect", type=float, default=4.0)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--only", choices=list(SCENES), default=None)
    return parser.parse_args()


def one_shop(shop: SimulationConfig, model: str) -> dict[Rule, dict[str, float]]:
    """Train under each rule on what was known at the judged moment, and judge against both truths."""
    until = shop.start_at + timedelta(days=UNTIL)
    idle = replace(shop, campaign_effect=0.0)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        (config, ready), (_, calm) = (prepared(s, Path(f), until, model) for s, f in ((shop, one), (idle, other)))
        asked = cohort_rows(ready, until, shop.end)
        return judged(config, ready, calm.rows, asked, Truth(shop).effects(until, futures=FUTURES))


def prepared(shop: SimulationConfig, root: Path, until: datetime, model: str) -> tuple[Config, Prepared]:
    write_log(shop, root)
    config = load_config(root / "ebbtide.toml", environ={})
    config = config.model_copy(update={"train": config.train.model_copy(update={"model": model})})
    ingest(config, root)
    return config, prepare(config, root, until=until, progress=silent)


def judged(
    config: Config, ready: Prepared, calm: Rows, asked: Asked, truth: pl.DataFrame
) -> dict[Rule, dict[str, float]]:
    members = asked.user_id.to_frame("user_id").join(truth, on="user_id", how="left", maintain_order="left")
    stays = members["order_chance"].to_numpy()
    right, noise = 1 - stays, stays * (1 - stays) / (FUTURES - 1)
    assert ready.rows.exposures is not None
    rows = asked.rows
    treated = ready.rows.treated_us() < NEVER_US
    print(f"\n{len(ready.rows):,} rows, {treated.mean():.1%} treated; {len(right):,} customers, true risk {right.mean():.3f}, "
          f"{rows.y.mean():.1%} churned")  # fmt: skip
    ideal = sigmoid(learn(config, ready, replace(calm, exposures=None)).margin(rows))
    print(f"   on the true labels: mean risk {ideal.mean():.4f}, AUROC {auroc(rows.y, ideal):.4f}")
    p: dict[Rule, Vector] = {}
    told: dict[Rule, dict[str, float]] = {}
    silent_now = rows.column("outcome_recency_days") >= SILENT
    for rule in RULES:
        own = replace(ready.rows, exposures=replace(ready.rows.exposures, rule=rule))
        learnt = learn_from(rows_with_model_columns(own, ready.setting_at(ready.until_us)), ready.until_us, seed=0)
        if learnt.effects:
            print("   " + "; ".join(f"{e.kind} {e.log_odds:+.2f} ({e.error:.2f}, {e.rows:,})" for e in learnt.effects))
        q = p[rule] = sigmoid(learn(config, ready, own).margin(rows))
        told[rule] = {
            "label": label_error(learnt.rows, calm, np.unique(ready.rows.as_of_us[treated])),
            "mean": float(np.mean(q - ideal)),
            "silent": float(np.mean((q - ideal)[silent_now])),
            "apart": float(np.sqrt(np.mean((q - ideal) ** 2))),
            "RMSE": float(np.sqrt(max(float(np.mean((q - right) ** 2 - noise)), 0.0))),
            "AUROC": auroc(rows.y, q),
        }
    for rule, q in p.items():
        low, high = interval(rows.y, q, rows.user)
        behind = paired_difference(rows.y, q, p["leave_out"], user=rows.user)
        print(f"   {rule:10}" + "  ".join(f"{name} {value:+.4f}" for name, value in told[rule].items())
              + f" [{low:.4f}, {high:.4f}], less leave_out {behind.value or 0:+.4f} [{behind.low or 0:+.4f}, {behind.high or 0:+.4f}]", flush=True)  # fmt: skip
    return told


def label_error(learnt: Rows, calm: Rows, cutoffs: NDArray[np.int64]) -> float:
    """Mean label learnt less the mean label of the shop without a campaign, at these cutoffs."""
    mine, theirs = (rows.y[np.isin(rows.as_of_us, cutoffs)].mean() for rows in (learnt, calm))
    return float(mine - theirs)


def interval(y: Vector, p: Vector, user: NDArray[np.uint64]) -> tuple[float, float]:
    cells = Ranking(y, p).merged()
    drawn = np.concatenate([auroc_of(cells.count(w)) for w in draw_weights(user, draws=300, seed=0)])
    found = Estimate.of(auroc(y, p), drawn)
    return found.low or 0.0, found.high or 0.0


if __name__ == "__main__":
    main()
