"""Why an item is on a list, in words: each said only where it is a fact of the user's history or of the shop's log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.recommend.evidence import Candidates
from ebbtide.actions.recommend.interactions import Interactions
from ebbtide.actions.recommend.tables import ItemTables
from ebbtide.core.language import Text

Name = Callable[[str], str]
"""What an item is called in a sentence."""
SENTENCES = {
    "again": Text("usually again after {days:.0f} days", "通常约 {days:.0f} 天后再次购买"),
    "bought": Text("bought before", "曾经购买"),
    "cart": Text("was put into the cart", "曾加入购物车"),
    "wish": Text("is on the wish list", "在收藏夹中"),
    "viewed": Text("looked at {days:.0f} days ago", "{days:.0f} 天前浏览过"),
    "viewed_today": Text("looked at in the last day", "最近一天内浏览过"),
    "together": Text("often bought with {other}", "常与 {other} 一起购买"),
    "shared": Text("chosen by customers who chose {other}", "选择 {other} 的顾客也选择了它"),
    "taste": Text("chosen by customers with similar taste", "品味相近的顾客选择了它"),
    "popular": Text("popular now", "近期热销"),
}
CODES = tuple(SENTENCES)


@dataclass(frozen=True)
class Why:
    """A code of `SENTENCES`, and what the sentence needs: days, or the other item's id."""

    code: str
    days: float | None = None
    other: str | None = None

    def text(self, name: Name = str) -> Text:
        """The sentence in both languages."""
        return SENTENCES[self.code].format(days=self.days, other=name(self.other) if self.other else "")


def why(candidates: Candidates, known: Interactions, tables: ItemTables) -> list[Why]:
    """The first thing that holds of each candidate: bought before, interest shown, goes with something, taste, popular."""
    column = {n: candidates.column(n) for n in _NEEDED}
    return [_why(row, candidates, column, known, tables) for row in range(len(candidates.user))]


_NEEDED = (
    "bought", "own_gap", "item_gap", "viewed", "viewed_days", "carted_14d", "wished_30d", "together", "shared", "als_rank",
)  # fmt: skip
_CLOSE_TASTE = 50


def _why(
    row: int, candidates: Candidates, column: dict[str, NDArray[np.float32]], known: Interactions, tables: ItemTables
) -> Why:
    told = {name: float(values[row]) for name, values in column.items()}
    if told["bought"] > 0:
        gap = told["own_gap"] if told["own_gap"] >= 1 else told["item_gap"]
        return Why("again", days=gap) if gap >= 1 else Why("bought")
    if told["carted_14d"] > 0.1:
        return Why("cart")
    if told["wished_30d"] > 0.1:
        return Why("wish")
    if told["viewed"] > 0:
        days = told["viewed_days"]
        return Why("viewed", days=days) if days >= 1 else Why("viewed_today")
    for name in ("together", "shared"):
        if told[name] > 0:
            other = _strongest(int(candidates.user[row]), int(candidates.item[row]), known, tables, name)
            return Why(name, other=str(tables.items[other]))
    return Why("taste") if told["als_rank"] < _CLOSE_TASTE else Why("popular")


def _strongest(user: int, item: int, known: Interactions, tables: ItemTables, name: str) -> int:
    """The item of the user's history that speaks most for `item`."""
    met = np.unique(known.item[known.start[user] : known.start[user + 1]])
    strength = getattr(tables, name).strength[met][:, [item]].toarray().ravel()
    return int(met[int(np.argmax(strength))])
