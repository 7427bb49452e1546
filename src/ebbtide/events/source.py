"""What a source of the config asks for, with its preset filled in: the one description that reading goes by."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from ebbtide.core.errors import ConfigError
from ebbtide.core.language import Text
from ebbtide.core.settings import ShopConfig, SourceConfig
from ebbtide.events.numbers import NumberStyle
from ebbtide.events.raw import nearest

_MAPPING_VERSION = 1
"""Raised when the same mapping begins to give other rows."""


@dataclass(frozen=True)
class Preset:
    """A shipped mapping. `names` are the columns of files without a header; `expand` is the JSON path of a list, of
    which each element makes an event of its own (`_line`, `_line_number`) where `expand_when` holds; by the columns
    of its `signature` `init` knows the format."""

    name: str
    title: str
    columns: Mapping[str, str]
    format: str = ""
    signature: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    where: str = ""
    expand: str = ""
    expand_when: str = "true"
    macros: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A source ready to be read: canonical column -> SQL, of which those in `optional` (a preset's) may be left out
    where a file has nothing for them."""

    config: SourceConfig
    columns: Mapping[str, str]
    where: str
    optional: frozenset[str]
    preset: Preset

    @property
    def name(self) -> str:
        """The name of the source."""
        return self.config.name

    @property
    def table(self) -> str:
        """The canonical table that it fills."""
        return self.config.table

    @property
    def numbers(self) -> NumberStyle:
        """How its text files write numbers."""
        return NumberStyle(self.config.decimal, self.config.currency_sign)

    def mapping_hash(self, shop: ShopConfig) -> str:
        """Changes when the same raw row would give another canonical row."""
        ignored = {"path", "url", "query", "preset", "columns", "where"}
        told = {
            "version": _MAPPING_VERSION,
            "source": self.config.model_dump(
                exclude=ignored if self.config.currency_sign else {*ignored, "currency_sign"}
            ),
            "columns": dict(self.columns),
            "where": self.where,
            "preset": asdict(self.preset),
            "shop": [shop.currency, shop.timezone, shop.arrival_lag],
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def preset_names() -> list[str]:
    """The shipped presets, sorted.

    >>> "ga4" in preset_names()
    True
    """
    folder = files("ebbtide.events") / "presets"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


@cache
def load_preset(name: str) -> Preset:
    """A shipped preset.

    Raises ConfigError, with the nearest name, if there is none of that name.
    """
    if name not in preset_names():
        close = nearest(name, preset_names())
        hint = Text(f" (did you mean `{close}`?)", f"（是否想写 `{close}`？）") if close else Text("", "")
        listed = ", ".join(preset_names())
        raise ConfigError(
            [
                Text(
                    "`{name}` is no preset{hint}; there are {listed}", "没有预设 `{name}`{hint}；可用：{listed}"
                ).format(name=name, hint=hint, listed=listed)
            ]
        )
    told: dict[str, Any] = tomllib.loads((files("ebbtide.events") / "presets" / f"{name}.toml").read_text("utf-8"))
    told |= {key: tuple(told.get(key, ())) for key in ("names", "signature")}
    return Preset(name=name, **told)


def resolve_source(config: SourceConfig) -> Source:
    """Fill in the preset. The source's own columns override the preset's one by one; an empty text drops a column.

    Raises ConfigError for an unknown preset.
    """
    preset = load_preset(config.preset) if config.preset else Preset("", "", {})
    columns = {n: sql for n, sql in {**preset.columns, **config.columns}.items() if sql.strip()}
    where = " and ".join(f"({w})" for w in (preset.where, config.where) if w.strip())
    return Source(config, columns, where, frozenset(preset.columns) - set(config.columns), preset)
