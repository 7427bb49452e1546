"""What makes one simulated shop another shop than the next: its range of goods, its pace, how people look around in it."""

from __future__ import annotations

from dataclasses import dataclass

from ebbtide.core.errors import InputError


@dataclass(frozen=True)
class Character:
    """The nature of a shop; the defaults are the usual one.

    `prefix` stands before every item id. `pace` and `prices` are factors on everybody's order rate and on every list
    price. `visits`: visits without order for each order; `looks`: products looked at in a visit beyond the first.
    Shares of looks: that follow a page, a search, a list; that end on the wish list or in the cart; `again`, that go
    back to a product of this visit or of the one before. `removals` is a share of what went into the cart. `season`
    scales the seasons, `season_shift_days` moves them through the year. `grammar` numbers the way in which moods show
    in the order of events: each number is a perturbation of number 0.

    Raises InputError if a number is out of its range.
    """

    prefix: str = ""
    pace: float = 1.0
    prices: float = 1.0
    visits: float = 5.0
    looks: float = 0.8
    pages: float = 0.0
    searches: float = 0.28
    lists: float = 0.14
    wishes: float = 0.04
    carts: float = 0.09
    removals: float = 0.35
    again: float = 0.0
    season: float = 1.0
    season_shift_days: int = 0
    grammar: int = 0

    def __post_init__(self) -> None:
        shares = ("pages", "searches", "lists", "wishes", "carts", "removals", "again")
        ranges = {
            "pace": (0.01, 20.0), "prices": (0.01, 1000.0), "visits": (0.0, 100.0), "looks": (0.0, 20.0),
            "season": (0.0, 2.0), "season_shift_days": (-366, 366), "grammar": (0, 2**31), **dict.fromkeys(shares, (0.0, 1.0)),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(
                    "{name} must lie between {low} and {high}, not {value}",
                    "{name} 必须在 {low} 与 {high} 之间，而不是 {value}",
                    name=name, low=low, high=high, value=getattr(self, name),
                )  # fmt: skip
        if self.searches + self.lists > 1 or self.wishes + self.carts > 1:
            raise InputError(
                "a look follows a search or a list, and ends on the wish list or in the cart: searches + lists and "
                "wishes + carts must be at most 1",
                "一次浏览来自搜索或列表，并以心愿单或购物车结束：searches + lists 与 wishes + carts 都不得超过 1",
            )


USUAL = Character()
