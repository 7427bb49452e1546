"""The flag `--reasons` of the commands that score."""

from __future__ import annotations

from ebbtide.core.errors import InputError
from ebbtide.pipeline.score import ReasonsFor

_REASONS: dict[str, ReasonsFor] = {"none": "none", "at-risk": "at_risk", "all": "all"}


def wanted_reasons(flag: str) -> ReasonsFor:
    """Who gets reasons, by what the flag says. Raises InputError."""
    if flag not in _REASONS:
        raise InputError("--reasons: none, at-risk or all", "--reasons：none、at-risk 或 all")
    return _REASONS[flag]
