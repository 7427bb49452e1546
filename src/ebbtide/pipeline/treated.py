"""Treated customers in training: from the lake's exposures to rows, and what a training run says it did with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from ebbtide.churn.labels import NEVER_US
from ebbtide.core.action_settings import NOTHING
from ebbtide.core.errors import DataError
from ebbtide.core.ids import hash_texts
from ebbtide.core.language import Text
from ebbtide.core.windows import to_us
from ebbtide.events.lake import Lake
from ebbtide.models.base import Rows
from ebbtide.models.exposures import Exposures, Rule
from ebbtide.models.undone import ActionEffect, Learnable

_WHAT_BECAME: dict[Rule, Text] = {
    "leave_out": Text(
        "{count:,} rows of customers who got an action inside the outcome window are left out: the risk and all figures are "
        "those without an action ([train] treated)",
        "结果窗口内获得过动作的顾客共 {count:,} 行未计入：风险与全部指标均为不采取动作时的情况（[train] treated）",
    ),
    "model": Text(
        "{count:,} rows of customers who got an action inside the outcome window are learnt from as if nothing had been done: "
        "the risk is the one without an action, if among customers alike who got one is as good as chance, as with a drawn "
        "control group ([train] treated)",
        "结果窗口内获得过动作的顾客共 {count:,} 行，按未采取动作时的情况学习：若相似顾客中谁获得动作等同随机（如抽取了对照组），"
        "则风险为不采取动作时的风险（[train] treated）",
    ),
    "keep": Text(
        "{count:,} rows of customers who got an action inside the outcome window are learnt from as they are: the risk is the "
        "one with the actions that are usual here, and figures are those without ([train] treated)",
        "结果窗口内获得过动作的顾客共 {count:,} 行照原样学习：风险为含惯常动作时的风险，而指标为不采取动作时的情况（[train] treated）",
    ),
}
_EFFECT = Text(
    "{kind}: log-odds of churn {shift:+.2f} (standard error {error:.2f}) in {rows:,} rows",
    "{kind}：流失的对数几率 {shift:+.2f}（标准误 {error:.2f}），{rows:,} 行",
)
_OTHERS = Text("other actions", "其他动作")


@dataclass(frozen=True)
class TreatedRows:
    """How many rows had an action inside their outcome window, what became of them, and, where they were modelled, what
    each action was found to have done."""

    rule: Rule
    rows: int
    effects: tuple[ActionEffect, ...] = ()

    @property
    def left_out(self) -> int:
        """How many rows nothing was learnt from."""
        return self.rows if self.rule == "leave_out" else 0

    def lines(self) -> list[Text]:
        """Nothing where nobody was treated."""
        if not self.rows:
            return []
        told = [
            _EFFECT.format(kind=_OTHERS if e.kind is None else e.kind, shift=e.log_odds, error=e.error, rows=e.rows)
            for e in self.effects
        ]
        return [_WHAT_BECAME[self.rule].format(count=self.rows), *told]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"rule": self.rule, "rows": self.rows, "effects": [asdict(e) for e in self.effects]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TreatedRows:
        """The inverse of `to_json`."""
        return cls(data["rule"], data["rows"], tuple(ActionEffect(**e) for e in data["effects"]))


def treated_rows(rows: Rows, learnt: Learnable) -> TreatedRows:
    """What a bundle that learnt `learnt` made of the treated among all `rows`."""
    if rows.exposures is None:
        return TreatedRows("keep", 0)
    return TreatedRows(rows.exposures.rule, int((rows.treated_us() < NEVER_US).sum()), learnt.effects)


def lines_of(manifest: Mapping[str, Any]) -> list[Text]:
    """What a bundle's manifest says of treated rows: nothing where there were none, or it is from before that was kept."""
    return TreatedRows.from_json(manifest["treated"]).lines() if "treated" in manifest else []


def known_exposures(lake: Lake, until: datetime, rule: Rule) -> Exposures | None:
    """The exposures to real actions that were known at `until`; None without any.

    One without `ingested_at` was known when it happened, and none was known before.
    """
    since = pl.max_horizontal("occurred_at", pl.coalesce("ingested_at", "occurred_at"))
    exposures = lake.read_table("exposures").with_columns(known=since)
    real = exposures.filter((pl.col("known") <= until) & (pl.col("action") != NOTHING))
    if not len(real):
        return None
    kinds = tuple(sorted(real["action"].unique()))
    user, kind = hash_texts(real["user_id"]), np.searchsorted(np.array(kinds), real["action"].to_numpy())
    at, known = (real[name].dt.epoch("us").to_numpy() for name in ("occurred_at", "known"))
    order = np.lexsort((kind, known, at, user))
    return Exposures(user[order], at[order], known[order], kind[order].astype(np.int64), kinds, rule)


def check_untreated(rows: Rows, until: datetime) -> None:
    """Raises DataError if the risk without an action is asked for and everybody got one."""
    asks = rows.exposures is not None and rows.exposures.rule != "keep"
    if asks and len(rows) and (rows.treated_us() <= to_us(until)).all():
        raise DataError(
            "every customer was treated inside the outcome window, so nothing is known of what happens without an "
            "action: set [train] treated to keep, and keep a control group from now on",
            "每位顾客在结果窗口内都被触达，无从得知不采取动作时的情况：请将 [train] treated 设为 keep，并从此保留对照组",
        )
