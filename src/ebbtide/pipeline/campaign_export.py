"""`campaign export`: the treated customers of a campaign for whatever carries the actions out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.actions.campaign import Campaigns
from ebbtide.actions.experiment import TREATMENT
from ebbtide.core.errors import InputError, RetryError
from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section
from ebbtide.pipeline.message import Messages
from ebbtide.pipeline.places import Places

EVENT = "Retention Action Assigned"
_COLUMNS = ("user_id", "action", "cost", "expected_gain", "assigned_at", "not_before", "deadline", "why")
_TEXTS = ("subject", "body", "items")
_BETWEEN = "|"
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_SUFFIXES = {".csv": "csv", ".jsonl": "segment", ".ndjson": "segment", ".json": "segment"}


@dataclass(frozen=True)
class CampaignExport(Readable):
    """A file that was written: `format` is csv or segment; `kept_back` are the control users, who are not in it."""

    name: str
    out: Path
    format: str
    rows: int
    kept_back: int

    def sections(self) -> tuple[Section, ...]:
        """Where it is, and who is not in it."""
        return (Section(lines=(_EXPORTED.format(**vars(self)),)),)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return vars(self) | {"out": str(self.out)}


def export_campaign(root: Path, name: str, out: Path, *, messages: Messages | None = None) -> CampaignExport:
    """Write the treated users: by the suffix a CSV, or JSON lines of `track` events as Segment's spec has them.

    The `messageId` of an event is a hash of campaign, user and moment, so that a receiver drops it the second time.
    With `messages` each row also holds `subject`, `body` and the recommended `items`, joined by `|` in a CSV.
    Control users are never written. Raises InputError for another suffix or an unknown campaign, RetryError if the disk
    refuses.
    """
    form = _SUFFIXES.get(out.suffix.lower())
    if form is None:
        raise InputError(
            "cannot tell the format from `{suffix}`: use .csv, or .jsonl for Segment-style events",
            "无法从 `{suffix}` 判断格式：请用 .csv，或用 .jsonl 表示 Segment 风格事件",
            suffix=out.suffix or out.name,
        )
    campaigns = Campaigns(Places(root).home / "campaigns")
    campaign = campaigns.load(name)
    assigned = campaigns.read(name, "assigned")
    treated = assigned.filter(pl.col("arm") == TREATMENT)
    columns: tuple[str, ...] = _COLUMNS
    if messages is not None:
        columns = (*_COLUMNS, *_TEXTS)
        treated = treated.join(_texts(messages), on="user_id", how="left", maintain_order="left")
    writers: dict[str, Callable[[], str]] = {
        "csv": lambda: treated.select(columns).write_csv(datetime_format=_TIME),
        "segment": lambda: "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in _events(treated, campaign.name)),
    }
    _write(out, writers[form]())
    return CampaignExport(name, out, form, treated.height, assigned.height - treated.height)


def _events(treated: pl.DataFrame, name: str) -> Iterator[dict[str, Any]]:
    for row in treated.iter_rows(named=True):
        moment = f"{row['assigned_at']:{_TIME}}"
        key = "\x1f".join((name, row["user_id"], moment))
        yield {
            "type": "track",
            "event": EVENT,
            "messageId": f"ebbtide-{hashlib.sha256(key.encode()).hexdigest()[:32]}",
            "userId": row["user_id"],
            "timestamp": moment,
            "properties": {
                "campaign_id": name,
                "action": row["action"],
                "cost": row["cost"],
                "propensity": row["propensity"],
                "why": row["why"],
            }
            | {name: f"{row[name]:{_TIME}}" for name in ("not_before", "deadline") if row[name] is not None}
            | _said(row),
        }


def _said(row: dict[str, Any]) -> dict[str, Any]:
    """Subject, body and items of a row that has a message."""
    if row.get("body") is None:
        return {}
    return {
        "subject": row["subject"],
        "body": row["body"],
        "items": row["items"].split(_BETWEEN) if row["items"] else [],
    }


def _texts(messages: Messages) -> pl.DataFrame:
    rows = [
        (user, message.subject, message.body, _BETWEEN.join(messages.items.get(user, ())))
        for user, message in messages.messages
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("user_id", *_TEXTS), pl.String()), orient="row")


def _write(out: Path, text: str) -> None:
    aside = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        aside.replace(out)
    except OSError as fault:
        aside.unlink(missing_ok=True)
        why = fault.strerror or "disk"
        raise RetryError("the list could not be written: {why}", "无法写出名单：{why}", why=why) from None


_EXPORTED = Text(
    "{rows:,} treated customers written to {out}; {kept_back:,} control customers are not in it and must be left alone",
    "已将 {rows:,} 位触达顾客写入 {out}；{kept_back:,} 位对照顾客不在其中，请勿触达",
)
