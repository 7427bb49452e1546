"""Sentiment by word lists, English and Chinese at once: transparent, nothing to fit.

Words and short phrases count +1 or -1; a negator turns the next one of the same clause; with P positive and N negative
ones the score is (P - N) / (P + N + 1), from -1 to 1, so that one word alone says half.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
import polars as pl
from numpy.typing import NDArray

_LANGUAGES = ("en", "zh")
_CHUNK = 50_000
_FEW, _REMEMBERED = 64, 20_000
_BREAK = "."
_CLAUSE_ENDS = r"[.,;:!?()\n。，；：！？（）…~、]"
_NO_WORD = r"[^\p{L}\p{N}'+.]+"
_NEGATES, _BREAKS = 9.0, 8.0


@dataclass(frozen=True)
class Lexicon:
    """`weights`: what is looked for -> 1 positive, -1 negative, 0 neutral (it only keeps its parts from being read), 9 a
    negator, 8 the end of a clause. The longest of those that begin at a place counts."""

    weights: dict[str, float]
    _known: dict[str | None, float] = field(default_factory=dict, repr=False, compare=False)

    def score(self, texts: pl.Series) -> NDArray[np.float64]:
        """Of each text, (N,), from -1 to 1; 0 where no word of the lists stands, NaN for null.

        Of few texts each is remembered: searching for all words costs milliseconds, however short the text.
        """
        if len(texts) > _FEW:
            return self._score(texts)
        listed = texts.to_list()
        new = [t for t in dict.fromkeys(listed) if t not in self._known]
        if new:
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            self._known.update(zip(new, self._score(pl.Series(new, dtype=pl.String)).tolist(), strict=True))
        return np.array([self._known[t] for t in listed], np.float64)

    def _score(self, texts: pl.Series) -> NDArray[np.float64]:
        return np.concatenate([np.zeros(0), *(self._chunk(t) for t in texts.to_frame("text").iter_slices(_CHUNK))])

    def _chunk(self, texts: pl.DataFrame) -> NDArray[np.float64]:
        words = texts.select(
            pl.int_range(pl.len()).alias("row"),
            _spaced(pl.col("text")).str.extract_many(list(self.weights), leftmost=True).alias("word"),
        )
        told = words.explode("word", empty_as_null=False, keep_nulls=False).with_columns(
            pl.col("word").replace_strict(self.weights, return_dtype=pl.Float64).alias("weight")
        )
        before = pl.col("weight").shift(1).over("row")
        turned = pl.when(before == _NEGATES).then(-pl.col("weight")).otherwise(pl.col("weight"))
        sums = (
            told.with_columns(turned.alias("signed"))
            .filter(pl.col("weight").abs() == 1)
            .group_by("row")
            .agg((pl.col("signed") > 0).sum().alias("p"), (pl.col("signed") < 0).sum().alias("n"))
        )
        found = words.select("row").join(sums, on="row", how="left", maintain_order="left").fill_null(0)
        p, n = found["p"].to_numpy().astype(np.float64), found["n"].to_numpy().astype(np.float64)
        return np.where(texts["text"].is_null().to_numpy(), np.nan, (p - n) / (p + n + 1))


@cache
def shipped_lexicon() -> Lexicon:
    """The word lists that come with Ebbtide, read once."""
    weights: dict[str, float] = {}
    for language in _LANGUAGES:
        text = (files("ebbtide.events.sentiment") / "words" / f"{language}.toml").read_text(encoding="utf-8")
        lists = tomllib.loads(text)
        for kind, weight in (("neutral", 0.0), ("positive", 1.0), ("negative", -1.0), ("negators", _NEGATES)):
            weights |= {word.strip(): weight for word in re.split(r"[,\n]", lists[kind]) if word.strip()}
    longest_first = sorted(weights, key=lambda word: (-len(word), word))
    return Lexicon({_BREAK: _BREAKS} | {_bounded(word): weights[word] for word in longest_first})


def _spaced(text: pl.Expr) -> pl.Expr:
    """Lower case, two blanks between words, a dot between clauses: so that a word is found by the blanks around it."""
    plain = pl.concat_str(pl.lit(" "), text.str.to_lowercase(), pl.lit(" ")).str.replace_all("[’‘`´]", "'")
    return plain.str.replace_all(_CLAUSE_ENDS, " . ").str.replace_all(_NO_WORD, "  ")


def _bounded(word: str) -> str:
    """A word of the lists as it stands in a spaced text: English ones between blanks, `n't` at the end of a word.

    >>> _bounded("as described"), _bounded("n't"), _bounded("好用")
    (' as  described ', "n't ", '好用')
    """
    if not word[0].isascii():
        return word
    start = "" if word.startswith("n't") else " "
    return start + word.replace(" ", "  ") + " "
