"""Is selecting columns worth it? All columns beside fewer ones, at the held-out moments of a workspace.

    python benchmarks/selection.py WORKSPACE [--until 2011-11-09] [--model lightgbm]

Selection is fitted inside each fold, on the rows whose labels were known then. Prints the AUROC of each way, its paired
difference to all columns with a 95 % interval by user, the columns kept and the seconds of fitting.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ebbtide.core.config import load_config
from ebbtide.core.progress import silent
from ebbtide.core.windows import parse_moment
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.ranking import auroc
from ebbtide.features.selection import select
from ebbtide.models.base import Rows, sigmoid
from ebbtide.models.columns import rows_with_model_columns
from ebbtide.models.registry import MODELS, Setting
from ebbtide.pipeline.train import prepare

WAYS: dict[str, dict[str, float]] = {
    "all": {},
    "no copies": {"max_correlation": 0.995},
    "best 100": {"max_correlation": 0.995, "most": 100},
    "best 50": {"max_correlation": 0.98, "most": 50},
    "best 25": {"max_correlation": 0.95, "most": 25},
}


def keep(rows: Rows, names: tuple[str, ...]) -> Rows:
    """The rows with these columns only."""
    places = [rows.names.index(n) for n in names]
    return replace(rows, X=rows.X[:, places], names=names)


def main() -> None:
    """Measure and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("workspace", type=Path)
    ask.add_argument("--until", type=parse_moment)
    ask.add_argument("--model", default="lightgbm", choices=["lightgbm", "logistic"])
    given = ask.parse_args()
    config = load_config(given.workspace / "ebbtide.toml")
    ready = prepare(config, given.workspace, until=given.until, progress=silent)
    settings: dict[int, Setting] = {m: ready.setting_at(m) for m in ready.held_out}
    found: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    seconds, kept = dict.fromkeys(WAYS, 0.0), {way: [] for way in WAYS}
    y, user = [], []
    for moment in ready.held_out:
        rows = rows_with_model_columns(ready.rows, settings[moment])
        known, asked = rows.known_at(moment), rows.at(moment)
        y.append(asked.y)
        user.append(asked.user)
        for way, how in WAYS.items():
            start = time.perf_counter()
            names = select(known.X, known.y, known.names, **how) if how else known.names
            model = MODELS[given.model].make(settings[moment]).fit(keep(known, names), seed=0)
            seconds[way] += time.perf_counter() - start
            kept[way].append(len(names))
            margin = model.margin(keep(asked, names).X)
            found[way].append(margin - margin.mean())  # moments are compared within themselves
    labels, users = np.concatenate(y), np.concatenate(user)
    whole = sigmoid(np.concatenate(found["all"]))
    print(f"{given.model}, {len(ready.held_out)} held-out moments, {len(labels):,} rows")
    for way, margins in found.items():
        mean = np.mean([auroc(truth, m) for truth, m in zip(y, margins, strict=True)])
        gain = paired_difference(labels, sigmoid(np.concatenate(margins)), whole, user=users)
        ends = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        columns = int(np.mean(kept[way]))
        print(
            f"{way:10} {columns:4} columns  AUROC {mean:.4f}  {ends}  {seconds[way]:6.1f} s, ratio {seconds[way] / seconds['all']:.2f}"
        )


if __name__ == "__main__":
    main()
