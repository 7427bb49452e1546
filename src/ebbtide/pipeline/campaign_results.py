"""`campaign results`: what came back from outside, row by row into the campaign's record; nothing is lost or doubled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.actions.campaign import RESULTS, Campaign, Campaigns
from ebbtide.actions.experiment import CONTROL, resolve_users
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.action_settings import NOTHING
from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section
from ebbtide.events.schema import TIME
from ebbtide.events.surroundings import one_writer, steady_disk
from ebbtide.events.table_file import read_table
from ebbtide.pipeline.campaign_promise import closing_of
from ebbtide.pipeline.places import Places

_NUMBERS = tuple(n for n, t in RESULTS.items() if t == pl.Float64())
_YES_NO = ("retained", "unsubscribed")
_TRUTH = {"true": "1", "yes": "1", "false": "0", "no": "0"}


@dataclass(frozen=True)
class TakenResults(Readable):
    """Where the rows went: `read` = `accepted` + `refused` + `repeated`. `control_treated`: control users who, by the
    file, got an action all the same; they stay control."""

    name: str
    read: int
    accepted: int
    repeated: int
    refused: Mapping[str, int]
    control_treated: int
    known_until: datetime

    def sections(self) -> tuple[Section, ...]:
        """The sum, every reason, and what to make of it."""
        told = [_SUM.format(**vars(self) | {"refused": sum(self.refused.values())})]
        told += [_REASONS[why].format(count=n) for why, n in self.refused.items() if n]
        told += [_KEPT.format(name=self.name)] if sum(self.refused.values()) else []
        told += [_TREATED.format(count=self.control_treated)] if self.control_treated else []
        return (Section(lines=tuple(told)),)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return vars(self) | {"refused": dict(self.refused), "known_until": self.known_until.isoformat()}


def take_results(root: Path, name: str, file: Path, *, until: datetime | None = None) -> TakenResults:
    """Read a file of results: `user_id` and any of `occurred_at`, `retained`, `orders`, `value`, `refund`, `discount`,
    `unsubscribed`, `cost`, `action` (what the user really got), `arm` (checked, not kept).

    A row that is there already is repeated and not added. A row that cannot be taken goes to the campaign's `refused`
    table with its reason: nobody of that name in the campaign, another arm than the one drawn, an outcome before the
    assignment or after the window, a value that is none. `until`: the moment up to which the file tells everything;
    by default its newest `occurred_at`. Raises InputError if the file has no such columns.
    """
    home = Places(root).home
    campaigns = Campaigns(home / "campaigns")
    campaign = campaigns.load(name)
    table = read_table(file)
    table.check_columns(["user_id"])
    if not set(RESULTS) & set(table.frame.columns) - {"user_id", "occurred_at"}:
        raise InputError(
            "{file} has no result: expected columns besides user_id are {listed}",
            "{file} 中没有结果：除 user_id 外应有这些列：{listed}",
            file=file.name,
            listed=", ".join(n for n in RESULTS if n != "user_id"),
        )
    with steady_disk(), one_writer(home):
        assigned = campaigns.read(name, "assigned")
        judged = _judged(_typed(table.frame), assigned, campaign)
        sound = judged.filter(pl.col("reason").is_null()).select(list(RESULTS))
        bad = judged.filter(pl.col("reason").is_not_null()).select("reason", "row")
        fresh = sound.unique(maintain_order=True).join(
            campaigns.read(name, "results"), on=list(RESULTS), how="anti", nulls_equal=True, maintain_order="left"
        )
        newly = bad.unique(maintain_order=True).join(campaigns.read(name, "refused"), on=["reason", "row"], how="anti")
        campaigns.add(name, "results", fresh)
        campaigns.add(name, "refused", newly)
        campaign = _known_further(campaign, sound, until)
        campaigns.save(campaign)
    reasons = dict(bad.group_by("reason").len().sort("reason").iter_rows())
    return TakenResults(
        name, table.frame.height, fresh.height, sound.height - fresh.height, reasons,
        len(treated_anyway(sound, assigned)), campaign.known_until or campaign.started_at,
    )  # fmt: skip


def treated_anyway(results: pl.DataFrame, assigned: pl.DataFrame) -> pl.Series:
    """Control users who got an action, by the column `action` of results or of exposures."""
    got = results.filter(pl.col("action").is_not_null() & (pl.col("action") != NOTHING))["user_id"].unique()
    control = assigned.filter(pl.col("arm") == CONTROL)["user_id"]
    return control.filter(control.is_in(got.implode()))


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with canonical types, their own text in `row`, and `unreadable` where a value is none."""
    given = [n for n in RESULTS if n in frame.columns]
    texts = frame.select(pl.col(n).cast(pl.String).str.strip_chars().replace("", None) for n in frame.columns)
    rows = [json.dumps(r, ensure_ascii=False, sort_keys=True) for r in texts.iter_rows(named=True)]
    columns = [_read_column(texts, n) for n in given]
    arm = texts["arm"] if "arm" in texts.columns else pl.repeat(None, len(texts), dtype=pl.String, eager=True)
    typed = pl.DataFrame(columns).with_columns(
        [pl.lit(None, t).alias(n) for n, t in RESULTS.items() if n not in given],
        arm=arm,
        row=pl.Series(rows, dtype=pl.String),
    )
    lost = [texts[n].is_not_null() & typed[n].is_null() for n in given if n != "user_id"]
    unreadable = pl.Series([False] * len(texts), dtype=pl.Boolean)
    for column in lost:
        unreadable = unreadable | column
    users = resolve_users(typed["user_id"])
    return typed.with_columns(users.alias("user_id"), unreadable.alias("unreadable"))


def _read_column(texts: pl.DataFrame, name: str) -> pl.Series:
    text = texts[name]
    if name == "occurred_at":
        return _moments(text)
    if name not in _NUMBERS:
        return text
    told = text.str.to_lowercase().replace(_TRUTH) if name in _YES_NO else text
    number = told.cast(pl.Float64, strict=False)
    sound = number.is_finite() & (number.is_in([0.0, 1.0]) if name in _YES_NO else number.is_not_null())
    return number.to_frame().select(pl.when(sound).then(pl.col(name))).to_series()


def _moments(text: pl.Series) -> pl.Series:
    frame = text.to_frame("t").with_columns(pl.col("t").str.replace(r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00:00"))
    plain = pl.col("t").str.replace(" ", "T").str.replace(r"(Z|\+00:?00)$", "")
    moment = plain.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return frame.select(occurred_at=moment.dt.replace_time_zone("UTC").cast(TIME)).to_series()


def _judged(rows: pl.DataFrame, assigned: pl.DataFrame, campaign: Campaign) -> pl.DataFrame:
    """The rows with the first reason that speaks against each, null for none."""
    drawn = assigned.select("user_id", "assigned_at", drawn="arm")
    told = rows.join(drawn, on="user_id", how="left", maintain_order="left")
    closing = closing_of(ChurnDefinition.from_json(campaign.definition))
    at, since = pl.col("occurred_at"), pl.col("assigned_at")
    tests = {
        "no_user": pl.col("user_id").is_null() | (pl.col("user_id") == ""),
        "not_in_campaign": pl.col("drawn").is_null(),
        "two_arms": pl.col("arm").is_not_null() & (pl.col("arm") != pl.col("drawn")),
        "bad_value": pl.col("unreadable"),
        "before_assignment": at.is_not_null() & (at <= since),
        "after_window": at.is_not_null() & (at > since + closing),
    }
    reason = pl.coalesce(pl.when(test).then(pl.lit(why)) for why, test in tests.items())
    return told.with_columns(reason=reason)


def _known_further(campaign: Campaign, sound: pl.DataFrame, until: datetime | None) -> Campaign:
    told = until or sound["occurred_at"].max()
    known = [t for t in (told, campaign.known_until) if isinstance(t, datetime)]
    return replace(campaign, known_until=max(known)) if known else campaign


_SUM = Text(
    "{read:,} rows read = {accepted:,} accepted + {refused:,} refused + {repeated:,} that were there already",
    "读取 {read:,} 行 = 接受 {accepted:,} + 拒绝 {refused:,} + 此前已有 {repeated:,}",
)
_REASONS = {
    "no_user": Text("{count:,} refused: no user_id", "拒绝 {count:,} 行：没有 user_id"),
    "not_in_campaign": Text(
        "{count:,} refused: the user is not in the campaign", "拒绝 {count:,} 行：用户不在该活动中"
    ),
    "two_arms": Text(
        "{count:,} refused: the file puts the user into another arm than the one drawn; the draw holds",
        "拒绝 {count:,} 行：文件中的组与抽取的组不同；以抽取为准",
    ),
    "bad_value": Text("{count:,} refused: a value cannot be read", "拒绝 {count:,} 行：有无法读取的值"),
    "before_assignment": Text(
        "{count:,} refused: the outcome lies before the assignment, so the action cannot have caused it",
        "拒绝 {count:,} 行：结果早于分组，不可能由动作引起",
    ),
    "after_window": Text("{count:,} refused: after the outcome window", "拒绝 {count:,} 行：在结果窗口之后"),
}
_KEPT = Text(
    "the refused rows are kept in .ebbtide/campaigns/{name}: correct them and read the file again",
    "被拒绝的行保存在 .ebbtide/campaigns/{name}：请改正后重新读取文件",
)
_TREATED = Text(
    "{count:,} control customers were treated anyway: they stay control, and the effect will look smaller than it is",
    "{count:,} 位对照顾客实际被触达：他们仍算对照，测得的效果会偏小",
)
