"""What a report shows, as plain frozen data: the pipeline fills it, the page only lays it out.

Shares and probabilities are fractions in [0, 1], money is in the shop's currency, times are UTC. An empty tuple
means "not known for this shop"; the page then says so instead of drawing nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ebbtide.core.language import Text


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95 % interval; an end is None where none can be given."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class BandTotal:
    """One risk band: its lower probability limit (0 for the lowest) and who and what is in it."""

    name: str
    limit: float
    users: int
    expected_churners: float
    value_at_risk: float | None


@dataclass(frozen=True)
class Histogram:
    """Counts between edges: `len(edges) == len(counts) + 1`, bins `[edge, next edge)`, the last one closed."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ReasonLine:
    """One reason, in the language of the report; `raises` tells whether it pushes the risk up."""

    text: str
    raises: bool


@dataclass(frozen=True)
class AtRiskUser:
    """One row of the top of the list."""

    user_id: str
    churn_probability: float
    percentile: float
    band: str
    expected_orders: float | None
    value_at_risk: float | None
    reasons: tuple[ReasonLine, ...]


@dataclass(frozen=True)
class Driver:
    """A feature family and its mean absolute contribution to the score, in log-odds, over the explained users."""

    family: Text
    mean_size: float
    share_raising: float


@dataclass(frozen=True)
class CurvePoint:
    """A point of a curve with its interval: gain (contacted, found), survival (days, still active)."""

    x: float
    y: Interval


@dataclass(frozen=True)
class CalibrationBin:
    """Users of similar predicted probability: the mean prediction beside the share that really left."""

    predicted: float
    observed: Interval
    users: int


@dataclass(frozen=True)
class Metric:
    """One figure of quality from the honest test moment."""

    name: Text
    meaning: Text
    value: Interval
    percent: bool = False


@dataclass(frozen=True)
class BacktestMoment:
    """The same model policy at one past moment."""

    as_of: datetime
    users: int
    churn_rate: float
    predicted_rate: float
    auroc: Interval | None
    calibration_error: float | None


@dataclass(frozen=True)
class RetentionRow:
    """Buyers of one first-order period, and the share of them who ordered again in period 0, 1, 2, ...; None: not over."""

    period: str
    users: int
    shares: tuple[float | None, ...]


@dataclass(frozen=True)
class SliceRow:
    """One group of users at the test moment. `enough` is False where the group is too small to judge."""

    kind: Text
    group: Text
    users: int
    churn_rate: float
    auroc: Interval | None
    enough: bool


@dataclass(frozen=True)
class SourceCount:
    """The accounting of one source: read = accepted + quarantined + filtered + duplicates."""

    name: str
    read: int
    accepted: int
    quarantined: int
    filtered: int
    duplicates: int


@dataclass(frozen=True)
class DataHealth:
    """What the log holds and what it lacks."""

    events: int
    users: int
    first: datetime
    last: datetime
    sources: tuple[SourceCount, ...] = ()
    quarantine: tuple[tuple[Text, int], ...] = ()
    capabilities: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    warnings: tuple[Text, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """Everything on the page, in the order of the page.

    `is_table`: it tells of a ready-made table, which has no events, orders or money; the parts that live on those are
    not on the page, and `notes` say what was found in the table.
    """

    shop: str
    currency: str
    as_of: datetime
    definition: Text
    model: str
    users: int
    users_at_risk: int
    quality_index: float | None
    advice: Text
    bands: tuple[BandTotal, ...]
    distribution: Histogram
    top: tuple[AtRiskUser, ...]
    retention_unit: Text
    health: DataHealth | None = None
    drivers: tuple[Driver, ...] = ()
    gain: tuple[CurvePoint, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    metrics: tuple[Metric, ...] = ()
    tested_at: datetime | None = None
    backtest: tuple[BacktestMoment, ...] = ()
    retention: tuple[RetentionRow, ...] = ()
    survival: tuple[CurvePoint, ...] = ()
    silence_days: float = 0.0
    slices: tuple[SliceRow, ...] = ()
    card: tuple[tuple[Text, Text], ...] = ()
    is_table: bool = False
    notes: tuple[Text, ...] = ()
