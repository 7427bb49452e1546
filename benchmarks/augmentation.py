"""What does augmentation change? Each kind of `[augment]` beside none, at the newest held-out moment of a few logs.

    python benchmarks/augmentation.py [--data FOLDER] [--users 1500] [--seeds 3] [--only NAME] [--models rnn]

Logs: the simulated shop, and where FOLDER holds them `grocery_elog` (order days) and `tmall_2014` (clicks, favourites,
carts, orders). Models are fitted on what was known at the moment, their log-odds averaged over seeds; the difference to the
same model without augmentation is paired by user. Sequences: the GRU net. Rare class: LightGBM and the perceptron.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ebbtide.core.config import Config, load_config, parse_config
from ebbtide.core.progress import silent
from ebbtide.core.settings import AugmentConfig
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.ranking import auroc
from ebbtide.events.simulate import SimulationConfig, write_log
from ebbtide.models.auto import hold_out
from ebbtide.models.base import Rows, Vector, sigmoid
from ebbtide.models.columns import rows_with_model_columns
from ebbtide.models.lightgbm import LightGbmModel
from ebbtide.models.registry import MODELS, Setting
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.train import Prepared, prepare
from machine import machine_line

MOST_CUTOFFS = 10
SEQUENCE = {
    "none": AugmentConfig(),
    "crop 0.3": AugmentConfig(crop=0.3),
    "mask 0.1": AugmentConfig(mask=0.1),
    "jitter 0.2": AugmentConfig(jitter=0.2),
    "mixup 0.4": AugmentConfig(mixup=0.4),
    "all four": AugmentConfig(crop=0.3, mask=0.1, jitter=0.2, mixup=0.4),
}
RARE = {
    "none": AugmentConfig(),
    "smote to half": AugmentConfig(rare="smote", rare_share=0.5),
    "gan to half": AugmentConfig(rare="gan", rare_share=0.5),
}
ARMS = {"rnn": SEQUENCE, "lightgbm": RARE, "mlp": RARE}
REAL: dict[str, dict[str, Any]] = {
    "grocery_elog": {
        "source": {
            "path": "groceryElog.parquet",
            "columns": {
                "user_id": "cust",
                "occurred_at": "date",
                "type": "'order'",
                "order_id": "cust || '-' || date",
            },
        },
        "churn": {"outcome": "order", "horizon": "60d", "eligible": "order in 120d"},
    },
    "tmall_2014": {
        "source": {
            "path": "actions.parquet",
            "columns": {
                "user_id": "user_id",
                "occurred_at": "strptime('2014-' || visit_datetime, '%Y-%m-%d')",
                "item_id": "brand_id",
                "type": "case type when 0 then 'product_view' when 1 then 'order' when 2 then 'wishlist_add' else"
                " 'cart_add' end",
                "order_id": "case when type = 1 then user_id || '-' || visit_datetime end",
            },
        },
        "churn": {"outcome": "order", "horizon": "15d", "eligible": "order in 45d"},
    },
}


def shops(data: Path | None, users: int, only: str | None, folder: Path) -> Iterator[tuple[str, Prepared]]:
    """Each log, or only one, ingested into a workspace of its own, and what fitting needs."""
    if only in (None, "simulated"):
        made = folder / "simulated"
        write_log(SimulationConfig(users=users, days=300, seed=5), made)
        yield "simulated", _ready(load_config(made / "ebbtide.toml", environ={}), made)
    for name, raw in REAL.items():
        if only in (None, name) and data is not None and (data / name).is_dir():
            root = folder / name
            root.mkdir()
            source = raw["source"] | {"path": str(data / name / raw["source"]["path"])}
            yield name, _ready(parse_config({**raw, "source": [source]}, environ={}), root)


def _ready(config: Config, root: Path) -> Prepared:
    config = config.model_copy(update={"train": config.train.model_copy(update={"max_cutoffs": MOST_CUTOFFS})})
    ingest(config, root)
    return prepare(config, root, until=None, progress=silent, entries={"rnn": MODELS["rnn"]})


def margins(rows: Rows, moment: int, model: str, setting: Setting, seeds: int) -> Vector:
    """Log-odds at the moment, averaged over seeds; boosting takes its usual rounds."""
    place = LightGbmModel.rounds_grid.index(LightGbmModel.usual_rounds) if MODELS[model].staged else 0
    found = []
    for seed in range(seeds):
        held = hold_out(rows, moment, {model: MODELS[model]}, setting, seed=seed)
        assert held is not None
        found.append(held.margins[model][place])
    return np.mean(found, axis=0)


def judge(name: str, ready: Prepared, models: Sequence[str], seeds: int) -> None:
    """Print a table row for each arm."""
    moment = ready.held_out[0]
    setting = ready.setting_at(moment)
    rows = rows_with_model_columns(ready.rows, setting)
    asked = rows.at(moment)
    print(
        f"{name}: {len(asked)} users asked about, {asked.y.mean():.1%} churned, {len(rows.known_at(moment))} rows learnt from"
    )
    for model in models:
        plain: Vector | None = None
        for way, augment in ARMS[model].items():
            margin = margins(rows, moment, model, replace(setting, augment=augment), seeds)
            plain = margin if plain is None else plain
            said = ""
            if margin is not plain:
                gain = paired_difference(asked.y, sigmoid(margin), sigmoid(plain), user=asked.user, draws=1000)
                said = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
            print(f"| {name} | {model} | {way} | {auroc(asked.y, margin):.4f} | {said} |", flush=True)


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path)
    ask.add_argument("--users", type=int, default=1500)
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--only", choices=["simulated", *REAL])
    ask.add_argument("--models", nargs="+", default=list(ARMS), choices=list(ARMS))
    given = ask.parse_args()
    print(machine_line())
    with tempfile.TemporaryDirectory(prefix="ebbtide-") as folder:
        for name, ready in shops(given.data, given.users, given.only, Path(folder)):
            judge(name, ready, given.models, given.seeds)


if __name__ == "__main__":
    main()
