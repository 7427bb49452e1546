"""Who may get what, and when at the earliest: conditions, consent, caps, cool-downs, quiet hours, deadlines.

Every rule is a matrix (N, A) of who passes; the first rule that fails is the one that is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.catalogue import Action
from ebbtide.core.action_settings import ActionsConfig
from ebbtide.core.language import Text
from ebbtide.core.windows import parse_duration, to_us
from ebbtide.events.schema import TIME

RULES: dict[str, Text] = {
    "holdout": Text("belongs to the global holdout, which no action ever reaches", "属于全局保留组，不接受任何动作"),
    "condition": Text("the action's condition does not hold", "不满足动作的条件"),
    "consent": Text("no consent for this purpose", "未同意该用途"),
    "guard": Text("suspected abuse of discounts", "疑似滥用优惠"),
    "cap": Text("contacted as often as the cap allows", "已达接触次数上限"),
    "cooldown": Text("contacted too recently", "距上次接触时间太短"),
    "quiet": Text("quiet hours last until after the deadline", "免打扰时段持续到期限之后"),
    "unknown": Text("nothing is known or assumed of the action's effect", "动作效果未知且未作假设"),
}
"""In the order in which they are asked."""


@dataclass(frozen=True)
class Eligibility:
    """`failed` (N, A): the number of the first rule that keeps the action from the user, in the order of RULES; -1: the
    user may get it. `not_before` (N, A): the earliest moment outside quiet hours, UTC microseconds; `deadline` (N, A):
    the latest, 0 where there is none."""

    failed: NDArray[np.int8]
    not_before: NDArray[np.int64]
    deadline: NDArray[np.int64]

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Who may get what, (N, A)."""
        return self.failed < 0

    def counts(self) -> list[dict[str, int]]:
        """For each action, users that each rule keeps from it."""
        names = list(RULES)
        return [
            {names[r]: int(n) for r, n in enumerate(np.bincount(column[column >= 0], minlength=len(names))) if n}
            for column in self.failed.T
        ]


def first_failures(passed: dict[str, NDArray[np.bool_]], shape: tuple[int, int]) -> NDArray[np.int8]:
    """The number of the first failing rule, (N, A). Each rule's matrix is (N, A) or (N, 1).

    >>> first_failures({"consent": np.array([[True, False]])}, (1, 2)).tolist()
    [[-1, 2]]
    """
    failed = np.full(shape, -1, np.int8)
    for number, rule in reversed(list(enumerate(RULES))):
        if rule in passed:
            failed[~np.broadcast_to(passed[rule], shape)] = number
    return failed


def consents_given(
    user_id: pl.Series, consents: pl.DataFrame, actions: Sequence[Action], as_of: datetime
) -> NDArray[np.bool_]:
    """Whether each user's newest answer known at `as_of` grants the purpose of each action, (N, A); no answer is a no."""
    given = np.ones((len(user_id), len(actions)), np.bool_)
    known = consents.filter(pl.col("valid_from").is_null() | (pl.col("valid_from") <= as_of))
    newest = known.sort("valid_from", nulls_last=False).group_by("user_id", "purpose").agg(pl.col("granted").last())
    for purpose in {a.consent for a in actions if a.consent}:
        granted = newest.filter((pl.col("purpose") == purpose) & pl.col("granted").fill_null(False))["user_id"]
        answer = user_id.is_in(granted.implode()).to_numpy()
        given[:, [a.consent == purpose for a in actions]] = answer[:, None]
    return given


def caps_kept(
    user_id: pl.Series, contacts: pl.DataFrame, actions: Sequence[Action], settings: ActionsConfig, as_of: datetime
) -> NDArray[np.bool_]:
    """Whether one more contact keeps the cap of all actions and that of each, (N, A). Windows are (as_of - period, as_of].

    Transactional actions are kept back by no cap.
    """
    kept = np.ones((len(user_id), len(actions)), np.bool_)
    if settings.max_contacts:
        full = _count(user_id, contacts, as_of, parse_duration(settings.period)) >= settings.max_contacts
        kept[full] = False
    for place, action in enumerate(actions):
        if action.max_per_user:
            own = contacts.filter(pl.col("action") == action.name)
            kept[:, place] &= _count(user_id, own, as_of, action.period) < action.max_per_user
        if action.transactional:
            kept[:, place] = True
    return kept


def cooled_down(
    user_id: pl.Series, contacts: pl.DataFrame, actions: Sequence[Action], as_of: datetime
) -> NDArray[np.bool_]:
    """Whether each action's cool-down has passed since the user's last contact of any kind, (N, A)."""
    last = contacts.group_by("user_id").agg(pl.col("at").max())
    since = user_id.to_frame("user_id").join(last, on="user_id", how="left", maintain_order="left")["at"]
    ago = to_us(as_of) - since.dt.epoch("us").fill_null(-(2**60)).to_numpy()
    needed = np.array([a.cooldown / timedelta(microseconds=1) for a in actions])
    return np.asarray(ago[:, None] >= needed[None, :], np.bool_)


def waits(zones: pl.Series, actions: Sequence[Action], as_of: datetime) -> NDArray[np.int64]:
    """The earliest moment at or after `as_of` that lies outside each action's quiet hours in each user's zone, (N, A).

    Quiet hours are half-open: contact is possible again at their very end.
    """
    moments = np.full((len(zones), len(actions)), to_us(as_of), np.int64)
    codes, names = zones.to_numpy(), zones.unique().to_list()
    for place, action in enumerate(actions):
        if action.quiet is None:
            continue
        for zone in names:
            moments[codes == zone, place] = to_us(_awake(as_of, ZoneInfo(zone), *action.quiet))
    return moments


def deadlines(band: pl.Series, actions: Sequence[Action], as_of: datetime) -> NDArray[np.int64]:
    """The latest moment of each action for each user's band, (N, A), UTC microseconds; 0: none."""
    out, codes = np.zeros((len(band), len(actions)), np.int64), band.to_numpy()
    for place, action in enumerate(actions):
        for name, span in action.deadline.items():
            out[codes == name, place] = to_us(as_of + span)
    return out


def _count(user_id: pl.Series, contacts: pl.DataFrame, as_of: datetime, period: timedelta) -> NDArray[np.int64]:
    inside = (pl.col("at") > pl.lit(as_of - period, TIME)) & (pl.col("at") <= pl.lit(as_of, TIME))
    counted = contacts.filter(inside).group_by("user_id").agg(count=pl.len())
    joined = user_id.to_frame("user_id").join(counted, on="user_id", how="left", maintain_order="left")
    return joined["count"].fill_null(0).cast(pl.Int64).to_numpy()


def _awake(moment: datetime, zone: ZoneInfo, first: time, last: time) -> datetime:
    """`moment`, or the end of the quiet hours in which it lies, by the clock on that wall."""
    local = moment.astimezone(zone)
    now, crosses = local.time().replace(tzinfo=None), first > last
    if first == last or not ((now >= first or now < last) if crosses else first <= now < last):
        return moment
    day = local.date() + timedelta(days=1) if crosses and now >= first else local.date()
    return datetime.combine(day, last, tzinfo=zone)
