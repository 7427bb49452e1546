"""What the rules see: lines that a score crosses, jumps, and events that another one should have followed.

Nothing here reads or writes anything: scores, events and memories in, sightings and new memories out. Whether somebody
is told is decided by `alert_gates`.
"""

from __future__ import annotations

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
    rules: Sequence[AlertConfig], events: Iterable[tuple[str, str, int]], now_us: int
) -> tuple[list[Timer], dict[str, dict[str, int]]]:
    """Timers to set, and by rule those to stop, for events (user, type, occurred): of each user the newest counts.

    What is waited for counts also at the very moment of what it should follow: clocks are coarse. What occurred so long
    ago that twice the rule's time has passed starts no timer: a log that is told belatedly is no
    reason to call anybody.
    """
    by_type = _newest_by_type(events)
    timers, stops = list[Timer](), dict[str, dict[str, int]]()
    for rule in rules:
        if rule.when not in ("unfollowed", "silent"):
            continue
        did = _newest(by_type, rule.did if rule.when == "unfollowed" else None)
        stop = _newest(by_type, rule.but_not) if rule.when == "unfollowed" else {}
        within = span_us(rule.within)
        timers += [
            Timer(rule.name, user, since, since + within)
            for user, since in did.items()
            if since > stop.get(user, -1) and since + 2 * within > now_us
        ]
        if stop:
            stops[rule.name] = stop
    return timers, stops


def still_due(rule: AlertConfig, timer: Timer, history: Mapping[str, int]) -> bool:
    """Whether nothing has happened since the timer began that stops it; `history`: newest moment of each type of a user."""
    renewed = max((us for t, us in history.items() if rule.when == "silent" or t in rule.did), default=0)
    stopped = max((us for t, us in history.items() if t in rule.but_not), default=0)
    return renewed <= timer.since_us and stopped < timer.since_us


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


def _newest_by_type(events: Iterable[tuple[str, str, int]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for user, kind, us in events:
        of_type = found.setdefault(kind, {})
        if us > of_type.get(user, -1):
            of_type[user] = us
    return found


def _newest(by_type: Mapping[str, Mapping[str, int]], types: Sequence[str] | None) -> dict[str, int]:
    """The newest moment of each user among these types; None: all."""
    found: dict[str, int] = {}
    for kind, users in by_type.items():
        if types is None or kind in types:
            for user, us in users.items():
                if us > found.get(user, -1):
                    found[user] = us
    return found
