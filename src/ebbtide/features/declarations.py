"""Every kind of feature that can be declared, in one place to import from."""

from __future__ import annotations

from ebbtide.features.amounts import DiscountShare, LastValue, Mean, OrderTrait, PerOrder, RefundShare, Sum
from ebbtide.features.behaviour import Entropy, FavouriteShare, VisitTrait
from ebbtide.features.comparing import Ratio, Shift, Trend
from ebbtide.features.counting import (
    ActiveBlocks,
    ActiveDays,
    Count,
    Distinct,
    Followed,
    LagBlock,
    Novelty,
    Share,
)
from ebbtide.features.feature import Feature, Unit, Windowed
from ebbtide.features.timing import Calendar, Decayed, Gap, GapQuantile, Lifetime, Rate, Recency, Tenure
from ebbtide.features.tone import LastTone, Tone

KINDS: dict[str, type[Feature]] = {
    kind.__name__: kind
    for kind in (
        ActiveBlocks, ActiveDays, Calendar, Count, Decayed, DiscountShare, Distinct, Entropy, FavouriteShare, Followed,
        Gap, GapQuantile, LagBlock, LastTone, LastValue, Lifetime, Mean, Novelty, OrderTrait, PerOrder, Rate, Ratio, Recency,
        RefundShare, Share, Shift, Sum, Tenure, Tone, Trend, VisitTrait,
    )
}  # fmt: skip
"""Each kind by the name that it has in JSON."""

__all__ = [
    "KINDS", "ActiveBlocks", "ActiveDays", "Calendar", "Count", "Decayed", "DiscountShare", "Distinct", "Entropy",
    "FavouriteShare", "Feature", "Followed", "Gap", "GapQuantile", "LagBlock", "LastTone", "LastValue", "Lifetime", "Mean",
    "Novelty", "OrderTrait", "PerOrder", "Rate", "Ratio", "Recency", "RefundShare", "Share", "Shift", "Sum", "Tenure",
    "Tone", "Trend", "Unit", "VisitTrait", "Windowed",
]  # fmt: skip
