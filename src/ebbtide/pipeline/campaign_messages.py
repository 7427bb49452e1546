"""The texts of a campaign: one for each treated user whose action is carried by a message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ebbtide.actions.campaign import Campaigns
from ebbtide.actions.catalogue import declared_actions
from ebbtide.actions.experiment import TREATMENT
from ebbtide.core.config import Config
from ebbtide.core.language import Language
from ebbtide.core.progress import Progress, silent
from ebbtide.pipeline.message import Messages, compose
from ebbtide.pipeline.places import Places

_KINDS = {"coupon": "coupon", "recommendation": "recommendation"}
_SPOKEN = ("call",)
"""Kinds of action that no written message carries."""


def messages_of_campaign(
    config: Config,
    root: Path,
    name: str,
    *,
    given: Mapping[str, str] | None = None,
    language: Language | None = None,
    progress: Progress = silent,
) -> Messages:
    """A message to each treated user, as known now: a coupon's text for a coupon, a recommendation's for a
    recommendation, none for a call, else what fits. Control, the holdout and who has not consented are not among the
    treated: the draw left them out.

    Raises InputError for an unknown campaign, or if a text needs a fact (`offer`, `until`) that is not given.
    """
    campaigns = Campaigns(Places(root).home / "campaigns")
    campaigns.load(name)
    treated = campaigns.read(name, "assigned").filter(pl.col("arm") == TREATMENT)
    kind_of = {a.name: a.kind for a in declared_actions(config)}
    told = {user: kind_of.get(action, "message") for user, action in treated.select("user_id", "action").iter_rows()}
    users = [user for user, kind in told.items() if kind not in _SPOKEN]
    kinds = {user: _KINDS[told[user]] for user in users if told[user] in _KINDS}
    return compose(config, root, users, kind=kinds, given=given, language=language, progress=progress)
