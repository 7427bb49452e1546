"""The item vectors of a workspace: which encoder suits its items, fitted on what was known at a moment."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import polars as pl

from ebbtide.core.config import Config
from ebbtide.core.language import Text, join_texts
from ebbtide.sequences.items.encoders import ENCODERS, make_encoder
from ebbtide.sequences.items.vectors import ItemVectors, known_items

_PROBLEMS = {
    "empty": Text("{n:,} without one", "{n:,} 个没有"),
    "unreadable": Text("{n:,} unlike anything known", "{n:,} 个与已知内容毫无相似"),
    "missing_file": Text("{n:,} whose file is not there", "{n:,} 个文件不存在"),
    "broken_file": Text("{n:,} whose file is no readable image", "{n:,} 个文件不是可读图片"),
    "link": Text("{n:,} that are links, which are not followed", "{n:,} 个是链接（不会访问）"),
    "other_length": Text("{n:,} of another length", "{n:,} 个长度不同"),
}


def suitable_encoder(items: pl.DataFrame) -> str:
    """What `items.encoder = "auto"` means here: ready vectors if there are any, else texts, else none. Pictures take
    minutes and must be asked for."""
    for column, name in (("vector", "vector"), ("text", "text")):
        if items[column].null_count() < len(items):
            return name
    return "none"


def fit_item_vectors(config: Config, root: Path, items: pl.DataFrame, until: datetime) -> ItemVectors | None:
    """Vectors of the items that counted by `until`; None where `items.encoder` is none, or auto finds nothing.

    `items` is the lake's items table. Raises DataError if the encoder asked for finds nothing to learn from.
    """
    told = with_whole_paths(items, root)
    name = config.items.encoder
    if name == "auto":
        name = suitable_encoder(known_items(told, until))  # type: ignore[assignment]
    if name == "none":
        return None
    return ItemVectors.fit(make_encoder(name, config.items, root), told, until, seed=config.train.seed)


def with_whole_paths(items: pl.DataFrame, root: Path) -> pl.DataFrame:
    """Pictures as absolute paths: they are given relative to the workspace. Links stay as they are."""
    here = pl.col("picture").str.starts_with("/") | pl.col("picture").str.contains("://", literal=True)
    whole = pl.when(here).then(pl.col("picture")).otherwise(pl.lit(f"{root.resolve()}/") + pl.col("picture"))
    return items.with_columns(whole.alias("picture"))


def problem_line(vectors: ItemVectors) -> Text | None:
    """What could not be used, in a sentence; None if all could."""
    problems = Counter(vectors.problems)
    if not problems:
        return None
    parts = [_PROBLEMS[kind].format(n=count) for kind, count in sorted(problems.items())]
    column = ENCODERS[vectors.encoder.name].column
    return Text(
        "rows of the items table whose `{column}` gave no vector: {parts}",
        "商品表中 `{column}` 未能生成向量的行：{parts}",
    ).format(column=column, parts=join_texts(parts))
