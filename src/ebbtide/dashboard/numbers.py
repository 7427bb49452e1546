"""How figures are written on the page, the same in both languages; None is an en dash."""

from __future__ import annotations

from datetime import datetime

from ebbtide.pipeline.report_data import Interval

_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "CNY": "¥", "JPY": "¥"}
_NONE = "–"


def percent(share: float | None, places: int = 0) -> str:
    """A fraction as a percentage.

    >>> percent(0.125, 1), percent(None)
    ('12.5%', '–')
    """
    return _NONE if share is None else f"{share:.{places}%}"


def number(value: float | None, places: int = 0) -> str:
    """A figure with thousands separators.

    >>> number(12345.678), number(0.1234, 3)
    ('12,346', '0.123')
    """
    return _NONE if value is None else f"{value:,.{places}f}"


def money(value: float | None, currency: str) -> str:
    """Money in the shop's currency, short from a million on; without a known currency the bare figure.

    >>> money(1234.5, "GBP"), money(2_500_000, "CHF"), money(12, "")
    ('£1,234', 'CHF 2.5M', '12')
    """
    if value is None:
        return _NONE
    sign = _SIGNS.get(currency, f"{currency} " if currency else "")
    minus = "-" if value < 0 else ""
    size = abs(value)
    return f"{minus}{sign}{size / 1e6:,.1f}M" if size >= 1e6 else f"{minus}{sign}{size:,.0f}"


def date(moment: datetime | None) -> str:
    """A moment as a date, with the time of day where it is not midnight.

    >>> date(datetime(2024, 5, 1)), date(datetime(2024, 5, 1, 9, 30))
    ('2024-05-01', '2024-05-01 09:30')
    """
    if moment is None:
        return _NONE
    return moment.strftime("%Y-%m-%d" if (moment.hour, moment.minute) == (0, 0) else "%Y-%m-%d %H:%M")


def interval(estimate: Interval | None, *, as_percent: bool = False) -> str:
    """The two ends of an interval.

    >>> interval(Interval(0.5, 0.4, 0.6)), interval(Interval(0.5, 0.4, 0.6), as_percent=True)
    ('0.400 – 0.600', '40.0% – 60.0%')
    """
    if estimate is None or estimate.low is None or estimate.high is None:
        return _NONE
    return f"{_figure(estimate.low, as_percent)} – {_figure(estimate.high, as_percent)}"


def estimate(value: Interval | None, *, as_percent: bool = False) -> str:
    """The estimate itself: three places, or a percentage with one."""
    return _NONE if value is None else _figure(value.value, as_percent)


def _figure(value: float, as_percent: bool) -> str:
    return f"{value:.1%}" if as_percent else f"{value:,.3f}"
