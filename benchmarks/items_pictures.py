"""Item pictures end to end: are neighbours of one kind, and what do the vectors add where only looks tell?

    python benchmarks/items_pictures.py [--data ../shared/data] [--users 4000] [--epochs 8]

600 of 1,200 product pictures (fashion_product_images) train the autoencoder; the other 600 are asked for their nearest
neighbours. Then simulated users, who never meet an item twice: each buys what looks alike, and views, before the moment
asked about, either more of the kind (stays) or of another kind (leaves, with noise). Kinds are hidden: no category, no
brand. LightGBM on counts, then with the distance between the looks of what was bought and of what was viewed last.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from lightgbm import LGBMClassifier
from numpy.typing import NDArray

from ebbtide.core.ids import hash_texts
from ebbtide.core.windows import to_us
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.ranking import auroc
from ebbtide.events.schema import EVENT_COLUMNS, ITEM_COLUMNS
from ebbtide.pipeline.item_vectors import with_whole_paths
from ebbtide.sequences.event_log import EventLog
from ebbtide.sequences.items.pictures import PictureEncoder
from ebbtide.sequences.items.vectors import ItemVectors
from machine import machine_line

START = datetime(2024, 1, 1, tzinfo=UTC)
BOUGHT, VIEWED, DRAWS, NEAREST = 6, 6, 500, 5


def main() -> None:
    asked = arguments()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        items, kinds = picture_items(asked.data / "fashion_product_images", Path(folder))
        known = items.with_columns(valid_from=START + pl.duration(days=1000) * (pl.int_range(pl.len()) % 2))
        known = with_whole_paths(known, Path(folder))
        trained = ItemVectors.fit(PictureEncoder(epochs=asked.epochs), known, START, seed=0)
        vectors = trained.renewed(known, START + timedelta(days=2000))
        held = vectors.valid_from > to_us(START)
    print(f"pictures: {len(trained.item)} trained on, {held.sum()} asked, {vectors.dims} numbers each")
    place = pl.DataFrame({"item": pl.Series(vectors.item), "row": np.arange(len(held))})
    order = pl.DataFrame({"item": pl.Series(hash_texts(items["item_id"])), "kind": kinds}).join(place, on="item")
    kind = order.sort("row")["kind"].to_numpy()
    neighbours(vectors.vector[held], kind[held])
    users(vectors, items["item_id"].to_numpy(), kinds, asked.users)


def picture_items(source: Path, folder: Path) -> tuple[pl.DataFrame, NDArray[np.str_]]:
    """The items table of the pictures, written as files, and the hidden kind (subCategory) of each."""
    rows = pl.read_parquet(source / "images_sample.parquet").join(pl.read_parquet(source / "styles.parquet"), on="id")
    rows = rows.sort(pl.col("id").hash(seed=1))
    for number, jpeg in rows.select("id", "jpeg").iter_rows():
        (folder / f"{number}.jpg").write_bytes(jpeg)
    told = {"item_id": pl.format("p{}", "id"), "picture": pl.format("{}.jpg", "id")}
    columns = [told.get(n, pl.lit(None)).cast(t).alias(n) for n, t in ITEM_COLUMNS.items()]
    return rows.select(columns), rows["subCategory"].to_numpy()


def neighbours(vectors: NDArray[np.float32], kind: NDArray[np.str_]) -> None:
    """The share of the five nearest that are of the item's own kind, beside a random other item's."""
    unit = vectors - vectors.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -2)
    hit = (kind[np.argsort(-near, axis=1)[:, :NEAREST]] == kind[:, None]).mean(axis=1)
    chance = ((kind[:, None] == kind).sum(axis=1) - 1) / (len(kind) - 1)
    told("own kind among the 5 nearest", hit)
    told("own kind of a random other item", chance)
    told("difference", hit - chance)


def users(vectors: ItemVectors, names: NDArray[np.str_], kinds: NDArray[np.str_], count: int) -> None:
    """Half of the users teach, half are asked."""
    rng = np.random.default_rng(0)
    frequent = [k for k in np.unique(kinds) if (kinds == k).sum() >= 2 * (BOUGHT + VIEWED)]
    rows, y = [], np.zeros(count)
    for u in range(count):
        own, other = rng.choice(frequent, 2, replace=False)
        y[u] = rng.random() < 0.5
        strays = rng.random(VIEWED) < (0.8 if y[u] else 0.2)
        bought = rng.choice(names[kinds == own], BOUGHT + VIEWED, replace=False)
        viewed = np.where(strays, rng.choice(names[kinds == other], VIEWED, replace=False), bought[BOUGHT:])
        acts = [("order", i) for i in bought[:BOUGHT]] + [("product_view", i) for i in viewed]
        days = np.sort(rng.uniform(0, 90, len(acts)))
        rows += [(f"u{u:06d}", START + timedelta(days=1500 + d), t, i) for d, (t, i) in zip(days, acts, strict=True)]
    log = EventLog.of(events_of(rows), np.arange(count + 1) * (BOUGHT + VIEWED))
    looks = vectors.look_up(log.item, log.time).reshape(count, BOUGHT + VIEWED, -1)
    strange = looks[:, BOUGHT:].mean(axis=1) - looks[:, :BOUGHT].mean(axis=1)
    gap = np.diff(log.time.reshape(count, -1), axis=1) / 8.64e10
    plain = np.column_stack([gap, log.time.reshape(count, -1)[:, -1] / 8.64e10])
    with_looks = np.column_stack([plain, np.linalg.norm(strange, axis=1), strange])
    half = count // 2
    scores = [fitted(X[:half], y[:half]).predict_proba(X[half:])[:, 1] for X in (plain, with_looks)]
    found = paired_difference(y[half:], scores[1], scores[0])
    print(
        f"users asked: {count - half}; AUROC without looks {auroc(y[half:], scores[0]):.3f}, with {auroc(y[half:], scores[1]):.3f}"
    )
    print(f"  difference {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")


def fitted(X: NDArray[np.float64], y: NDArray[np.float64]) -> LGBMClassifier:
    return LGBMClassifier(n_estimators=150, learning_rate=0.05, num_leaves=15, verbosity=-1, n_jobs=1).fit(X, y)


def events_of(rows: list[tuple[str, datetime, str, str]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["user_id", "occurred_at", "type", "item_id"], orient="row")
    frame = frame.with_columns(ingested_at=pl.col("occurred_at"), event_id=pl.format("e{}", pl.int_range(pl.len())))
    missing = [pl.lit(None, t).alias(n) for n, t in EVENT_COLUMNS.items() if n not in frame.columns]
    return frame.with_columns(missing).select(pl.col(n).cast(t) for n, t in EVENT_COLUMNS.items())


def told(what: str, values: NDArray[np.float64]) -> None:
    """A mean with its bootstrap interval by item."""
    rng = np.random.default_rng(0)
    draws = np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(DRAWS)])
    found = Estimate.of(float(values.mean()), draws)
    print(f"  {what}: {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--users", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=8, help="passes over the pictures; 0: as many as by default")
    return parser.parse_args()


if __name__ == "__main__":
    main()
