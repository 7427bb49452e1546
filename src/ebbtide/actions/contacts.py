"""Which contacts a user had: actions of past campaigns and messages of the shop, as known at a moment.

What belongs to an order (a receipt, a delivery note) is no contact: messages whose properties say
`{"transactional": true}`, and actions that are declared transactional.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import polars as pl

from ebbtide.core.action_settings import NOTHING
from ebbtide.events.schema import TIME

CONTACT_COLUMNS = {"user_id": pl.String(), "at": TIME, "campaign_id": pl.String(), "action": pl.String()}
MESSAGE_COLUMNS = ("user_id", "occurred_at", "ingested_at", "type", "campaign_id", "properties")
UNTREATED = frozenset([NOTHING, "control", "none", ""])
"""Names under which an exposure means that nothing was done."""


def contacts_of(
    events: pl.DataFrame, exposures: pl.DataFrame, as_of: datetime, transactional: Collection[str] = ()
) -> pl.DataFrame:
    """One row a contact: user_id, at, campaign_id, action (null for a message of which the action is not known).

    A message of a campaign in which the user's exposure is recorded is that exposure, not a second contact. Counts
    only what occurred and was known at `as_of`. `transactional`: actions that are no contacts.
    """
    known = (pl.col("occurred_at") <= as_of) & (pl.col("ingested_at") <= as_of)
    done = exposures.filter(known & ~pl.col("action").str.to_lowercase().is_in(UNTREATED).fill_null(True))
    kept = ~pl.col("action").is_in(list(transactional))
    told = events.filter(known & (pl.col("type") == "message") & ~_is_transactional())
    told = told.join(done, on=["user_id", "campaign_id"], how="anti")
    none = pl.lit(None, pl.String)
    return pl.concat(
        [
            done.filter(kept).select("user_id", at="occurred_at", campaign_id="campaign_id", action="action"),
            told.select("user_id", at="occurred_at", campaign_id="campaign_id", action=none),
        ]
    ).cast(CONTACT_COLUMNS)  # type: ignore[arg-type]


def _is_transactional() -> pl.Expr:
    """Read only where `properties` speaks of it at all."""
    said = pl.col("properties").str.contains("transactional", literal=True)
    text = pl.when(said).then(pl.col("properties"))
    return (text.str.json_path_match("$.transactional") == "true").fill_null(False)
