"""In which time zone a user lives: as the shop says, else that of a country with only one, else the shop's own."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from zoneinfo import available_timezones

import polars as pl


def zones_of(users: pl.DataFrame, profile: pl.DataFrame, default: str) -> pl.Series:
    """The zone of each user of the profile, in its order.

    `users`: rows of the users table; the newest row's property `{"timezone": "Europe/Paris"}` counts. Then the profile's
    `country` (two letters), where it has a single zone; then `default`.
    """
    said = pl.col("properties").str.json_path_match("$.timezone")
    known = pl.Series(sorted(available_timezones()))
    told = (
        users.filter(pl.col("properties").str.contains("timezone", literal=True))
        .sort("valid_from", nulls_last=False)
        .group_by("user_id")
        .agg(zone=said.filter(said.is_in(known.implode())).last())
    )
    country = pl.col("country") if "country" in profile.columns else pl.lit(None, pl.String)
    home = country.str.to_uppercase().replace_strict(_only_zones(), default=None, return_dtype=pl.String)
    joined = profile.select("user_id", home=home).join(told, on="user_id", how="left", maintain_order="left")
    return joined.select(pl.coalesce("zone", "home", pl.lit(default)).alias("zone"))["zone"]


@cache
def _only_zones() -> dict[str, str]:
    """Country code -> zone, for countries with one zone (tzdata's zone.tab)."""
    found: dict[str, list[str]] = {}
    for line in files("tzdata.zoneinfo").joinpath("zone.tab").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            code, _, zone = line.split("\t")[:3]
            found.setdefault(code, []).append(zone)
    several = {"DE": "Europe/Berlin", "CN": "Asia/Shanghai"}  # a second zone of a village or a convention
    return {code: zones[0] for code, zones in found.items() if len(zones) == 1} | several
