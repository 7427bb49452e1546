"""The rules by hand: what crosses a line, what jumps, what was not followed, and what keeps an alert back."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.core.alert_settings import AlertConfig
from ebbtide.core.config import Config, parse_config
from ebbtide.core.errors import ConfigError
from ebbtide.core.settings import BandsConfig
from ebbtide.core.windows import DAY_US, from_us, to_us
from ebbtide.pipeline.alert_gates import Barred, day_of, decide, quiet_until_us
from ebbtide.pipeline.alert_rules import Memory, Sighting, see_events, see_scores, still_due
from ebbtide.pipeline.alerting import check_types
from ebbtide.store.alerts import Suppression
from ebbtide.store.scores import StoredScore
from ebbtide.store.timers import Timer

BANDS = BandsConfig(high=0.7, medium=0.4)
ENTERS = AlertConfig(name="risk", when="enters", band="high", hysteresis=0.1)
JUMPS = AlertConfig(name="jump", when="jumps", by=0.2, within="7d")
CART = AlertConfig(name="cart", when="unfollowed", did=["cart_add"], but_not=["order"], within="2h")
SILENT = AlertConfig(name="silent", when="silent", within="14d")
HOUR_US = DAY_US // 24


def score(p: float, at_us: int, user: str = "u", worth: float | None = None) -> StoredScore:
    return StoredScore(user, at_us, p, None, "low", None, worth, None, "m")


def walk(rule: AlertConfig, path: Sequence[float], *, step_us: int = DAY_US) -> list[str]:
    """Score one user again and again: "!" where the rule tells, "h" where hysteresis keeps it back, "." else."""
    memory, told, was = dict[str, Memory](), "", None
    for place, p in enumerate(path):
        now = score(p, place * step_us)
        seen, changed = see_scores([rule], BANDS, {"u": was} if was else {}, {"u": now}, memory)
        memory.update(changed)
        memory = {u: Memory(**m.to_json()) for u, m in memory.items()}
        told += {None: "!", Suppression.HYSTERESIS: "h"}[seen[0].suppressed] if seen else "."
        was = now
    return list(told)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ([0.3, 0.69, 0.7, 0.9], "..!."),  # a limit belongs to the band above it
        ([0.9, 0.95], ".."),  # a first score enters nothing
        ([0.3, 0.8, 0.65, 0.8, 0.8], ".!.h."),  # fell by less than the hysteresis: it never left
        ([0.3, 0.8, 0.6, 0.8], ".!.h"),  # exactly the hysteresis is not far enough
        ([0.3, 0.8, 0.59, 0.8], ".!.!"),
        ([0.3, 0.8, 0.65, 0.59, 0.65, 0.8], ".!...!"),
        ([0.9, 0.65, 0.8], "..h"),  # it was inside before the rule was there
    ],
)
def test_a_band_is_entered_from_below_and_left_by_more_than_the_hysteresis(path: list[float], told: str) -> None:
    assert walk(ENTERS, path) == list(told)


@given(st.lists(st.floats(0, 1), max_size=30))
def test_between_two_alerts_of_a_band_the_score_has_been_below_the_band_less_the_hysteresis(path: list[float]) -> None:
    places = [k for k, mark in enumerate(walk(ENTERS, path)) if mark == "!"]
    for first, second in itertools.pairwise(places):
        assert min(path[first:second]) < 0.7 - 0.1
    assert all(path[k] >= 0.7 > path[k - 1] for k in places)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ([0.1, 0.3], ".!"),
        ([0.1, 0.2, 0.29, 0.3], "...!"),  # little by little within the time
        ([0.5, 0.1, 0.3], "..!"),
        ([0.1, 0.3, 0.35, 0.5], ".!.!"),  # after an alert only what follows it counts
        ([0.1, *[0.15] * 6, 0.31, 0.35], "........!"),  # (day 0, day 7] does not hold day 0; on day 8 the low is 0.15
        ([0.9, 0.8, 0.7], "..."),
    ],
)
def test_a_jump_is_measured_from_the_lowest_score_of_the_window(path: list[float], told: str) -> None:
    assert walk(JUMPS, path) == list(told)


@given(st.lists(st.floats(0, 1), max_size=60))
def test_jumps_agree_with_a_plain_walk_over_all_scores(path: list[float]) -> None:
    """Every alert is a jump up to a fiftieth of `by`, and no jump larger than that is left out."""
    told, since = walk(JUMPS, path), 0
    for k, mark in enumerate(told):
        window = path[max(since, k - 6) : k + 1]
        rise = path[k] - min(window)
        if mark == "!":
            assert rise >= JUMPS.by * (1 - 1 / 50) - 1e-9
            since = k
        else:
            assert rise < JUMPS.by


def test_the_memory_of_a_jump_rule_stays_small() -> None:
    memory, was = dict[str, Memory](), score(0.0, 0)
    for k in range(1, 5000):
        now = score(k * 3e-5, k * 60_000_000)
        memory |= see_scores([JUMPS], BANDS, {"u": was}, {"u": now}, memory)[1]
        was = now
    assert len(memory["u"].lows["jump"]) <= 52


def test_a_score_read_before_another_workers_sighting_raises_nothing() -> None:
    """Two workers score a user at once; the second still holds the score of before the first."""
    old, new = {"u": score(0.5, 10)}, {"u": score(0.8, 20)}
    seen, memory = see_scores([ENTERS], BANDS, old, new, {})
    assert len(seen) == 1
    assert see_scores([ENTERS], BANDS, old, {"u": score(0.81, 21)}, memory)[0] == []


def test_value_and_band_narrow_a_rule() -> None:
    rule = JUMPS.model_copy(update={"value": 50.0, "band": "medium"})
    for worth, p, count in ((49.0, 0.5, 0), (None, 0.5, 0), (50.0, 0.5, 1), (50.0, 0.39, 0)):
        assert len(see_scores([rule], BANDS, {"u": score(0.1, 0)}, {"u": score(p, 1, worth=worth)}, {})[0]) == count


def test_an_event_sets_a_timer_unless_it_is_renewed_or_followed_in_time() -> None:
    known = 10
    events = [("u1", "cart_add", 9), ("u1", "cart_add", 8), ("u2", "cart_add", 8), ("u2", "order", 8), ("u3", "order", 8),
              ("u3", "cart_add", 9), ("u4", "search", 9), ("u5", "cart_add", 5), ("u6", "cart_add", 7), ("u6", "cart_add", 10),
              ("u7", "cart_add", 7), ("u7", "order", 10)]  # fmt: skip
    told = [(user, kind, at * HOUR_US, known * HOUR_US) for user, kind, at in events]
    timers, stops = see_events([CART], told)
    assert {(t.user_id, t.since_us // HOUR_US) for t in timers} == {
        ("u1", 9),
        ("u3", 9),
        ("u6", 7),
        ("u6", 10),
        ("u7", 7),
    }
    assert all(t.due_us == t.since_us + 2 * HOUR_US for t in timers)
    assert stops == {"cart": [("u2", 8 * HOUR_US), ("u3", 8 * HOUR_US), ("u7", 10 * HOUR_US)]}
    timers, stops = see_events([SILENT], told)
    assert {(t.user_id, (t.due_us - 14 * DAY_US) // HOUR_US) for t in timers if t.user_id in ("u3", "u7")} == {
        ("u3", 9), ("u7", 10)
    }  # fmt: skip
    assert stops == {}


def test_whether_a_timer_is_due_is_asked_of_its_own_time_and_silence_of_now() -> None:
    timer = Timer("cart", "u", 10, 20)
    assert still_due(CART, timer, [("cart_add", 10), ("order", 9), ("search", 15)])
    assert not still_due(CART, timer, [("cart_add", 10), ("order", 10)])
    assert not still_due(CART, timer, [("cart_add", 20)])
    assert not still_due(CART, timer, [("order", 20)])
    assert still_due(CART, timer, [("order", 21), ("cart_add", 21)])
    assert not still_due(SILENT, timer, [("search", 15)])
    assert not still_due(SILENT, timer, [("search", 25)])


def config(**alerts: Any) -> Config:
    return parse_config({"alerts": {"daily_cap": 0, "user_cap": 0, **alerts}, "shop": {"timezone": "Europe/Berlin"}})


def sighted(rule: AlertConfig, user: str = "u", at_us: int = 10 * DAY_US, worth: float = 0.0) -> Sighting:
    return Sighting(rule, user, at_us, score(0.8, at_us, user, worth), {})


def reasons(seen: list[Sighting], settings: Config, **given: Any) -> dict[str, str | None]:
    known = {"memories": {}, "counts": {}, "barred": Barred((), {}), "now_us": seen[0].at_us, **given}
    decided = decide(seen, settings, **known)
    return {d.sighting.user_id: d.suppressed and d.suppressed.value for d in decided.decisions}


def test_each_suppression_has_its_cause_and_the_first_that_holds_is_stored() -> None:
    at = 10 * DAY_US
    rule = ENTERS.model_copy(update={"consent": "marketing", "cooldown": "3d", "quiet": "suppress"})
    barred = Barred({"held"}, {"marketing": {"held", "unasked"}})
    memories = {"again": Memory(told={"risk": at - 3 * DAY_US + 1}), "after": Memory(told={"risk": at - 3 * DAY_US})}
    seen = [sighted(rule, u) for u in ("held", "unasked", "again", "after", "new")]
    told = reasons(seen, config(), memories=memories, barred=barred)
    assert told == {"held": "holdout", "unasked": "no_consent", "again": "cooldown", "after": None, "new": None}
    quiet = reasons(seen, config(quiet="00:00-23:59"), memories=memories, barred=barred)
    assert [quiet[u] for u in ("again", "after", "new")] == ["cooldown", "quiet_hours", "quiet_hours"]
    kept = Sighting(rule, "held", at, None, {}, Suppression.HYSTERESIS)
    assert reasons([kept], config(), barred=barred) == {"held": "hysteresis"}


def test_a_daily_cap_lets_the_worthiest_through() -> None:
    seen = [sighted(ENTERS, f"u{k}", worth=float(k)) for k in range(6)]
    told = reasons(seen, config(daily_cap=4), counts={"": 2, "other": 2})
    assert [u for u, why in told.items() if why is None] == ["u5", "u4"]
    capped = ENTERS.model_copy(update={"daily_cap": 1})
    told = reasons([sighted(capped, f"u{k}", worth=float(k)) for k in range(3)], config())
    assert told == {"u2": None, "u1": "daily_cap", "u0": "daily_cap"}


def test_alerts_about_one_customer_are_capped_over_all_rules_and_anew_each_day() -> None:
    day = day_of(ZoneInfo("Europe/Berlin"), 10 * DAY_US)
    for memory, why in ((Memory(day=day, today=2), "user_cap"), (Memory(day=day - 1, today=2), None)):
        assert reasons([sighted(ENTERS)], config(user_cap=2), memories={"u": memory}) == {"u": why}


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("2024-01-01T20:59:59", None),
        ("2024-01-01T21:00:00", "2024-01-02T08:00:00+01:00"),
        ("2024-01-02T07:59:59", "2024-01-02T08:00:00+01:00"),
        ("2024-01-02T08:00:00", None),
        ("2024-03-30T23:00:00", "2024-03-31T08:00:00+02:00"),  # the clock goes forward in that night
    ],
)
def test_quiet_hours_are_those_of_the_shops_clock(moment: str, until: str | None) -> None:
    zone = ZoneInfo("Europe/Berlin")
    found = quiet_until_us("21:00-08:00", zone, to_us(datetime.fromisoformat(moment).replace(tzinfo=zone)))
    assert found == (None if until is None else to_us(datetime.fromisoformat(until)))


def test_quiet_hours_that_end_in_the_repeated_hour_end_in_the_future() -> None:
    zone = ZoneInfo("Europe/Berlin")
    second = to_us(datetime(2024, 10, 27, 1, 10, tzinfo=UTC))  # 02:10 for the second time
    assert quiet_until_us("21:00-02:30", zone, second) == to_us(datetime(2024, 10, 27, 1, 30, tzinfo=UTC))


def test_quiet_hours_defer_suppress_or_are_ignored() -> None:
    seen = [sighted(ENTERS.model_copy(update={"quiet": how}), how) for how in ("defer", "suppress", "ignore")]
    decided = decide(seen, config(quiet="00:00-02:00"), {}, {}, Barred((), {}), 10 * DAY_US)
    told = {d.sighting.user_id: (d.suppressed, d.due_us) for d in decided.decisions}
    assert told["defer"] == (None, 10 * DAY_US + HOUR_US)  # midnight UTC is 01:00 in Berlin
    assert told["suppress"][0] is Suppression.QUIET_HOURS
    assert told["ignore"] == (None, 10 * DAY_US)
    assert from_us(10 * DAY_US).hour == 0


def problems(**sections: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(sections)
    assert all(p.en and p.zh for p in caught.value.problems)
    return str(caught.value)


def test_rules_and_channels_that_cannot_be_are_named_all_at_once() -> None:
    said = problems(
        alert=[
            {"name": "a", "when": "jumps"},
            {"name": "a", "when": "unfollowed", "within": "2h", "did": ["cart_add"]},
            {"name": "b", "when": "enters", "did": ["order"], "channels": ["crn"]},
            {"name": "c", "when": "unfollowed", "within": "2h", "did": ["order"], "but_not": ["order"]},
        ],
        channel=[
            {"name": "crm", "kind": "webhook", "url": "http://example.org/hook"},
            {"name": "mail", "kind": "email", "url": "smtp://localhost", "user": "me"},
            {"name": "bus", "kind": "broker", "url": "ftp://x"},
        ],
    )
    for words in (
        "alert a: `jumps` needs within", "the name a is used twice", "alert a: `unfollowed` needs did and but_not",
        "alert b: `unfollowed` needs", "no channel `crn` (did you mean `crm`?)", "alert c: did and but_not share a type",
        "channel crm: url must be https://", "channel crm: name the variable", "channel mail: an email needs sender",
        "channel mail: user and password_env", "channel bus: url must begin with one of redis://",
    ):  # fmt: skip
        assert words in said


def test_an_event_type_that_does_not_exist_is_named_with_the_nearest() -> None:
    rule = {"name": "cart", "when": "unfollowed", "within": "2h", "did": ["cart_ad"], "but_not": ["order"]}
    with pytest.raises(ConfigError, match=r"`cart_ad` is no event type \(did you mean `cart_add`\?\)"):
        check_types(parse_config({"alert": [rule]}))
