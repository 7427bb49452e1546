"""Measured effects on real customers: 1,000 campaigns drawn from five real logs, with an effect that is known.

    python benchmarks/effects_logs.py --data FOLDER --shops FOLDER [--campaigns 200] [--users 2000] [--logs NAME ...]

`--data`: public data sets; `--shops`: one workspace file a log (its sources stand under ${EBBTIDE_DATA}). Of each log, a
model learns until a moment whose outcome window has closed, exactly as a campaign's read-out would have had it. A
campaign then draws customers of that moment with replacement, and their arm by chance. Without the action they do what
they really did. With it, one in `EVERY` of those who would have stayed away orders once, for what such an order is worth
there on average: chosen by chance, once for each log, so the true effect on all customers is known exactly.
Coverage of that effect, and what CUPAC removes with the covariates of the read-out: score, expected orders, value at
risk, what the customers did in the window before, forecasts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import load_config
from ebbtide.evaluation.ranking import auroc
from ebbtide.evaluation.tally import Vector
from ebbtide.pipeline.campaign_promise import outcomes_before
from ebbtide.pipeline.effect_forecast import FORECASTS, forecasts
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.outcomes import outcomes_of
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.score import score
from ebbtide.pipeline.train import newest_moment, train
from effects import CONTROL, OUTCOMES, Drawn, Sums, judged
from machine import machine_line

MOMENTS = {
    "cdnow": datetime(1998, 4, 1, tzinfo=UTC),
    "online_retail": datetime(2011, 11, 9, tzinfo=UTC),
    "essec_purchases": datetime(2014, 12, 31, tzinfo=UTC),
    "grocery_elog": datetime(2007, 10, 31, tzinfo=UTC),
    "tmall_2014": datetime(2014, 8, 1, tzinfo=UTC),
}
EVERY = 10
HEAD = "| outcome | plain covers | CUPAC covers | narrower by, 95 % of campaigns | variance removed | without forecasts | | |"


@dataclass(frozen=True)
class Customers:
    """Who could be asked at the moment: covariates with and without forecasts, and the outcomes without and with the action."""

    known: Vector
    old: Vector
    risk: Vector
    without: dict[str, Vector]
    with_action: dict[str, Vector]

    def campaign(self, users: int, rng: np.random.Generator) -> Drawn:
        """One campaign of `users` customers drawn with replacement."""
        drawn, treated = rng.integers(0, len(self.risk), users), rng.random(users) >= CONTROL
        y = {n: np.where(treated, self.with_action[n][drawn], self.without[n][drawn]) for n in self.without}
        truth = {n: float((self.with_action[n] - self.without[n]).mean()) for n in self.without}
        return Drawn(treated, self.known[drawn], self.risk[drawn], y, truth, old=self.old[drawn])


def customers_of(name: str, settings: Path, data: Path) -> Customers:
    """The customers of one log at its moment."""
    as_of = MOMENTS[name]
    with tempfile.TemporaryDirectory(prefix="ebbtide-effects-") as folder:
        root = Path(folder)
        shutil.copy(settings / name / "ebbtide.toml", root)
        shop = load_config(root / "ebbtide.toml", environ={**os.environ, "EBBTIDE_DATA": str(data)})
        ingest(shop, root)
        train(shop, root, until=as_of)
        lake, definition = Places(root).lake(), ChurnDefinition.from_config(shop.churn)
        people = score(shop, root, as_of=as_of, reasons="none").frame.sort("user_id")
        at = people.select("user_id", at=pl.lit(as_of), known_until=pl.lit(newest_moment(lake)))
        after = outcomes_of(lake, at, definition)
        before = outcomes_before(lake, at, definition, lambda *_: None)
        foreseen = forecasts(shop, root, lake, definition, at, lambda *_: None)
    names = [n for n, m in zip(OUTCOMES, ("retained", "orders", "value"), strict=True) if after[m].null_count() == 0]
    columns = dict(zip(OUTCOMES, ("retained", "orders", "value"), strict=True))
    without = {n: after[columns[n]].cast(pl.Float64).to_numpy() for n in names}
    scored = people.select("churn_probability", "expected_orders", "value_at_risk").to_numpy()
    old = np.column_stack([scored, before.select("retained", "orders", "value").to_numpy()]).astype(np.float64)
    known = np.column_stack([old, foreseen.select(list(FORECASTS)).to_numpy().astype(np.float64)])
    return Customers(known, old, scored[:, 0], without, _with_action(without))


def _with_action(without: dict[str, Vector]) -> dict[str, Vector]:
    """The outcomes if everybody were treated: one in `EVERY` of those who stay away orders once."""
    stays = without["retained"] > 0
    won = ~stays & (np.random.default_rng(0).random(len(stays)) < 1 / EVERY)
    orders = without["orders"]
    worth = without["money"].sum() / orders.sum() if "money" in without else 0.0
    more = {"retained": 1.0, "orders": 1.0, "money": worth}
    return {n: y + more[n] * won for n, y in without.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shops", type=Path, required=True)
    parser.add_argument("--logs", nargs="*", default=list(MOMENTS), choices=list(MOMENTS))
    parser.add_argument("--campaigns", type=int, default=200, help="of each log")
    parser.add_argument("--users", type=int, default=2000, help="of a campaign")
    asked = parser.parse_args()
    print(machine_line())
    rng, everything = np.random.default_rng(1), Sums()
    for name in asked.logs:
        customers, own = customers_of(name, asked.shops, asked.data), Sums()
        for _ in range(asked.campaigns):
            drawn = customers.campaign(asked.users, rng)
            judged(drawn, own)
            judged(drawn, everything)
        ranking = auroc(1 - customers.without["retained"], customers.risk)
        print(f"\n{name}: {asked.campaigns} campaigns among {len(customers.risk):,} customers, AUROC of the risk {ranking:.3f}, "
              f"{customers.without['retained'].mean():.1%} stay\n{HEAD}\n{'|---' * 8}|", flush=True)  # fmt: skip
        for outcome in customers.without:
            print(own.tell(outcome), flush=True)
    print(f"\nall {len(asked.logs)} logs\n{HEAD}\n{'|---' * 8}|")
    for outcome in OUTCOMES:
        print(everything.tell(outcome))


if __name__ == "__main__":
    main()
