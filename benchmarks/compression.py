"""Smaller forms of a trained model beside PyTorch in single precision: microseconds a user, AUROC lost, bytes.

    python benchmarks/compression.py [--users 4000] [--seed 1] [--models rnn transformer] [--mixed lightgbm]

A shop is simulated and ingested. For each net, two teachers are fitted on what was known at the newest closed cutoff: the
net alone, and its equal mixture in log-odds with `--mixed`. Every form is made of them and judged on that cutoff's users,
whom none has seen; the loss is paired with the teacher's AUROC.

Seconds: one user at a time and in batches of 256, from base columns and events to log-odds, features apart; the least of
five rounds in which all forms take turns, so that what else the machine does touches all alike. `PyTorch fp32` is the
net as it would be served without us, in single precision. Served, the graphs run one user at a time also among many
(that keeps one user's score the same in any company); `graph in batches` says what that costs.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ebbtide.core.config import load_config
from ebbtide.core.progress import silent
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.ranking import auroc
from ebbtide.events.simulate import SimulationConfig, write_log
from ebbtide.models.auto import Choice, fit_chosen
from ebbtide.models.base import Vector
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.columns import ColumnMaker, rows_with_model_columns
from ebbtide.models.forms import Served, compressed, forms_of
from ebbtide.models.makers import MAKERS
from ebbtide.models.neural.exported import ExportedColumn
from ebbtide.models.neural.parts import Exportable
from ebbtide.models.neural.tensors import to_events
from ebbtide.models.registry import MODELS
from ebbtide.pipeline.compare import saved_bytes
from ebbtide.pipeline.compress import with_own_events
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.train import Prepared, prepare
from ebbtide.sequences.batches import TokenRows, by_length
from machine import machine_line

BATCH = 256
ROUNDS = 5
ALONE = 64


class SinglePrecision:
    """A net's column by PyTorch in single precision, in batches of 256."""

    def __init__(self, column: Exportable) -> None:
        self.name = column.name
        parts = column.parts()
        assert parts.items is None, "this shop has no item vectors"
        self.vocabulary, self.basis, self.max_len = parts.vocabulary, parts.basis, parts.max_len
        self.net = copy.deepcopy(parts.net).float().eval()

    def columns(self, X: Vector, sequences: object) -> Vector:
        tokens = TokenRows.of(sequences, self.vocabulary, self.max_len)
        design = self.basis.design(X) if self.basis else None
        out, cpu = np.empty((len(X), 1), np.float32), torch.device("cpu")
        with torch.inference_mode():
            for rows in by_length(tokens.lengths(), BATCH, None):
                own = None if design is None else torch.from_numpy(design[rows])
                out[rows, 0] = self.net(to_events(tokens.batch(rows), cpu), own).numpy()
        return out


class InBatches:
    """A graph's column in batches of 256, padded: not as it is served."""

    def __init__(self, column: ExportedColumn) -> None:
        self.column, self.name = column, column.name

    def columns(self, X: Vector, sequences: object) -> Vector:
        tokens = TokenRows.of(sequences, self.column.vocabulary, self.column.about["max_len"])
        out = np.empty((len(X), 1), np.float32)
        for rows in by_length(tokens.lengths(), BATCH, None):
            batch = tokens.batch(rows)
            inputs = {"codes": batch.codes, "numbers": batch.numbers, "length": batch.length}
            if self.column.about["reads_base"]:
                inputs["base"] = X[rows]
            out[rows, 0] = self.column.session.run(None, inputs)[0]
        return out


def main() -> None:
    asked = arguments()
    torch.set_num_threads(1)
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_log(SimulationConfig(users=asked.users, days=360, seed=asked.seed), root)
        config = load_config(root / "ebbtide.toml", environ={})
        config = config.model_copy(update={"deep": config.deep.model_copy(update={"epochs": asked.epochs})})
        ingest(config, root)
        entries = {name: MODELS[name] for name in (asked.mixed, *asked.models)}
        ready = prepare(config, root, until=None, progress=silent, held_out=1, entries=entries)
        for number, name in enumerate(asked.models):
            for members in ([name], [asked.mixed, name]):
                measure(ready, members, root / f"forms-{number}-{len(members)}")


def arguments() -> argparse.Namespace:
    nets = sorted(name for name, maker in MAKERS.items() if maker.exports and name in MODELS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--models", nargs="+", default=["rnn", "transformer"], choices=nets)
    parser.add_argument("--mixed", default="lightgbm", choices=sorted(MODELS))
    return parser.parse_args()


def measure(ready: Prepared, members: list[str], folder: Path) -> None:
    """Make every form of one teacher and print the table."""
    moment = ready.held_out[0]
    setting = ready.setting_at(moment)
    rows = rows_with_model_columns(ready.rows, setting)
    entries = {name: MODELS[name] for name in members}
    variant = {name: 3 if name == "lightgbm" else 0 for name in members}
    choice = Choice(variant, dict.fromkeys(members, 1 / len(members)), AffineCalibration(), ())
    full = Served("full", *fit_chosen(rows.known_at(moment), choice, entries, setting, seed=0))
    earlier, asked = rows.take(rows.as_of_us < moment), with_own_events(rows.at(moment))
    made = {form: compressed(full, form, earlier, seed=0, folder=folder / form) for form in forms_of(full.makers)}
    forms = {
        "PyTorch fp32": swapped(full, SinglePrecision),
        "PyTorch fp64 (full)": full,
        "onnx": made["onnx"],
        "int8": made["int8"],
        "onnx, graph in batches": swapped(made["onnx"], InBatches),
        "int8, graph in batches": swapped(made["int8"], InBatches),
        "distilled": made["distilled"],
    }
    margins = {name: form.margin(asked) for name, form in forms.items()}
    alone = [with_own_events(asked.take(np.array([i]))) for i in range(min(ALONE, len(asked)))]
    many = with_own_events(asked.take(np.arange(min(4 * BATCH, len(asked)))))
    one = in_turns({name: lambda f=form: [f.margin(row) for row in alone] for name, form in forms.items()}, len(alone))
    batch = in_turns({name: lambda f=form: f.margin(many) for name, form in forms.items()}, len(many))
    print(f"\n{' + '.join(members)}: {len(earlier):,} rows to learn from, {len(asked):,} users judged, "
          f"{asked.y.mean():.1%} churned; at most {setting.deep.max_len} events each")  # fmt: skip
    print("| form | AUROC | lost, 95 % interval | one at a time, µs | times | in 256, µs | times | bytes |")
    print("|---|---|---|---|---|---|---|---|")
    base = "PyTorch fp32"
    for name, form in forms.items():
        loss = paired_difference(asked.y, margins["PyTorch fp64 (full)"], margins[name], user=asked.user, draws=1000)
        size = f"{saved_bytes(form.stack, form.makers):,}" if form in (full, *made.values()) else "-"
        print(f"| {name} | {auroc(asked.y, margins[name]):.4f} | {loss.value:+.4f} [{loss.low:+.4f}, {loss.high:+.4f}] | "
              f"{one[name]:.0f} | {one[base] / one[name]:.1f} | {batch[name]:.1f} | {batch[base] / batch[name]:.1f} | {size} |")  # fmt: skip


def swapped(served: Served, wrap: Callable[[ColumnMaker], ColumnMaker]) -> Served:
    """The same stack on other makers."""
    return replace(served, makers=tuple(wrap(maker) for maker in served.makers))


def in_turns(calls: dict[str, Callable[[], object]], rows: int) -> dict[str, float]:
    """Microseconds a row of each call, the least of the rounds."""
    least = dict.fromkeys(calls, np.inf)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            least[name] = min(least[name], (time.perf_counter() - start) / rows * 1e6)
    return least


if __name__ == "__main__":
    main()
