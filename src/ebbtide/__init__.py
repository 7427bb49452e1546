"""Ebbtide: who is drifting away from a shop, why, and how sure it is.

    >>> from ebbtide import Workspace
    >>> Workspace("my-shop")
    Workspace('my-shop')

Names load on first use, so that `import ebbtide` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebbtide.core.config import Config as Config
    from ebbtide.core.config import load_config as load_config
    from ebbtide.core.errors import EbbtideError as EbbtideError
    from ebbtide.workspace import Workspace as Workspace

_PLACES = {
    "Config": "ebbtide.core.config",
    "EbbtideError": "ebbtide.core.errors",
    "Workspace": "ebbtide.workspace",
    "load_config": "ebbtide.core.config",
}
__all__ = ["Config", "EbbtideError", "Workspace", "load_config"]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'ebbtide' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
