"""A new shop with few labels: what does pretraining on other shops bring?

    python benchmarks/transfer.py clicks [--users 6000] [--shops 4] [--own]      simulated shops, all different
    python benchmarks/transfer.py xmarket --data FOLDER [--target ca]    six countries to the seventh

Each arm gets the old shops' event logs, without a label, and of the new shop its log as known at a moment and the
labels of 100, 300 or 1,000 of its customers, each at one closed cutoff drawn at random. It is judged on all customers
of the new shop at that moment, by what they did in the horizon after it. A draw of labels is nested: the 100 are among
the 300. Figures are means over the draws; intervals resample draws and judged customers, the same for all arms.

The countries are a 5-core: everybody with fewer than five ratings so far must come back, which looks into the future.
They show whether sequences transfer; no level there is evidence of skill at churn.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.config import load_config
from ebbtide.core.progress import silent
from ebbtide.evaluation.intervals import Estimate, draw_weights
from ebbtide.evaluation.ranking import auroc_of
from ebbtide.evaluation.tally import Ranking
from ebbtide.events.click_shop import click_shop, different
from ebbtide.events.lake import Lake
from ebbtide.events.simulate import SimulationConfig, write_log
from ebbtide.models.base import Rows, Vector
from ebbtide.models.columns import rows_with_model_columns
from ebbtide.models.event_model.pretrain import PretrainConfig, pretrain
from ebbtide.models.event_model.pretrained import Pretrained, new_net
from ebbtide.models.event_model.sizes import SIZES
from ebbtide.models.registry import MODELS
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.pretrain import read_stream
from ebbtide.pipeline.train import Prepared, prepare
from machine import machine_line
from planted_truth import cohort_rows, fit_and_ask

LABELS = (100, 300, 1000)
BOOTSTRAPS = 300
COUNTRIES = ("ca", "uk", "fr", "de", "mx", "jp", "in")
COUNTRY_ASKED, COUNTRY_KNOWN = datetime(2019, 7, 1, tzinfo=UTC), datetime(2020, 10, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Task:
    """`old`: the lakes of the shops to pretrain on, of which only what was known at `until` may be used. `ready`: the
    new shop as known then. `pool`: its closed rows, to draw labels from; `asked`: its rows at `until`, with labels that
    only the judge may see."""

    old: dict[str, Lake]
    until: datetime
    ready: Prepared
    pool: Rows
    asked: Rows


Arm = Callable[[Task, Rows, int], Vector]
"""(task, the labelled rows, seed) -> a score of each asked row, higher for churn."""


def registered(name: str, pretrained: Callable[[Task], str] | None = None) -> Arm:
    """A model of the registry that sees the labelled rows; a net starts where `pretrained` says."""

    def arm(task: Task, labelled: Rows, seed: int) -> Vector:
        setting = task.ready.setting_at(task.ready.until_us)
        deep = setting.deep.model_copy(update=DEEP | {"pretrained": pretrained(task) if pretrained else ""})
        return fit_and_ask(name, labelled, task.asked, replace(setting, deep=deep, checkpoints=None), seed=seed)

    return arm


def streams(task: Task) -> str:
    """A folder with the event model, pretrained once on the old shops' streams as known at the moment."""
    folder = Path(tempfile.gettempdir()) / f"ebbtide-transfer-{os.getpid()}"
    if not folder.exists():
        config = replace(SIZES["tiny"], items=0)
        lakes = task.old.values()
        read = [read_stream(lake, task.ready.definition, task.until, config) for lake in lakes]
        sizes = read[0][1]
        net = new_net(config, sizes, "cpu", 0)
        how = PretrainConfig(epochs=PASSES, learning_rate=config.rate(0.002), max_events=PASSES * EVENTS_A_PASS)
        speeds: list[float] = []
        losses = pretrain(
            net, [s for s, _ in read], sizes, how, seed=0, measured=lambda m: speeds.append(m.events_per_second)
        )
        print(
            f"pretrained: loss {losses[0]:.3f} -> {losses[-1]:.3f} in {len(losses)} passes, {np.mean(speeds):,.0f} events/s"
        )
        Pretrained(config, sizes, net.eval()).save(folder)
    return str(folder)


DEEP = {"size": "tiny", "epochs": 10}
PASSES, EVENTS_A_PASS = 8, 1_000_000
ARMS: dict[str, Arm] = {
    "lightgbm": registered("lightgbm"),
    "logistic": registered("logistic"),
    "event model from scratch": registered("event_model", lambda _: "none"),
    "event model pretrained": registered("event_model", streams),
    "pretrained state + lightgbm": registered("event_boost", streams),
    "pretrained state + logistic": registered("event_line", streams),
}


def main() -> None:
    asked = arguments()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        task = (simulated if asked.what == "clicks" else countries)(asked, Path(folder))
        if asked.own:
            task = replace(task, old=task.old | {"new": task.ready.lake})
        y = task.asked.y
        print(f"pretraining on {len(task.old)} shops; {len(task.pool):,} closed rows of {len(np.unique(task.pool.user)):,} users in the new "
              f"one; {len(y):,} users asked about, {y.mean():.1%} of them churned")  # fmt: skip
        run(task, asked.draws)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["clicks", "xmarket"])
    parser.add_argument("--users", type=int, default=6000, help="of each simulated shop")
    parser.add_argument("--shops", type=int, default=4, help="simulated shops to pretrain on")
    parser.add_argument("--own", action="store_true", help="pretrain on the new shop's log without labels too")
    parser.add_argument("--data", type=Path, help="the folder with {country}_5core.parquet")
    parser.add_argument("--target", default="ca", choices=COUNTRIES)
    parser.add_argument("--draws", type=int, default=5, help="draws of the labelled customers")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def simulated(asked: argparse.Namespace, root: Path) -> Task:
    """Shops that differ in everything but their customers' moods; the new one is asked about last."""
    base = click_shop(asked.users, asked.seed)
    new = replace(different(base, 100 + asked.seed), start=base.start)
    shops = {f"shop {n}": different(base, 10 * asked.seed + n) for n in range(1, asked.shops + 1)}
    old = {name: simulated_lake(shop, root / name) for name, shop in shops.items()}
    simulated_lake(new, root / "new")
    return make_task(old, root / "new", new.end - timedelta(days=30), new.end)


def simulated_lake(shop: SimulationConfig, root: Path) -> Lake:
    write_log(shop, root)
    return ingested(root)


def countries(asked: argparse.Namespace, root: Path) -> Task:
    """One country's ratings after the others': who will not rate anything for half a year?"""
    if asked.data is None:
        raise SystemExit("give the folder of the countries' files with --data")
    old = {}
    for country in COUNTRIES:
        (root / country).mkdir()
        (root / country / "ebbtide.toml").write_text(country_workspace(asked.data / f"{country}_5core.parquet"))
        old[country] = ingested(root / country)
    del old[asked.target]
    return make_task(old, root / asked.target, COUNTRY_ASKED, COUNTRY_KNOWN)


def country_workspace(file: Path) -> str:
    return f"""
[shop]
name = "ratings"
[[source]]
table = "events"
path = "{file}"
drop_exact_duplicates = true
[source.columns]
user_id = "userId"
occurred_at = "date"
item_id = "itemId"
rating = "rate"
type = "'review'"
[churn]
outcome = "review"
horizon = "180d"
eligible = "review in 365d"
"""


def ingested(root: Path) -> Lake:
    ingest(load_config(root / "ebbtide.toml", environ={}), root)
    return Places(root).lake()


def make_task(old: dict[str, Lake], new: Path, until: datetime, known: datetime) -> Task:
    """Rows of the new shop: closed ones as known at `until` to learn from, those of `until` with labels as of `known`."""
    config = load_config(new / "ebbtide.toml", environ={}, overrides={"train": {"max_cutoffs": 8}})
    ready = prepare(config, new, until=until, progress=silent, held_out=1, entries=MODELS)
    setting = ready.setting_at(ready.until_us)
    given = (ready.rows.known_at(ready.until_us), cohort_rows(ready, until, known).rows)
    pool, asked = (rows_with_model_columns(rows, setting) for rows in given)
    return Task(old, until, ready, pool, asked)


def label_draws(pool: Rows, draws: int) -> Iterator[NDArray[np.int64]]:
    """Positions in the pool, one row a user, users in random order: the first n are the draw's n labels."""
    for draw in range(draws):
        shuffled = np.random.default_rng([draw, 3]).permutation(len(pool))
        _, first = np.unique(pool.user[shuffled], return_index=True)
        yield shuffled[np.sort(first)]


def run(task: Task, draws: int) -> None:
    """Print the curve of each arm, and what it has over the first."""
    sizes = [n for n in LABELS if n <= len(np.unique(task.pool.user))]
    orders = list(label_draws(task.pool, draws))
    base: dict[int, Vector] = {}
    for name, arm in ARMS.items():
        for labels in sizes:
            scores = np.stack([arm(task, task.pool.take(np.sort(o[:labels])), seed) for seed, o in enumerate(orders)])
            found = resampled(task.asked, scores)
            base.setdefault(labels, found)
            level, gain = estimate(found), estimate(found - base[labels])
            print(f"{name:28} {labels:5,} labels  AUROC {level.value:.4f} [{level.low:.4f}, {level.high:.4f}]  over "
                  f"{next(iter(ARMS))} {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")  # fmt: skip


def resampled(asked: Rows, scores: Vector) -> Vector:
    """Mean AUROC over the draws of labels, scores (D, N): as it is, then with users and draws resampled, (1 + B,).

    The same users and draws are resampled at every call, so differences of two results are paired.
    """
    rankings = [Ranking(asked.y, score) for score in scores]
    whole = np.mean([auroc_of(ranking.count())[0] for ranking in rankings])
    weights = list(draw_weights(asked.user, draws=BOOTSTRAPS, seed=0))
    each = np.stack([np.concatenate([auroc_of(r.merged().count(w)) for w in weights]) for r in rankings])  # (D, B)
    drawn = np.random.default_rng(0).integers(len(scores), size=each.shape)
    return np.append(whole, np.take_along_axis(each, drawn, axis=0).mean(axis=0))


def estimate(found: Vector) -> Estimate:
    """The figure with the middle 95 % of its resamples."""
    return Estimate.of(float(found[0]), found[1:])


if __name__ == "__main__":
    main()
