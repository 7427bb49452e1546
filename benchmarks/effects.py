"""Measured effects: do the intervals hold the truth, how much does CUPAC narrow them, what does peeking cost?

    python benchmarks/effects.py [--campaigns 1000] [--users 2000] [--shops 12] [--looks 60]

First, campaigns of customers who buy at rates of their own (Poisson, the rates gamma distributed): what is known
beforehand are 180 days of their orders, and the risk is the exact chance of no order in the next 30 days given those;
the action raises each customer's rate by a known factor that differs between customers. Then whole simulated shops,
each with its own model trained on what was known before one of its campaigns; the truth is the simulator's. At last
A/A tests with many looks. Beside what the adjustment removes stands the most that any could: the best prediction that the
past allows, and, no longer possible in life, the hidden rates themselves.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import load_config
from ebbtide.evaluation.effects import Effect, adjusted_difference, difference, unit_differences
from ebbtide.evaluation.intervals import wilson
from ebbtide.evaluation.ranking import auroc
from ebbtide.evaluation.sequential import confidence_sequence
from ebbtide.evaluation.tally import Vector
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.events.simulate import SimulationConfig, Truth, write_log
from ebbtide.pipeline.campaign_promise import outcomes_before
from ebbtide.pipeline.effect_forecast import FORECASTS, forecasts
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.outcomes import outcomes_of
from ebbtide.pipeline.score import score
from ebbtide.pipeline.train import train
from machine import machine_line

OUTCOMES = ("retained", "orders", "money")
CONTROL = 0.3


@dataclass(frozen=True)
class Drawn:
    """A campaign: arm, known covariates, outcomes and the true effect on each of them."""

    treated: NDArray[np.bool_]
    known: Vector
    risk: Vector
    y: dict[str, Vector]
    truth: dict[str, float]
    hidden: dict[str, Vector] = field(default_factory=dict)
    """What the outcome is on average for the customer without the action: nobody who sees the log can know more."""
    best: dict[str, Vector] = field(default_factory=dict)
    """The same as far as the past tells it."""
    old: Vector | None = None
    """The covariates without forecasts of orders and money."""


class Sums:
    """Coverage and widths over campaigns."""

    def __init__(self) -> None:
        self.hits: dict[str, list[bool]] = defaultdict(list)
        self.widths: dict[str, list[float]] = defaultdict(list)

    def add(self, name: str, effect: Effect, truth: float | None) -> None:
        """`truth` None: it is not known, and only the width counts."""
        assert effect.low is not None
        assert effect.high is not None
        if truth is not None:
            self.hits[name].append(effect.low <= truth <= effect.high)
        self.widths[name].append(effect.high - effect.low)

    def tell(self, outcome: str) -> str:
        plain, adjusted = np.array(self.widths[f"{outcome} plain"]), np.array(self.widths[f"{outcome} cupac"])
        narrower = 1 - adjusted / plain
        low, high = np.quantile(narrower, [0.025, 0.975])
        told = [_share(self.hits[f"{outcome} {kind}"]) for kind in ("plain", "cupac")]
        squared = 1 - (adjusted / plain) ** 2
        most = [
            f"{np.mean(1 - np.array(self.widths[f'{outcome} {kind}']) / plain):.1%}"
            if self.widths[f"{outcome} {kind}"]
            else "-"
            for kind in ("old", "best", "hidden")
        ]
        return (
            f"| {outcome} | {told[0]} | {told[1]} | {narrower.mean():.1%} [{low:.1%}, {high:.1%}] | {squared.mean():.1%} | "
            + " | ".join(most) + " |"
        )  # fmt: skip


def _share(hits: list[bool]) -> str:
    if not hits:
        return "-"
    low, high = wilson(sum(hits), len(hits))
    return f"{np.mean(hits):.1%} [{low:.1%}, {high:.1%}]"


def planted_campaign(users: int, rng: np.random.Generator) -> Drawn:
    """Customers with rates from a gamma distribution, 180 days of known orders, an effect between 0 and 30 %."""
    shape, scale = 1.0, 0.7
    rate = rng.gamma(shape, scale, users)  # orders in 30 days
    worth = np.exp(rng.normal(3.5, 0.4, users))
    past = rng.poisson(rate * 6)
    values = np.log(np.repeat(worth, past)) + rng.normal(0, 0.3, past.sum())
    who = np.repeat(np.arange(users), past)
    spent = np.bincount(who, np.exp(values), minlength=users)
    lift = rng.uniform(0, 0.3, users)
    treated = rng.random(users) >= CONTROL
    orders = rng.poisson(rate * np.where(treated, 1 + lift, 1)).astype(np.float64)
    money = _spent(orders.astype(np.int64), worth, rng)
    a, b = shape + past, 1 / scale + 6
    stays = 1 - (b / (b + 1)) ** a
    expected = a / b
    mean_order = (spent + 3 * 36) / (past + 3)
    more = rate * lift
    truth = {
        "retained": float(np.mean(np.exp(-rate) - np.exp(-rate * (1 + lift)))),
        "orders": float(more.mean()),
        "money": float((more * worth * np.exp(0.5 * 0.3**2)).mean()),
    }
    y = {"retained": (orders > 0).astype(np.float64), "orders": orders, "money": money}
    spread = 1 / (1 / 0.4**2 + past / 0.3**2)  # of the logarithm of the own mean order, given past orders
    middle = spread * (3.5 / 0.4**2 + np.bincount(who, values, minlength=users) / 0.3**2)
    order = np.exp(middle + spread / 2 + 0.3**2 / 2)
    hidden = {"retained": 1 - np.exp(-rate), "orders": rate, "money": rate * worth * np.exp(0.3**2 / 2)}
    best = {"retained": stays, "orders": expected, "money": expected * order}
    known = np.column_stack([1 - stays, expected, expected * mean_order, past, spent])
    return Drawn(treated, known, 1 - stays, y, truth, hidden, best)


def _spent(orders: NDArray[np.int64], worth: Vector, rng: np.random.Generator) -> Vector:
    who = np.repeat(np.arange(len(orders)), orders)
    values = worth[who] * np.exp(rng.normal(0, 0.3, len(who)))
    return np.bincount(who, values, minlength=len(orders))


def judged(drawn: Drawn, sums: Sums) -> None:
    for name in drawn.y.keys() & drawn.truth.keys():
        sums.add(f"{name} plain", difference(drawn.y[name], drawn.treated), drawn.truth[name])
        sums.add(f"{name} cupac", adjusted_difference(drawn.y[name], drawn.treated, drawn.known), drawn.truth[name])
        compared(drawn, sums, name)


def compared(drawn: Drawn, sums: Sums, name: str) -> None:
    """Other adjustments of the same campaign: by the best predictions, and (`old`) without forecasts."""
    for kind, known in (("best", drawn.best), ("hidden", drawn.hidden)):
        if name in known:
            sums.add(f"{name} {kind}", adjusted_difference(drawn.y[name], drawn.treated, known[name]), None)
    if drawn.old is not None:
        sums.add(f"{name} old", adjusted_difference(drawn.y[name], drawn.treated, drawn.old), None)


def simulated_shop(seed: int, users: int) -> tuple[Drawn, float]:
    """One campaign of a simulated shop, half a year after its start, read out with a model trained until then."""
    config = SimulationConfig(users=users, days=340, seed=seed, campaign_every_days=100, duplicates=0.0)
    with tempfile.TemporaryDirectory(prefix="ebbtide-effects-") as folder:
        root = Path(folder)
        write_log(config, root)
        text = (root / "ebbtide.toml").read_text(encoding="utf-8")
        (root / "ebbtide.toml").write_text(
            text + '\n[train]\nmodel = "lightgbm"\nmax_cutoffs = 9\nbootstrap = 50\n', encoding="utf-8"
        )
        shop = load_config(root / "ebbtide.toml", environ={})
        ingest(shop, root, now=config.end)
        as_of = config.start_at + timedelta(days=300)
        train(shop, root, until=as_of)
        lake, definition = Lake.open(lake_folder(root)), ChurnDefinition.from_config(shop.churn)
        risk = score(shop, root, as_of=as_of, reasons="none").frame.select(
            "user_id", "churn_probability", "expected_orders", "value_at_risk"
        )
        day = pl.col("occurred_at").is_between(as_of, as_of + timedelta(days=1), closed="left")
        arms = lake.read_table("exposures").filter(day).select("user_id", "action").unique("user_id")
        people = risk.join(arms, on="user_id").sort("user_id")
        at = people.select("user_id", at=pl.lit(as_of), known_until=pl.lit(config.end))
        after, before = outcomes_of(lake, at, definition), outcomes_before(lake, at, definition, lambda *_: None)
        foreseen = forecasts(shop, root, lake, definition, at, lambda *_: None)
        effects = people.join(Truth(config).effects(as_of, futures=40), on="user_id", how="left", maintain_order="left")
    treated = people["action"].to_numpy() != "nothing"
    truth = effects.filter(pl.Series(treated)).select(
        pl.coalesce(pl.when(pl.col("action") == a).then(f"uplift_{a}") for a in ("message", "coupon", "call")).mean()
    )
    y = {
        n: after[m].cast(pl.Float64).to_numpy() for n, m in zip(OUTCOMES, ("retained", "orders", "value"), strict=True)
    }
    old = np.column_stack(
        [people.drop("user_id", "action").to_numpy(), before.select("retained", "orders", "value").to_numpy()]
    ).astype(np.float64)
    known = np.column_stack([old, foreseen.select(list(FORECASTS)).to_numpy()])
    p = people["churn_probability"].to_numpy()
    hidden = {"retained": effects["order_chance"].to_numpy()}
    drawn = Drawn(treated, known, p, y, {"retained": float(truth.item())}, hidden, old=old)
    return drawn, auroc(1 - y["retained"][~treated], p[~treated])


def widths_only(drawn: Drawn, sums: Sums) -> None:
    for name in ("orders", "money"):
        for kind, effect in (
            ("plain", difference(drawn.y[name], drawn.treated)),
            ("cupac", adjusted_difference(drawn.y[name], drawn.treated, drawn.known)),
        ):
            sums.add(f"{name} {kind}", effect, None)
        compared(drawn, sums, name)


def peeking(tests: int, looks: int, rng: np.random.Generator) -> tuple[list[bool], list[bool]]:
    """A/A tests with skewed outcomes, looked at after every 50 users."""
    plain, always = [], []
    for _ in range(tests):
        y, treated = rng.exponential(size=looks * 50), rng.random(looks * 50) >= CONTROL
        z = s = False
        for look in range(1, looks + 1):
            n = look * 50
            value, spread = unit_differences(y[:n], treated[:n])
            z |= abs(value) > 1.96 * spread / n**0.5
            told = confidence_sequence(value, spread, n, planned=looks * 50)
            s |= (told.low or 0) > 0 or (told.high or 0) < 0
        plain.append(z)
        always.append(s)
    return plain, always


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=1000)
    parser.add_argument("--users", type=int, default=2000, help="of a campaign, and of a simulated shop")
    parser.add_argument("--shops", type=int, default=12)
    parser.add_argument("--looks", type=int, default=60)
    asked = parser.parse_args()
    print(machine_line())
    rng, sums, rankings = np.random.default_rng(1), Sums(), []
    for _ in range(asked.campaigns):
        drawn = planted_campaign(asked.users, rng)
        judged(drawn, sums)
        rankings.append(auroc(1 - drawn.y["retained"][~drawn.treated], drawn.risk[~drawn.treated]))
    print(f"\n{asked.campaigns} campaigns of {asked.users} customers, AUROC of the risk {np.mean(rankings):.3f}")
    print(
        "| outcome | plain covers | CUPAC covers | narrower by, 95 % of campaigns | variance removed | without forecasts | "
        "best of the past | told what is hidden |\n|---|---|---|---|---|---|---|---|"
    )
    for name in OUTCOMES:
        print(sums.tell(name), flush=True)
    shops, ranked, sizes = Sums(), [], []
    for seed in range(asked.shops):
        drawn, found = simulated_shop(seed, asked.users)
        sizes.append(len(drawn.treated))
        ranked.append(found)
        judged(drawn, shops)
        widths_only(drawn, shops)
        print(
            f"shop {seed}: {sizes[-1]} customers, AUROC {found:.3f}, truth {drawn.truth['retained']:+.4f}", flush=True
        )
    if shops.hits:
        print(f"\n{asked.shops} simulated shops, {np.mean(sizes):.0f} customers each, AUROC {np.mean(ranked):.3f}")
        for name in OUTCOMES:
            print(shops.tell(name))
    plain, always = peeking(1000, asked.looks, rng)
    print(f"\nA/A, {asked.looks} looks: plain {_share(plain)}, confidence sequence {_share(always)}")


if __name__ == "__main__":
    main()
