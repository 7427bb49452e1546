"""What can be set about the simulated shop, and the closed lists that its log is written with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ebbtide.core.errors import InputError
from ebbtide.events.simulator.character import USUAL, Character

CAUSES: tuple[str, ...] = ("natural", "late_delivery", "bad_service", "price", "boredom", "doubt")
"""Why a customer leaves. `natural` has no cause that the shop could know of; `doubt` is a mood that shows in the order
of events alone: see `mood` and `arrangement`."""

ACTIONS: tuple[str, ...] = ("nothing", "message", "coupon", "call")
"""The arms of every campaign; `nothing` is control."""


@dataclass(frozen=True)
class SimulationConfig:
    """The shop to simulate. The log covers `[start, start + days)`, midnight UTC to midnight UTC.

    A cause's number scales its hazard: 0 switches it off, 1 is the usual strength; the usual shop has no doubt, and
    without it nobody has moods. `campaign_effect` scales what
    every action does to rate and hazard; 0 makes every campaign useless. A campaign goes to `campaign_share` of those who
    may be written to and have not ordered for `campaign_silent_days` or longer; `campaign_control` of them get nothing,
    the others one of the actions, all alike. `duplicates` and `dirt` are shares of rows
    in the written files that are exact copies, or unusable; the frames of `simulate` carry neither. `eligible_days`:
    the written workspace asks about users with an order in so many days.

    >>> SimulationConfig(users=10, days=30).end.isoformat()
    '2024-01-31T00:00:00+00:00'

    Raises InputError if a number is out of its range.
    """

    users: int = 2000
    days: int = 540
    start: date = date(2024, 1, 1)
    seed: int = 0
    currency: str = "EUR"
    items_per_category: int = 60
    natural: float = 1.0
    late_delivery: float = 1.0
    bad_service: float = 1.0
    price: float = 1.0
    boredom: float = 1.0
    doubt: float = 0.0
    campaign_every_days: int = 90
    campaign_effect: float = 1.0
    campaign_share: float = 0.5
    campaign_silent_days: int = 0
    campaign_control: float = 0.4
    duplicates: float = 0.002
    dirt: float = 0.0
    eligible_days: int = 90
    character: Character = USUAL

    def __post_init__(self) -> None:
        ranges = {
            "users": (self.users, 1, 100_000_000),
            "days": (self.days, 1, 3660),
            "seed": (self.seed, 0, 2**63 - 1),
            "items_per_category": (self.items_per_category, 4, 100_000),
            "campaign_every_days": (self.campaign_every_days, 1, 3660),
            "eligible_days": (self.eligible_days, 1, 3660),
            "campaign_share": (self.campaign_share, 0.0, 1.0),
            "campaign_silent_days": (self.campaign_silent_days, 0, 3660),
            "campaign_control": (self.campaign_control, 0.0, 1.0),
            "duplicates": (self.duplicates, 0.0, 0.5),
            "dirt": (self.dirt, 0.0, 0.5),
            **{name: (getattr(self, name), 0.0, 100.0) for name in (*CAUSES, "campaign_effect")},
        }
        for name, (value, low, high) in ranges.items():
            if not low <= value <= high:
                raise InputError(
                    "{name} must lie between {low} and {high}, not {value}",
                    "{name} 必须在 {low} 与 {high} 之间，而不是 {value}",
                    name=name, low=low, high=high, value=value,
                )  # fmt: skip

    @property
    def start_at(self) -> datetime:
        """The first moment of the log."""
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The moment at which the log was exported: nothing in it happened or arrived later."""
        return self.start_at + timedelta(days=self.days)

    @property
    def strengths(self) -> tuple[float, ...]:
        """One factor a cause, in the order of `CAUSES`."""
        return tuple(float(getattr(self, name)) for name in CAUSES)


CATEGORIES: tuple[str, ...] = (
    "shoes", "shirts", "jackets", "bags", "kitchen", "lamps", "bedding", "garden",
    "toys", "books", "audio", "phones", "sports", "bikes", "beauty", "pets",
)  # fmt: skip
CATEGORY_PRICE: tuple[float, ...] = (62, 28, 95, 55, 34, 48, 52, 30, 24, 16, 80, 140, 40, 180, 22, 26)
BRANDS: tuple[str, ...] = (
    "Alder", "Birk", "Coro", "Dune", "Elva", "Fjord", "Gala", "Holm", "Iris", "Juno", "Kite", "Lune",
    "Mistral", "Nord", "Oak", "Pine", "Quill", "Rove", "Sol", "Tarn", "Umber", "Vale", "Wren", "Yarrow",
)  # fmt: skip
CHANNELS: tuple[str, ...] = ("web", "app", "email", "ads")
DEVICES: tuple[str, ...] = ("desktop", "mobile", "tablet")
COUNTRIES: tuple[str, ...] = ("DE", "FR", "NL", "AT", "BE")
COUNTRY_SHARE: tuple[float, ...] = (0.45, 0.22, 0.15, 0.1, 0.08)

QUERY_WORDS: tuple[str, ...] = ("", "new ", "sale ", "cheap ", "best ", "gift ")
QUERIES: tuple[str, ...] = tuple(f"{word}{category}" for category in CATEGORIES for word in QUERY_WORDS)

TOPICS: tuple[str, ...] = ("delivery", "refund", "product", "account")
EARLIEST, LATEST = -2, 14
NOTES: tuple[str, ...] = (
    *(f'{{"days_late": {n}}}' for n in range(EARLIEST, LATEST + 1)),
    *(f'{{"topic": "{t}", "resolved": {r}}}' for t in TOPICS for r in ("false", "true")),
    '{"sort": "price"}',
    '{"raw_type": "retention_call"}',
    '{"step": "payment"}',
)
"""JSON texts of `properties`: delays, then support topics (open, solved), then the rest."""
NOTE_SUPPORT = LATEST - EARLIEST + 1
NOTE_SORT = NOTE_SUPPORT + 2 * len(TOPICS)
NOTE_CALL = NOTE_SORT + 1
NOTE_STEP = NOTE_SORT + 2

REVIEW_TEXTS: tuple[tuple[str, ...], ...] = (
    ("Never again.", "Broken on arrival."),
    ("Not what I expected.", "Poor quality."),
    ("It is all right.", "Average."),
    ("Good.", "Does what it should."),
    ("Love it!", "Excellent, would buy again."),
)
LATE_TEXTS: tuple[str, ...] = ("Came far too late.", "Waited for days, nobody told me anything.")
SUPPORT_TEXTS: tuple[tuple[str, str], ...] = (
    ("Where is my parcel? Still no answer.", "Where is my parcel? Thanks, it is found."),
    ("I am still waiting for my money back.", "Thank you for the quick refund."),
    ("The item is defective and nobody helps.", "Replaced at once, thank you."),
    ("I still cannot log in.", "My account works again."),
)
TEXTS: tuple[str, ...] = (
    *(text for pair in REVIEW_TEXTS for text in pair),
    *LATE_TEXTS,
    *(text for pair in SUPPORT_TEXTS for text in pair),
)
TEXT_LATE = 2 * len(REVIEW_TEXTS)
TEXT_SUPPORT = TEXT_LATE + len(LATE_TEXTS)

RING = 64
"""Consequences reach a customer within fewer days than this."""
