"""Closed moments: the past as_of moments whose outcome is already known, stepped back from the end."""

from __future__ import annotations

from ebbtide.churn.definition import ChurnDefinition


def shortest_lookback_us(definition: ChurnDefinition) -> int:
    """How much history a moment needs before it, at least: one horizon, or the eligibility window if that is shorter.

    One cannot tell who will be silent for a horizon from less than a horizon of behaviour. A full eligibility window
    is not asked for: at an early moment the window simply reaches back to the first event.
    """
    return min(definition.eligible_us, definition.horizon_us)


def closed_moments(
    first_us: int,
    until_us: int,
    definition: ChurnDefinition,
    max_count: int,
    *,
    step_us: int | None = None,
    lookback_us: int | None = None,
) -> list[int]:
    """Moments whose outcome window has closed by `until_us`, oldest first, UTC microseconds.

    The newest is `until - (gap + horizon)`; the others step back by `step_us` (default: one horizon, so that outcome
    windows do not overlap) while at least `lookback_us` (default: `shortest_lookback_us`) lie between the first event
    and the moment. At most `max_count`, the newest ones. Empty if not even the newest has enough history.

    >>> from ebbtide.core.windows import DAY_US
    >>> days = closed_moments(0, 200 * DAY_US, ChurnDefinition(), 24)
    >>> [d // DAY_US for d in days]
    [50, 80, 110, 140, 170]
    """
    step = definition.horizon_us if step_us is None else step_us
    lookback = shortest_lookback_us(definition) if lookback_us is None else lookback_us
    newest = until_us - definition.closing_us
    oldest = first_us + lookback
    count = min(max_count, (newest - oldest) // step + 1) if newest >= oldest else 0
    return [newest - step * k for k in reversed(range(count))]
