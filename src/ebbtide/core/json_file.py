"""A JSON file that is whole or as it was before: written aside, forced to disk, moved into place."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json_file(file: Path, data: Mapping[str, Any]) -> None:
    """Write `data` as `file`, making its folder. NaN is refused (ValueError); other objects are written as text."""
    told = json.dumps(data, indent=1, ensure_ascii=False, default=str, allow_nan=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as handle:
            handle.write(told + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(aside, file)
    finally:
        aside.unlink(missing_ok=True)


def read_json_file(file: Path) -> dict[str, Any]:
    """The object that `write_json_file` wrote."""
    return dict(json.loads(file.read_text(encoding="utf-8")))
