"""`message`: the text to send to a customer, from a template or a checked draft, filled with what is known."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.actions.drafting import OUTCOMES, Drafter
from ebbtide.actions.messages import FIELDS, Message, clean, fill, template_for, templates_of
from ebbtide.core.config import Config, secret_of
from ebbtide.core.errors import InputError
from ebbtide.core.language import Language, Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import days
from ebbtide.events.lake import Lake
from ebbtide.pipeline.assortment import assortment_at
from ebbtide.pipeline.dataset import known_events
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.recommend import recommend
from ebbtide.pipeline.train import newest_moment

GIVEN = ("offer", "until")
"""Facts that only the shop can give."""
_ONE_BY_ONE = 20
_SHOWN_ITEMS = 3
_LATE_DAYS = 14
_DRAFTS = Text("drafts: {told}", "草稿：{told}")
_WRITING = Text("writing messages", "撰写消息")
_JOINED = {"en": ", ", "zh": "、"}


@dataclass(frozen=True)
class Messages(Readable):
    """Messages by user, in the order asked. `drafts`: what came of drafting, by outcome; empty where none was asked."""

    messages: tuple[tuple[str, Message], ...]
    as_of: datetime
    drafts: Mapping[str, int]

    def sections(self) -> tuple[Section, ...]:
        """Subject and body of each, and what came of drafting."""
        told = [Section(title=Text(m.subject, m.subject), lines=(Text(m.body, m.body),)) for _, m in self.messages]
        if self.drafts:
            counts = [Text(f"{OUTCOMES[o].en} {n}", f"{OUTCOMES[o].zh} {n}") for o, n in sorted(self.drafts.items())]
            line = _DRAFTS.format(told=Text(", ".join(c.en for c in counts), "，".join(c.zh for c in counts)))
            told.append(Section(lines=(line,)))
        return tuple(told)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "as_of": self.as_of.isoformat(),
            "messages": [{"user_id": user, **message.to_json()} for user, message in self.messages],
            "drafts": dict(self.drafts),
        }


def compose(
    config: Config,
    root: Path,
    user_ids: Sequence[str],
    *,
    kind: str | None = None,
    language: Language | None = None,
    as_of: datetime | None = None,
    given: Mapping[str, str] | None = None,
    draft: bool = False,
    progress: Progress = silent,
) -> Messages:
    """A message to each of these users, as known at `as_of` (default: the newest event).

    `kind` by default: apology after a late delivery of the last 14 days, replenishment if something usually bought again
    comes first, else recommendation. `given`: facts that the shop adds (`offer`, `until`). `draft`: asks the endpoint of
    `[llm]`; a template stands in wherever a draft fails.

    Raises InputError if a field has no value or a given fact is none, ConfigError for bad templates or `[llm]`.
    """
    unknown = [name for name in given or {} if name not in GIVEN]
    if unknown:
        raise InputError(
            f"--fact: `{unknown[0]}` cannot be given; what can is {', '.join(GIVEN)}",
            f"--fact：不能给出 `{unknown[0]}`；可给出 {'、'.join(GIVEN)}",
        )
    templates, spoken = templates_of(config.message), language or config.shop.language
    drafter = Drafter(config.llm, secret_of(config.llm.key_env)) if draft else None
    lake = Places(root).lake()
    at = as_of or newest_moment(lake)
    lists = _lists(config, root, user_ids, at)
    about = assortment_at(lake.read_table("items"), at, "", None)
    products = {clean(name) for name in about.names.values()}
    written = []
    for done, user in enumerate(user_ids):
        progress(_WRITING, done, len(user_ids))
        shown = lists.filter(user_id=user)
        facts = {**_history(lake, user, at, about.name), "shop": config.shop.name, **(given or {})}
        chosen = kind or _kind(facts, shown)
        facts |= _recommended(shown, chosen, spoken)
        message = fill(template_for(templates, chosen, spoken), facts)
        if drafter:
            cleaned = {name: clean(value) for name, value in facts.items()}
            message = drafter.draft(message, cleaned, products=products)
        written.append((user, message))
    progress(_WRITING, len(user_ids), len(user_ids))
    return Messages(tuple(written), at, dict(drafter.outcomes if drafter else Counter[str]()))


def _lists(config: Config, root: Path, users: Sequence[str], at: datetime) -> pl.DataFrame:
    """Everybody at once where many are asked for, else one by one."""
    if len(users) > _ONE_BY_ONE:
        whole = recommend(config, root, as_of=at, count=_SHOWN_ITEMS).frame
        return whole.filter(pl.col("user_id").is_in(list(users)))
    frames = [recommend(config, root, user, as_of=at, count=_SHOWN_ITEMS).frame for user in users]
    return pl.concat(frames) if frames else pl.DataFrame({"user_id": []}, schema={"user_id": pl.String()})


def _history(lake: Lake, user: str, at: datetime, name: Any) -> dict[str, str]:
    """What the user's own events say, never in the user's own words. Raises InputError if no event was known."""
    events = known_events(lake.read_user(user), at)
    if not len(events):
        raise InputError(
            "no event of this user was known at that moment: check the id (text, with leading zeros) and --as-of",
            "该时点没有该用户的事件：请检查 id（文本，含前导零）与 --as-of",
        )
    facts: dict[str, str] = {}
    orders = events.filter(pl.col("type") == "order").sort("occurred_at")
    if len(orders):
        latest: datetime = orders["occurred_at"][-1]
        facts["days_silent"] = str(int(days(at - latest)))
        facts["orders"] = str(orders.select(pl.coalesce("order_id", "event_id").n_unique()).item())
        items, kinds = orders["item_id"].drop_nulls(), orders["category"].drop_nulls()
        if len(items):
            facts["last_item"] = name(items[-1])
        if len(kinds):
            facts["category"] = str(kinds.mode().sort()[0])
    late = _days_late(events.filter(pl.col("type") == "delivery").sort("occurred_at"), at)
    return facts | ({"days_late": str(late)} if late else {})


def _days_late(deliveries: pl.DataFrame, at: datetime) -> int:
    """Days by which the latest delivery of the last 14 days was late; 0 if it was not, or nobody knows."""
    if not len(deliveries) or days(at - deliveries["occurred_at"][-1]) > _LATE_DAYS:
        return 0
    told = json.loads(deliveries["properties"][-1] or "{}")
    late = told.get("days_late") if isinstance(told, dict) else None
    return max(int(late), 0) if isinstance(late, int | float) else 0


def _kind(facts: Mapping[str, str], shown: pl.DataFrame) -> str:
    if "days_late" in facts:
        return "apology"
    return "replenishment" if len(shown) and shown["why"][0] == "again" else "recommendation"


def _recommended(shown: pl.DataFrame, kind: str, language: Language) -> dict[str, str]:
    """The recommended items; what is usually bought again goes first in a replenishment."""
    if kind == "replenishment":
        shown = shown.filter(pl.col("why") == "again")
    if not len(shown):
        return {}
    assert {"item", "items", "reason"} <= FIELDS.keys()
    names = shown["name"].to_list()
    return {"item": names[0], "items": _JOINED[language].join(names), "reason": shown[language][0]}
