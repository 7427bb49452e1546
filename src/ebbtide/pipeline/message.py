"""`message`: the text to send to a customer, from a template or a checked draft, filled with what is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.actions.drafting import OUTCOMES, Drafter
from ebbtide.actions.experiment import is_held_out, workspace_secret
from ebbtide.actions.messages import FIELDS, Message, clean, fill, template_for, templates_of
from ebbtide.core.config import Config, secret_of
from ebbtide.core.errors import InputError
from ebbtide.core.language import Language, Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.pipeline.assortment import assortment_at
from ebbtide.pipeline.message_facts import ONE_BY_ONE, facts_of_users
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.recommend import recommend
from ebbtide.pipeline.train import newest_moment

GIVEN = ("offer", "until")
"""Facts that only the shop can give."""
_SHOWN_ITEMS = 3
_DRAFTS = Text("drafts: {told}", "草稿：{told}")
_HELD_OUT = Text(
    "{count:,} of these customers belong to the global holdout, which no action reaches: do not send it; "
    "`ebbtide campaign` leaves them out by itself",
    "其中 {count:,} 位顾客属于全局保留组，不接受任何动作：请勿发送；`ebbtide campaign` 会自动排除他们",
)
_NOTHING_SHOWN = pl.DataFrame(schema={"item_id": pl.String(), "name": pl.String(), "why": pl.String()})
_WRITING = Text("writing messages", "撰写消息")
_JOINED = {"en": ", ", "zh": "、"}


@dataclass(frozen=True)
class Messages(Readable):
    """Messages by user, in the order asked. `drafts`: what came of drafting, by outcome; empty where none was asked.
    `items`: the ids that are recommended to each user. `held_out`: how many of the users belong to the global holdout."""

    messages: tuple[tuple[str, Message], ...]
    as_of: datetime
    drafts: Mapping[str, int]
    items: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    held_out: int = 0

    def sections(self) -> tuple[Section, ...]:
        """Subject and body of each, what came of drafting, and who must not get it."""
        told = [Section(title=Text(m.subject, m.subject), lines=(Text(m.body, m.body),)) for _, m in self.messages]
        if self.drafts:
            counts = [Text(f"{OUTCOMES[o].en} {n}", f"{OUTCOMES[o].zh} {n}") for o, n in sorted(self.drafts.items())]
            line = _DRAFTS.format(told=Text(", ".join(c.en for c in counts), "，".join(c.zh for c in counts)))
            told.append(Section(lines=(line,)))
        if self.held_out:
            told.append(Section(lines=(_HELD_OUT.format(count=self.held_out),)))
        return tuple(told)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "as_of": self.as_of.isoformat(),
            "messages": [
                {"user_id": user, **message.to_json(), "items": list(self.items.get(user, ()))}
                for user, message in self.messages
            ],
            "drafts": dict(self.drafts),
            "held_out": self.held_out,
        }


def compose(
    config: Config,
    root: Path,
    user_ids: Sequence[str],
    *,
    kind: str | Mapping[str, str] | None = None,
    language: Language | None = None,
    as_of: datetime | None = None,
    given: Mapping[str, str] | None = None,
    draft: bool = False,
    progress: Progress = silent,
) -> Messages:
    """A message to each of these users, as known at `as_of` (default: the newest event).

    `kind`: one for all, or by user; by default apology after a late delivery of the last 14 days, replenishment if something usually bought again
    comes first, else recommendation. Nobody is left out: a campaign draws without the holdout and who has not consented
    (`campaign export --messages`); here the holdout is only counted. `given`: facts that the shop adds (`offer`, `until`). `draft`: asks the endpoint of
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
    places = Places(root)
    lake = places.lake()
    at = as_of or newest_moment(lake)
    lists = _lists(config, root, user_ids, at)
    about = assortment_at(lake.read_table("items"), at, "", None)
    products = {clean(name) for name in about.names.values()}
    facts_by_user = facts_of_users(config, lake, user_ids, at, about.name)
    written, kinds = [], {} if kind is None or isinstance(kind, str) else kind
    for done, user in enumerate(user_ids):
        progress(_WRITING, done, len(user_ids))
        shown = lists.get(user, _NOTHING_SHOWN)
        facts = {**facts_by_user[user], "shop": config.shop.name, **(given or {})}
        chosen = kind if isinstance(kind, str) else kinds.get(user) or _kind(facts, shown)
        facts |= _recommended(shown, chosen, spoken)
        message = fill(template_for(templates, chosen, spoken), facts)
        if drafter:
            cleaned = {name: clean(value) for name, value in facts.items()}
            message = drafter.draft(message, cleaned, products=products)
        written.append((user, message))
    progress(_WRITING, len(user_ids), len(user_ids))
    held_out = is_held_out(
        pl.Series(list(user_ids), dtype=pl.String), config.campaign.holdout, workspace_secret(places.home)
    )
    return Messages(
        messages=tuple(written),
        as_of=at,
        drafts=dict(drafter.outcomes if drafter else Counter[str]()),
        items={user: tuple(shown["item_id"]) for user, shown in lists.items()},
        held_out=int(held_out.sum()),
    )


def _lists(config: Config, root: Path, users: Sequence[str], at: datetime) -> dict[str, pl.DataFrame]:
    """The list of each user: everybody at once where many are asked for, else one by one."""
    if len(users) > ONE_BY_ONE:
        whole = recommend(config, root, as_of=at, count=_SHOWN_ITEMS).frame
        wanted = whole.filter(pl.col("user_id").is_in(list(users)))
        return {str(user): shown for (user,), shown in wanted.partition_by("user_id", as_dict=True).items()}
    return {user: recommend(config, root, user, as_of=at, count=_SHOWN_ITEMS).frame for user in users}


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
