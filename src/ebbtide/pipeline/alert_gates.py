"""Whether a sighting becomes an alert that goes out, and when: one suppression or none, in a fixed order.

The worthiest customers are decided on first, so that a daily cap keeps back those who matter least.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from ebbtide.actions.experiment import is_held_out, resolve_users, workspace_secret
from ebbtide.core.action_settings import quiet_hours
from ebbtide.core.config import Config
from ebbtide.core.windows import from_us, to_us
from ebbtide.pipeline.alert_rules import NOTHING, Memory, Sighting, span_us
from ebbtide.pipeline.places import Places
from ebbtide.store.alert_memory import ALL_RULES
from ebbtide.store.alerts import Suppression

_FRESH_SECONDS = 10.0


@dataclass(frozen=True)
class Decision:
    """What becomes of a sighting: suppressed, or sent from `due_us` on."""

    sighting: Sighting
    suppressed: Suppression | None
    due_us: int


@dataclass(frozen=True)
class Decided:
    """Decisions, the worthiest first; the memories that differ afterwards; the counts of the day afterwards."""

    decisions: list[Decision]
    memories: dict[str, Memory]
    counts: dict[str, int]


@dataclass(frozen=True)
class Barred:
    """Who must not be told of: users of the holdout, and by purpose those who have not consented."""

    held_out: Collection[str]
    unwilling: Mapping[str, Collection[str]]


class Gate:
    """Who must not be told of, by the workspace's holdout and consents; consents are read again after ten seconds."""

    def __init__(self, config: Config, root: Path) -> None:
        self._share, self._home, self._places = config.campaign.holdout, Places(root).home, Places(root)
        self._willing = pl.DataFrame(schema={"user_id": pl.String(), "purpose": pl.String()})
        self._read_at = -_FRESH_SECONDS

    def barred(self, sightings: Sequence[Sighting], now: datetime) -> Barred:
        """Who of these must not be told of now."""
        users = [s.user_id for s in sightings]
        by_purpose: dict[str, list[str]] = {}
        for sighting in sightings:
            if sighting.rule.consent:
                by_purpose.setdefault(sighting.rule.consent, []).append(sighting.user_id)
        unwilling = {purpose: self.unwilling(purpose, of, now) for purpose, of in by_purpose.items()}
        return Barred(self._held_out(users), unwilling)

    def unwilling(self, purpose: str, users: Sequence[str], now: datetime) -> set[str]:
        """Those whose newest word on the purpose is not a consent, or who have said none."""
        asked = pl.DataFrame({"user_id": users}, schema={"user_id": pl.String()}).unique()
        given = self._consents(now).filter(pl.col("purpose") == purpose)
        return set(asked.join(given, on="user_id", how="anti")["user_id"])

    def _held_out(self, users: Sequence[str]) -> set[str]:
        if not users or not self._share:
            return set()
        given = pl.Series("user_id", list(dict.fromkeys(users)), dtype=pl.String)
        held = is_held_out(resolve_users(given), self._share, workspace_secret(self._home))
        return set(given.filter(pl.Series(held)))

    def _consents(self, now: datetime) -> pl.DataFrame:
        if time.monotonic() - self._read_at >= _FRESH_SECONDS:
            said = self._places.lake().read_table("consents").filter(pl.col("valid_from") <= now)
            newest = said.sort("valid_from").group_by("user_id", "purpose").agg(pl.last("granted"))
            self._willing = newest.filter(pl.col("granted")).select("user_id", "purpose")
            self._read_at = time.monotonic()
        return self._willing


def decide(
    sightings: Sequence[Sighting],
    config: Config,
    memories: Mapping[str, Memory],
    counts: Mapping[str, int],
    barred: Barred,
    now_us: int,
) -> Decided:
    """Decide on all sightings of one moment. `counts`: alerts of the day so far, by rule and for all rules.

    Deferred alerts count on the day on which they were raised. A suppressed one counts nowhere.
    """
    held = quiet_until_us(config.alerts.quiet, config.shop.zone, now_us)
    day = day_of(config.shop.zone, now_us)
    known, tally, decisions = dict(memories), dict(counts), []
    for sighting in sorted(sightings, key=_worthiest_first):
        rule, user = sighting.rule, sighting.user_id
        memory = known.get(user, NOTHING)
        why = sighting.suppressed or _refusal(sighting, config, memory, tally, barred, held is not None, day)
        if why is None:
            known[user] = memory.told_at(rule.name, sighting.at_us, day)
            tally = {**tally, **{name: tally.get(name, 0) + 1 for name in (rule.name, ALL_RULES)}}
        due_us = held if held is not None and rule.quiet == "defer" else now_us
        decisions.append(Decision(sighting, why, due_us))
    return Decided(decisions, known, tally)


def quiet_until_us(quiet: str, zone: ZoneInfo, at_us: int) -> int | None:
    """When the quiet hours end in which a moment lies; None outside them. Their first minute is quiet, their end is not.

    >>> noon = to_us(datetime(2024, 1, 1, 23, tzinfo=ZoneInfo("UTC")))
    >>> from_us(quiet_until_us("21:00-08:00", ZoneInfo("UTC"), noon)).isoformat()
    '2024-01-02T08:00:00+00:00'
    """
    span = quiet_hours(quiet)
    if span is None:
        return None
    first, last = span
    local = from_us(at_us).astimezone(zone)
    clock, over_midnight = local.time(), first > last
    if not (first <= clock or clock < last if over_midnight else first <= clock < last):
        return None
    day = local.date() + timedelta(days=1 if over_midnight and clock >= first else 0)
    return max(at_us, to_us(datetime.combine(day, last, zone).replace(fold=local.fold)))


def day_of(zone: ZoneInfo, at_us: int) -> int:
    """The day of the shop in which a moment lies, in days since 1970."""
    return from_us(at_us).astimezone(zone).toordinal() - datetime(1970, 1, 1).toordinal()


def _refusal(
    sighting: Sighting, config: Config, memory: Memory, tally: Mapping[str, int], barred: Barred, quiet: bool, day: int
) -> Suppression | None:
    rule, user, caps = sighting.rule, sighting.user_id, config.alerts
    last = memory.told.get(rule.name)
    today = memory.today if memory.day == day else 0
    reasons = {
        Suppression.HOLDOUT: user in barred.held_out,
        Suppression.NO_CONSENT: bool(rule.consent) and user in barred.unwilling[rule.consent],
        Suppression.COOLDOWN: last is not None and sighting.at_us < last + span_us(rule.cooldown or "0s"),
        Suppression.QUIET_HOURS: quiet and rule.quiet == "suppress",
        Suppression.USER_CAP: bool(caps.user_cap) and today >= caps.user_cap,
        Suppression.DAILY_CAP: _is_full(caps.daily_cap, tally.get(ALL_RULES, 0))
        or _is_full(rule.daily_cap, tally.get(rule.name, 0)),
    }
    return next((why for why, holds in reasons.items() if holds), None)


def _is_full(cap: int, count: int) -> bool:
    return bool(cap) and count >= cap


def _worthiest_first(sighting: Sighting) -> tuple[float, float, str, str]:
    score = sighting.score
    if score is None:
        return 0.0, 0.0, sighting.user_id, sighting.rule.name
    return -(score.value_at_risk or 0.0), -score.churn_probability, sighting.user_id, sighting.rule.name
