"""What may be shown and what it is called: the items table, the stock rule and a list of ids to leave out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.errors import ConfigError, InputError
from ebbtide.core.language import Text
from ebbtide.sequences.items.vectors import known_items

_LONGEST_NAME = 80


@dataclass(frozen=True)
class Assortment:
    """`in_stock`: ids that the stock rule lets through, None without a rule. `left_out`: ids that are not shown."""

    names: Mapping[str, str]
    in_stock: frozenset[str] | None
    left_out: frozenset[str]

    def name(self, item: str) -> str:
        """What the item is called: the first line of its text, cut to 80 characters; else its id."""
        return self.names.get(item, item)

    def allowed(self, items: pl.Series) -> NDArray[np.bool_]:
        """Which of these items may be shown, (I,). With a stock rule, items that the table does not know may not."""
        shown = [i not in self.left_out and (self.in_stock is None or i in self.in_stock) for i in items]
        return np.asarray(shown, np.bool_)


def assortment_at(items: pl.DataFrame, as_of: datetime, rule: str, without: Path | None) -> Assortment:
    """The items as known at `as_of`, each by its newest row.

    Raises ConfigError for a stock rule that cannot be asked, InputError for a file that cannot be read.
    """
    known = known_items(items, as_of).sort("item_id", "valid_from", nulls_last=False)
    newest = known.unique("item_id", keep="last", maintain_order=True)
    told = newest.filter(pl.col("text").is_not_null()).select("item_id", "text").iter_rows()
    names = {item: _name(text) or item for item, text in told}
    return Assortment(names, _in_stock(newest, rule) if rule else None, _ids(without) if without else frozenset())


def _name(text: str) -> str:
    line = text.strip().splitlines()[0].strip() if text.strip() else ""
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def _in_stock(items: pl.DataFrame, rule: str) -> frozenset[str]:
    try:
        with duckdb.connect() as connection:
            connection.register("items", items.to_arrow())
            rows = connection.execute(f"select item_id from items where ({rule})").fetchall()
    except duckdb.Error as fault:
        reason = str(fault).splitlines()[0]
        raise ConfigError(
            [
                Text(
                    f"recommend.in_stock: no SQL condition over the columns of the items table ({reason})",
                    f"recommend.in_stock：不是对商品表各列的 SQL 条件（{reason}）",
                )
            ]
        ) from None
    return frozenset(row[0] for row in rows)


def _ids(file: Path) -> frozenset[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            "--without: `{file}` cannot be read: give a UTF-8 text file with one item id a line",
            "--without：无法读取 `{file}`：请给出每行一个商品 id 的 UTF-8 文本文件",
            file=file.name,
        ) from None
    return frozenset(line.strip() for line in lines if line.strip())
