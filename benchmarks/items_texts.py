"""Texts: does the tone of a review tell its rating, and are items with like descriptions bought together?

    python benchmarks/items_texts.py [--data ../shared/data]

Reviews (amazon_reviews_small): learnt from the first two thirds by time, judged on later texts that do not stand among
them. Descriptions (online_retail): vectors of the items known by the middle of the log, baskets of the second half.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ebbtide.core.ids import hash_texts
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.ranking import auroc
from ebbtide.events.schema import ITEM_COLUMNS
from ebbtide.events.sentiment.lexicon import shipped_lexicon
from ebbtide.events.sentiment.ratings import RatedWords, weighted_ngrams
from ebbtide.events.sentiment.scorer import learn_sentiment
from ebbtide.sequences.items.text import TextEncoder
from ebbtide.sequences.items.vectors import ItemVectors
from machine import machine_line

DRAWS = 500
MIDDLE = datetime(2011, 6, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    data = parser.parse_args().data
    print(machine_line())
    reviews(data / "amazon_reviews_small")
    descriptions(pl.read_parquet(data / "online_retail" / "transactions.parquet"))


def reviews(folder: Path) -> None:
    """AUROC of praise (4, 5) against blame (1, 2), by word lists and by ratings."""
    text = pl.concat_str(pl.col("summary").fill_null(""), pl.lit(". "), pl.col("reviewText").fill_null(""))
    frames = [pl.read_parquet(folder / f"{name}.parquet") for name in ("All_Beauty_5", "AMAZON_FASHION_5")]
    rows = pl.concat(
        [f.select("unixReviewTime", text.alias("text"), rating=pl.col("overall").cast(pl.Float64)) for f in frames]
    )
    rows = rows.sort("unixReviewTime").unique("text", keep="first", maintain_order=True)
    cut = 2 * len(rows) // 3
    past, later = rows[:cut], rows[cut:].filter(pl.col("rating") != 3)
    learnt = learn_sentiment(past.select("text", "rating"))
    y = (later["rating"] >= 4).to_numpy().astype(float)
    rated = past.filter(pl.col("rating") != 3)
    by_ratings = RatedWords.fit(weighted_ngrams(rated["text"]), (rated["rating"] >= 4).to_numpy())
    words, ratings = shipped_lexicon().score(later["text"]), by_ratings.score(later["text"])
    blames = int((rated["rating"] <= 2).sum())
    print(f"reviews: {len(rated)} rated texts to learn from, {blames} of them blame; {len(y)} later ones, {int((1 - y).sum())} blame; "
          f"the rule chooses the {'ratings' if learnt.learnt else 'word lists'}")  # fmt: skip
    for what, score in (("word lists", words), ("learnt from ratings", ratings)):
        rng = np.random.default_rng(0)
        draws = np.array([auroc(y[d], score[d]) for d in (rng.integers(0, len(y), len(y)) for _ in range(DRAWS))])
        print(f"  {what}: AUROC {show(Estimate.of(auroc(y, score), draws))}")
    print(f"  difference: {show(paired_difference(y, ratings, words))}")


def descriptions(lines: pl.DataFrame) -> None:
    """How often an item and its nearest neighbour by text share a basket, over what independence would give; beside the
    same for another random item of like sales."""
    lines = lines.filter(pl.col("Description").is_not_null() & (pl.col("Quantity") > 0)).sort("InvoiceDate")
    names = lines.filter(pl.col("InvoiceDate") < MIDDLE).group_by("StockCode").agg(pl.col("Description").first())
    told = {"item_id": "StockCode", "text": "Description"}
    columns = [(pl.col(told[n]) if n in told else pl.lit(None)).cast(t).alias(n) for n, t in ITEM_COLUMNS.items()]
    items = names.sort("StockCode").select(columns)
    moment = MIDDLE.replace(tzinfo=UTC)
    vectors = ItemVectors.fit(TextEncoder(64), items, moment, seed=0)
    baskets = lines.filter(pl.col("InvoiceDate") >= MIDDLE).select("InvoiceNo", "StockCode").unique()
    sold = baskets.group_by("StockCode").len().filter(pl.col("len") >= 20).join(names, on="StockCode").sort("StockCode")
    V = vectors.look_up(hash_texts(sold["StockCode"]), 2**62)
    unit = V / np.linalg.norm(V, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -2)
    together, count, size = baskets_of(baskets, sold["StockCode"])
    expected = np.outer(count, count) / size
    rng = np.random.default_rng(0)
    rank = np.argsort(count, kind="stable")
    place = np.argsort(rank)
    step = rng.choice([-3, -2, -1, 1, 2, 3], len(count))
    like = rank[np.clip(place + step, 0, len(count) - 1)]
    n = np.arange(len(count))
    print(
        f"descriptions: {len(items)} texts known at the middle, {len(count)} items sold in 20 or more of {size:,} later baskets"
    )
    pairs = {"nearest by text": near.argmax(axis=1), "random of like sales": like}
    for what, other in pairs.items():
        print(f"  {what}: together {show(ratio(together[n, other], expected[n, other]))} times as often as by chance")


def baskets_of(baskets: pl.DataFrame, codes: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Baskets with both (I, I), with each (I,), and in all."""
    column = pl.DataFrame({"StockCode": codes, "column": np.arange(len(codes))})
    rows = baskets.join(column, on="StockCode").with_columns(row=pl.col("InvoiceNo").rank("dense") - 1)
    at = rows["row"].to_numpy().astype(int), rows["column"].to_numpy()
    M = csr_matrix((np.ones(len(rows)), at))
    return np.asarray((M.T @ M).todense()), np.asarray(M.sum(axis=0)).ravel(), baskets["InvoiceNo"].n_unique()


def ratio(seen: NDArray[np.float64], expected: NDArray[np.float64]) -> Estimate:
    """Sum over sum, with its bootstrap interval by item."""
    rng = np.random.default_rng(0)
    draws = [seen[d].sum() / expected[d].sum() for d in (rng.integers(0, len(seen), len(seen)) for _ in range(DRAWS))]
    return Estimate.of(float(seen.sum() / expected.sum()), np.array(draws))


def show(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


if __name__ == "__main__":
    main()
