"""What the rules see: lines that a score crosses, jumps, and events that another one should have followed.

Nothing here reads or writes anything: scores, events and memories in, sightings and new memories out. Whether somebody
is told is decided by `alert_gates`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ebbtide.core.alert_settings import AlertConfig
from ebbtide.core.settings import BandsConfig
from ebbtide.core.windows import parse_duration
from ebbtide.store.alerts import Suppression
from ebbtide.store.scores import StoredScore
from ebbtide.store.timers import Timer

_STEPS = 50
"""Lows of a jump rule that lie nearer to each other than `by / _STEPS` are kept as one."""
_TINY = 1e-12

Low = tuple[int, float]
Happening = tuple[str, str, int, int]
"""User, type, when it occurred and when it became known, in UTC microseconds."""


@dataclass(frozen=True)
class Memory:
    """What is remembered of a user, by name of rule.

    `fading`: rules whose band the user has left by less than the hysteresis; `lows`: the lowest probabilities of the
    window of a jump rule, rising with time; `seen`: moment of the newest sighting; `told`: of the newest alert that was
    not suppressed; `day` and `today`: the newest day with an alert, and how many it had.
    """

    fading: tuple[str, ...] = ()
    lows: Mapping[str, Sequence[Low]] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)
    day: int = 0
    today: int = 0

    def to_json(self) -> dict[str, Any]:
        """Only what is not empty."""
        return {name: value for name, value in self.__dict__.items() if value}

    def seen_at(self, rule: str, at_us: int) -> Memory:
        """A sighting more."""
        return replace(self, seen={**self.seen, rule: at_us})

    def told_at(self, rule: str, at_us: int, day: int) -> Memory:
        """An alert more that was not suppressed."""
        today = self.today + 1 if day == self.day else 1
        return replace(self, told={**self.told, rule: at_us}, day=day, today=today)


NOTHING = Memory()


@dataclass(frozen=True)
class Sighting:
    """A rule saw something of a user; `suppressed` where the rule itself keeps it back."""

    rule: AlertConfig
    user_id: str
    at_us: int
    score: StoredScore | None
    detail: Mapping[str, Any]
    suppressed: Suppression | None = None


def span_us(text: str) -> int:
    """A duration of the settings in microseconds."""
    return round(parse_duration(text).total_seconds() * 1e6)


def see_scores(
    rules: Sequence[AlertConfig],
    bands: BandsConfig,
    before: Mapping[str, StoredScore],
    after: Mapping[str, StoredScore],
    memories: Mapping[str, Memory],
) -> tuple[list[Sighting], dict[str, Memory]]:
    """What rules of the kinds `enters` and `jumps` see in new scores, and the memories that differ afterwards.

    A limit belongs to the band above it. A first score enters no band and is no jump: nothing is known of before.
    """
    seen, changed = list[Sighting](), dict[str, Memory]()
    looking = [rule for rule in rules if rule.when in ("enters", "jumps")]
    if not looking:
        return seen, changed
    for user, now in after.items():
        old = memory = memories.get(user, NOTHING)
        for rule in looking:
            look = _enters if rule.when == "enters" else _jumps
            sighting, memory = look(rule, bands, before.get(user), now, memory)
            if sighting is not None:
                seen.append(sighting)
                memory = memory.seen_at(rule.name, now.as_of_us)
        if memory is not old:
            changed[user] = memory
    return seen, changed


def fits(rule: AlertConfig, bands: BandsConfig, score: StoredScore | None) -> bool:
    """Whether a score is of the rule's band (for other kinds than `enters`) and value; without a score: if it asks none."""
    if score is None:
        return not rule.band and not rule.value
    if rule.value and (score.value_at_risk or 0.0) < rule.value:
        return False
    return not rule.band or score.churn_probability >= _limit(rule, bands)


def see_events(
    rules: Sequence[AlertConfig], events: Iterable[Happening]
) -> tuple[list[Timer], dict[str, list[tuple[str, int]]]]:
    """Timers to set, and by rule the (user, moment) that stop timers.

    What is waited for counts also at the very moment of what it should follow: clocks are coarse. What became known so long
    after it occurred that twice the rule's time had passed starts no timer: a log that is told belatedly is no reason to
    call anybody. How late the events are looked at here changes nothing.
    """
    by_type = _moments_by_type(events)
    timers, stops = list[Timer](), dict[str, list[tuple[str, int]]]()
    for rule in rules:
        if rule.when not in ("unfollowed", "silent"):
            continue
        did = _moments(by_type, rule.did if rule.when == "unfollowed" else by_type)
        stop = _moments(by_type, rule.but_not) if rule.when == "unfollowed" else {}
        for user, moments in did.items():
            timers += _timers(rule, user, moments, stop.get(user, {}))
        if stop:
            stops[rule.name] = [(user, moment) for user, moments in stop.items() for moment in moments]
    return timers, stops


def _timers(rule: AlertConfig, user: str, did: Mapping[int, int], stop: Iterable[int]) -> list[Timer]:
    """The timers of one user; `did`: moment -> when it became known. One that is renewed or stopped in time is none."""
    within, found = span_us(rule.within), list[Timer]()
    moments, stopping = sorted(did), sorted(stop)
    for since, renewed in zip(moments, [*moments[1:], None], strict=True):
        due = since + within
        place = bisect_left(stopping, since)
        stopped = place < len(stopping) and stopping[place] <= due
        again = renewed is not None and (rule.when == "silent" or renewed <= due)
        if not stopped and not again and did[since] < due + within:
            found.append(Timer(rule.name, user, since, due))
    return found


def still_due(rule: AlertConfig, timer: Timer, happened: Iterable[tuple[str, int]]) -> bool:
    """Whether what was waited for is missing; `happened`: type and moment of what is known of the user from `since_us` on.

    `unfollowed` asks about `[since, due]`, however late the timer is looked at: what came after its time is too late, and
    what began anew after its time has a timer of its own. `silent` asks about now: who is back is not silent.
    """
    if rule.when == "silent":
        return all(us <= timer.since_us for _, us in happened)
    in_time = [(kind, us) for kind, us in happened if timer.since_us <= us <= timer.due_us]
    return not any(kind in rule.but_not or (kind in rule.did and us > timer.since_us) for kind, us in in_time)


def _enters(
    rule: AlertConfig, bands: BandsConfig, was: StoredScore | None, now: StoredScore, memory: Memory
) -> tuple[Sighting | None, Memory]:
    if was is None or memory.seen.get(rule.name, 0) > was.as_of_us:
        return None, memory  # nothing is known of before, or it was read before another worker's newer sighting
    limit, fading = _limit(rule, bands), rule.name in memory.fading
    inside = was.churn_probability >= limit or fading
    fades = inside and limit - rule.hysteresis <= now.churn_probability < limit
    if fades != fading:
        left = tuple(name for name in memory.fading if name != rule.name)
        memory = replace(memory, fading=(*left, rule.name) if fades else left)
    if not was.churn_probability < limit <= now.churn_probability or not fits(rule, bands, now):
        return None, memory
    kept_back = Suppression.HYSTERESIS if inside else None
    detail = {"before": was.churn_probability, "band_limit": limit}
    return Sighting(rule, now.user_id, now.as_of_us, now, detail, kept_back), memory


def _jumps(
    rule: AlertConfig, bands: BandsConfig, was: StoredScore | None, now: StoredScore, memory: Memory
) -> tuple[Sighting | None, Memory]:
    """Compare with the lowest probability of `(now - within, now]`. After a sighting only what follows it counts."""
    first = [] if was is None else [(was.as_of_us, was.churn_probability)]
    known = memory.lows.get(rule.name, first)
    lows = [(us, p) for us, p in known if us > now.as_of_us - span_us(rule.within)]
    rise = now.churn_probability - min((p for _, p in lows), default=now.churn_probability)
    jumped = rise >= rule.by - _TINY and fits(rule, bands, now)
    lows = [(now.as_of_us, now.churn_probability)] if jumped else _with_low(lows, now, rule.by / _STEPS)
    memory = replace(memory, lows={**memory.lows, rule.name: lows})
    if not jumped:
        return None, memory
    detail = {"before": now.churn_probability - rise, "rise": rise}
    return Sighting(rule, now.user_id, now.as_of_us, now, detail), memory


def _with_low(lows: list[Low], now: StoredScore, near: float) -> list[Low]:
    """The lows that can still be the lowest of a later window, with the newest among them."""
    kept = [low for low in lows if low[1] < now.churn_probability]
    if kept and now.churn_probability - kept[-1][1] < near:
        return [*kept[:-1], (now.as_of_us, kept[-1][1])]
    return [*kept, (now.as_of_us, now.churn_probability)]


def _limit(rule: AlertConfig, bands: BandsConfig) -> float:
    return bands.medium if rule.band == "medium" else bands.high


def _moments_by_type(events: Iterable[Happening]) -> dict[str, dict[str, dict[int, int]]]:
    """Type -> user -> moment -> when it first became known."""
    found: dict[str, dict[str, dict[int, int]]] = {}
    for user, kind, us, known in events:
        moments = found.setdefault(kind, {}).setdefault(user, {})
        moments[us] = min(known, moments.get(us, known))
    return found


def _moments(by_type: Mapping[str, Mapping[str, Mapping[int, int]]], types: Iterable[str]) -> dict[str, dict[int, int]]:
    """User -> moment -> when it first became known, over these types."""
    found: dict[str, dict[int, int]] = {}
    for kind in types:
        for user, moments in by_type.get(kind, {}).items():
            own = found.setdefault(user, {})
            for us, known in moments.items():
                own[us] = min(known, own.get(us, known))
    return found
