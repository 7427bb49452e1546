"""Features of amounts: sums and means of numeric columns, discounts, refunds, single orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ebbtide.core.language import Text
from ebbtide.features.feature import Feature, SelectedFeature, Unit, Windowed, check_choice
from ebbtide.features.primitives import (
    BASKET_STATS,
    COLUMNS,
    ITEM_COLUMNS,
    PRICE_CHANGE,
    Basket,
    Cell,
    Expression,
    Latest,
    Op,
    Trace,
)
from ebbtide.features.selectors import parse_selector
from ebbtide.features.words import COLUMN_WORDS, ColumnWords


@dataclass(frozen=True)
class _Amount(Feature):
    """A feature of one numeric column over the events of a selector."""

    column: str
    of: str

    def __post_init__(self) -> None:
        check_choice(self.column, self._columns(), Text("numeric column", "数值列"))
        parse_selector(self.of)

    def _columns(self) -> tuple[str, ...]:
        return (*COLUMNS, *ITEM_COLUMNS, PRICE_CHANGE)

    @property
    def words(self) -> ColumnWords:
        """The column's words."""
        return COLUMN_WORDS[self.column]

    @property
    def slug(self) -> str:
        """Selector and column in a name."""
        return f"{parse_selector(self.of).slug}_{self.column}"

    @property
    def unit(self) -> Unit:
        return cast(Unit, self.words.unit)

    @property
    def family(self) -> str:
        own = parse_selector(self.of).family
        return own if own in ("service", "delivery") else self.words.family

    @property
    def requires(self) -> frozenset[str]:
        return parse_selector(self.of).requires | self.words.requires

    def total(self, days: float | None, *, known: bool = False) -> Cell | Trace:
        """The sum in a window, or the number of known values."""
        if self.column == PRICE_CHANGE:
            return Trace(self.of, PRICE_CHANGE, days, known)
        return Cell(self.of, days, weight=f"known:{self.column}" if known else self.column)

    def _word(self, en: str, zh: str) -> Text:
        return Text(en, zh).format(column=self.words.noun, noun=parse_selector(self.of).noun(self.outcome))


@dataclass(frozen=True)
class Sum(_Amount, Windowed):
    """Total of a numeric column; unknown values add nothing.

    >>> Sum("value", "order", days=90).description.en
    'total value of orders in the last 90 days'
    """

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_sum"

    @property
    def stem(self) -> Text:
        return self._word("total {column} of {noun}", "{noun}的{column}总和")

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (self.total(self.days),))


@dataclass(frozen=True)
class Mean(_Amount, Windowed):
    """Mean of a numeric column over the events where it is known; NaN where it is known nowhere."""

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_mean"

    @property
    def stem(self) -> Text:
        return self._word("average {column} of {noun}", "{noun}的平均{column}")

    @property
    def unit(self) -> Unit:
        return "number" if self.words.unit == "count" else super().unit

    def expression(self) -> Expression:
        return Expression(Op.RATIO, (self.total(self.days), self.total(self.days, known=True)))


@dataclass(frozen=True)
class PerOrder(_Amount, Windowed):
    """Total of a numeric column divided by the number of orders (or other events), such as the value of a basket."""

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_each"

    @property
    def stem(self) -> Text:
        return self._word("{column} for each of the {noun}", "平均每次{noun}的{column}")

    @property
    def unit(self) -> Unit:
        return "number" if self.words.unit == "count" else super().unit

    def expression(self) -> Expression:
        count = Cell(self.of, self.days, unique="order")
        return Expression(Op.RATIO, (self.total(self.days), count))


@dataclass(frozen=True)
class LastValue(_Amount):
    """The latest known value of a numeric column; NaN if there is none. Of equal times, the last event id."""

    def _columns(self) -> tuple[str, ...]:
        return COLUMNS

    @property
    def name(self) -> str:
        return f"{self.slug}_last"

    @property
    def description(self) -> Text:
        return self._word("latest {column} of {noun}", "最近一次{noun}的{column}")

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Latest(self.column, self.of),))


@dataclass(frozen=True)
class DiscountShare(SelectedFeature, Windowed):
    """Discounts as a share of what the goods would have cost: discount / (value + discount)."""

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_discount_share"

    @property
    def stem(self) -> Text:
        return Text("discount share of the price of {noun}", "{noun}的折扣占原价比例").format(noun=self.noun)

    @property
    def unit(self) -> Unit:
        return "share"

    @property
    def family(self) -> str:
        return "price"

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | {"money", "discounts"}

    def expression(self) -> Expression:
        parts = (Cell(self.of, self.days, weight="discount"), Cell(self.of, self.days, weight="value"))
        return Expression(Op.PORTION, parts)


@dataclass(frozen=True)
class RefundShare(Windowed):
    """Money refunded for each unit of money ordered in the same window; refunds are negative values."""

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return "refund_value_share"

    @property
    def stem(self) -> Text:
        return Text("refunded share of the order value", "退款占订单金额的比例")

    @property
    def unit(self) -> Unit:
        return "share"

    @property
    def family(self) -> str:
        return "service"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"orders", "refunds", "money"})

    def expression(self) -> Expression:
        parts = (Cell("refund", self.days, weight="value"), Cell("order", self.days, weight="value"))
        return Expression(Op.RATIO, parts, scale=-1.0)


_ORDER_TRAITS: dict[str, tuple[str, Unit, str, tuple[str, ...], Text]] = {
    # stat of kernels/baskets.py: name, unit, family, capabilities, words
    "first_value": ("first_order_value", "money", "tenure", ("money",), Text("value of the first order", "首单金额")),
    "first_lines": ("first_order_lines", "count", "tenure", ("order_lines",), Text("lines of the first order", "首单的商品行数")),
    "first_discount_share": ("first_order_discount_share", "share", "tenure", ("money", "discounts"), Text("discount share of the first order", "首单的折扣占比")),
    "first_coupon": ("first_order_coupon", "share", "tenure", (), Text("whether the first order used a coupon", "首单是否用券")),
    "second_after_days": ("second_order_after_days", "days", "tenure", (), Text("days from the first to the second order", "首单到第二单的天数")),
    "last_value": ("last_order_value", "money", "value", ("money",), Text("value of the latest order", "最近一单金额")),
    "largest_value": ("largest_order_value", "money", "value", ("money",), Text("value of the largest order", "最大一单金额")),
    "variation": ("order_value_variation", "ratio", "value", ("money",), Text("variation of the order values (spread over average)", "订单金额的波动（标准差除以平均值）")),
    "last_over_mean": ("last_order_value_over_mean", "ratio", "value", ("money",), Text("value of the latest order over the average one", "最近一单金额与平均单额之比")),
    "recent_over_mean": ("recent_order_value_over_mean", "ratio", "value", ("money",), Text("value of the last three orders over the average one", "最近三单金额与平均单额之比")),
}  # fmt: skip


@dataclass(frozen=True)
class OrderTrait(Feature):
    """A trait of single orders: of the first, the second, the latest, the largest, or how they vary."""

    stat: str

    def __post_init__(self) -> None:
        check_choice(self.stat, BASKET_STATS, Text("order trait", "订单特点"))

    @property
    def name(self) -> str:
        return _ORDER_TRAITS[self.stat][0]

    @property
    def unit(self) -> Unit:
        return _ORDER_TRAITS[self.stat][1]

    @property
    def family(self) -> str:
        return _ORDER_TRAITS[self.stat][2]

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"orders", *_ORDER_TRAITS[self.stat][3]})

    @property
    def description(self) -> Text:
        return _ORDER_TRAITS[self.stat][4]

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Basket(self.stat),))
