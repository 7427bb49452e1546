"""The sentiment of an event's text: by the shipped word lists, or learnt from ratings where that reads better.

Whether it does is judged on texts that were not learnt from, and only where at least 50 praise and 50 blame.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from ebbtide.core.ids import hash_texts
from ebbtide.core.ngrams import HASHES
from ebbtide.events.capabilities import FEEDBACK_TYPES
from ebbtide.events.sentiment.lexicon import shipped_lexicon
from ebbtide.events.sentiment.ratings import BAD, GOOD, RatedWords, weighted_ngrams

ENOUGH = 50
_MOST_TEXTS = 20_000
_FOLDS = 5
_FEW = 64  # texts among which looking for equal ones costs more than it saves
_ABOUT, _ARRAYS = "sentiment.json", "sentiment.npz"


@dataclass(frozen=True)
class Sentiment:
    """Scores texts from -1 to 1. `learnt` None: by the word lists. `rated`: how many distinct texts had a rating that
    praised or blamed; `by_words`, `by_ratings`: how well both told these apart (AUROC), where they were compared."""

    learnt: RatedWords | None = None
    rated: int = 0
    by_words: float | None = None
    by_ratings: float | None = None

    def score(self, texts: pl.Series) -> NDArray[np.float64]:
        """Of each text, (N,); NaN for null. A distinct text is read once."""
        reader = self.learnt or shipped_lexicon()
        if len(texts) <= _FEW and not texts.null_count():
            return reader.score(texts)
        distinct = texts.drop_nulls().unique()
        known = pl.DataFrame({"text": distinct, "score": reader.score(distinct)})
        found = texts.to_frame("text").join(known, on="text", how="left", maintain_order="left")["score"]
        return np.asarray(found.fill_null(np.nan).to_numpy(), np.float64)

    def of_events(self, events: pl.DataFrame) -> NDArray[np.float64]:
        """Of each event, (N,): the text of a review or a support contact; of a search, its query if a word of the lists
        stands in it ("cancel my order"); NaN for all else.
        """
        out = np.full(len(events), np.nan)
        said = events.select(
            spoken=pl.col("type").is_in(FEEDBACK_TYPES) & pl.col("text").is_not_null(),
            asked=(pl.col("type") == "search") & pl.col("query").is_not_null(),
        )
        spoken, asked = (np.flatnonzero(said[name].to_numpy()) for name in ("spoken", "asked"))
        if len(spoken):
            out[spoken] = self.score(events["text"].gather(spoken))
        if len(asked):
            found = SHIPPED_SENTIMENT.score(events["query"].gather(asked))
            out[asked] = np.where(found == 0, np.nan, found)
        return out

    def save(self, folder: Path) -> None:
        """Write `sentiment.json` and, if it was learnt, `sentiment.npz`."""
        about = {name: getattr(self, name) for name in ("rated", "by_words", "by_ratings")}
        (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        if self.learnt is not None:
            at = np.flatnonzero(self.learnt.weight)
            np.savez_compressed(folder / _ARRAYS, at=at, weight=self.learnt.weight[at], bias=self.learnt.bias)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        if not (folder / _ARRAYS).is_file():
            return cls(None, **about)
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            weight = np.zeros(HASHES, np.float32)
            weight[arrays["at"]] = arrays["weight"]
            return cls(RatedWords(weight, float(arrays["bias"])), **about)


SHIPPED_SENTIMENT = Sentiment()
"""By the word lists alone."""


def learn_sentiment(reviews: pl.DataFrame) -> Sentiment:
    """Choose the reader by rated texts (columns text, rating), in any order: what was known when training ended.

    Texts with several ratings count once, with their mean; beyond 20,000, a stable sample is used.
    """
    rated = reviews.drop_nulls().group_by("text").agg(pl.col("rating").mean())
    rated = rated.filter((pl.col("rating") >= GOOD) | (pl.col("rating") <= BAD)).sort("text")
    rated = rated[np.sort(np.argsort(hash_texts(rated["text"], seed=1), kind="stable")[:_MOST_TEXTS])]
    texts, praises = rated["text"], (rated["rating"] >= GOOD).to_numpy()
    if min(praises.sum(), (~praises).sum()) < ENOUGH:
        return Sentiment(rated=len(rated))
    fold = hash_texts(texts, seed=2) % np.uint64(_FOLDS)
    counts, unseen = weighted_ngrams(texts), np.zeros(len(texts))
    for held in range(_FOLDS):
        inside = fold == held
        unseen[inside] = RatedWords.fit(counts[~inside], praises[~inside]).score_counts(counts[inside])
    by_words = float(roc_auc_score(praises, shipped_lexicon().score(texts)))
    by_ratings = float(roc_auc_score(praises, unseen))
    learnt = RatedWords.fit(counts, praises) if by_ratings > by_words else None
    return Sentiment(learnt, len(texts), by_words, by_ratings)
