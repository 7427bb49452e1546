"""A confidence sequence: an interval that holds at all looks together, so that one may look as often as one likes."""

from __future__ import annotations

import math

from ebbtide.evaluation.intervals import Estimate


def confidence_sequence(mean: float, spread: float, count: int, *, planned: int, alpha: float = 0.05) -> Estimate:
    """The asymptotic confidence sequence for a mean, at a look after `count` independent observations.

    With probability 1 - alpha, asymptotically, it holds the true mean at all looks at once. `spread` is the standard
    deviation of one observation; `planned` is the number of observations at which the sequence is to be narrowest:
    fixed before the first look. For a difference of two arms see `effects.unit_differences`. Undefined (all None)
    for fewer than two observations or an undefined mean; without any spread it is a point.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences", 2023, eq. 9; rho as their approximation of the best one at `planned`.

    >>> told = confidence_sequence(0.0, 1.0, 1000, planned=1000)
    >>> round(told.high, 4), round(1.96 / 1000**0.5, 4)
    (0.096, 0.062)
    """
    if count < 2 or not (math.isfinite(mean) and math.isfinite(spread)):
        return Estimate(None, None, None)
    reach = spread * boundary(count, planned=planned, alpha=alpha)
    return Estimate(mean, mean - reach, mean + reach)


def boundary(count: int, *, planned: int, alpha: float = 0.05) -> float:
    """Half of the width of the sequence, in standard deviations of one observation."""
    rho2 = best_rho(planned, alpha=alpha) ** 2
    grown = count * rho2 + 1
    return math.sqrt(2 * grown / (count**2 * rho2) * math.log(math.sqrt(grown) / alpha))


def best_rho(planned: int, *, alpha: float = 0.05) -> float:
    """The rho that makes the sequence about narrowest after `planned` observations."""
    tail = -2 * math.log(alpha)
    return math.sqrt((tail + math.log(tail + 1)) / max(planned, 1))
