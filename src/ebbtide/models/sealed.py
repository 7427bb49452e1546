"""A sealed folder: complete or not there, every file hashed in its manifest, and the manifest itself too.

A folder is built aside, hashed, forced to disk and moved into place in one step. Reading verifies every hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ebbtide.core.errors import MissingBundleError

MANIFEST = "manifest.json"
_WRITING = ".writing-"
_FORGET_AFTER_SECONDS = 3600


def write_sealed(target: Path, fill: Callable[[Path], None], manifest: Mapping[str, Any]) -> Path:
    """Write `target`: `fill` writes its files into an empty folder, `manifest` is what stands in the manifest beside
    the hashes and must name its `schema_version`.

    A folder that stands there already is replaced whole. Raises OSError if the disk refuses; then nothing is left.
    """
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    _forget_killed_writers(folder)
    aside = Path(tempfile.mkdtemp(prefix=_WRITING, dir=folder))
    try:
        fill(aside)
        files = sorted(p for p in aside.rglob("*") if p.is_file())
        hashes = {p.relative_to(aside).as_posix(): _sha256(p) for p in files}
        sealed = {**manifest, "files": hashes}
        write_json(aside / MANIFEST, sealed | {"sha256": _seal(sealed)})
        _sync(aside)
        _put(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return target


def read_sealed(folder: Path, schema_version: int) -> dict[str, Any]:
    """The manifest of a folder whose every file is as it was written. Raises MissingBundleError if one is not."""
    try:
        manifest = read_json(folder / MANIFEST)
    except ValueError:
        raise _damaged(folder, [MANIFEST]) from None
    if manifest.get("schema_version") != schema_version:
        raise MissingBundleError(
            "the bundle {name} has schema version {found}, this version reads {expected}; train again",
            "模型 {name} 的格式版本为 {found}，此版本读取 {expected}；请重新训练",
            name=folder.name,
            found=manifest.get("schema_version"),
            expected=schema_version,
        )
    if manifest.pop("sha256", None) != _seal(manifest):
        raise _damaged(folder, [MANIFEST])
    changed = [
        name
        for name, digest in manifest["files"].items()
        if not (folder / name).is_file() or _sha256(folder / name) != digest
    ]
    if changed:
        raise _damaged(folder, sorted(changed))
    return manifest


def write_json(file: Path, data: Mapping[str, Any]) -> None:
    """Readable JSON; never NaN."""
    file.write_text(_json(data) + "\n", encoding="utf-8")


def read_json(file: Path) -> dict[str, Any]:
    """The inverse of `write_json`."""
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _put(aside: Path, target: Path) -> None:
    """Move the new folder into place; an old one is set aside first, and comes back if that fails.

    A kill between the two moves leaves the old one under `.replaced-*`, which nobody clears away.
    """
    if not target.exists():
        os.replace(aside, target)
        return
    old = Path(tempfile.mkdtemp(prefix=".replaced-", dir=target.parent)) / target.name
    os.replace(target, old)
    try:
        os.replace(aside, target)
    except OSError:
        os.replace(old, target)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def _damaged(folder: Path, files: list[str]) -> MissingBundleError:
    return MissingBundleError(
        "the bundle {name} is damaged: {files} differ from what was written; train again or roll back",
        "模型 {name} 已损坏：{files} 与写入时不一致；请重新训练或回退",
        name=folder.name,
        files=", ".join(files),
    )


def _seal(manifest: Mapping[str, Any]) -> str:
    """sha256 of a manifest's content."""
    return hashlib.sha256(_json(manifest).encode()).hexdigest()


def _forget_killed_writers(folder: Path) -> None:
    """Remove what writers that were killed have left behind, once it is older than any writing can be."""
    limit = time.time() - _FORGET_AFTER_SECONDS
    for aside in folder.glob(f"{_WRITING}*"):
        if aside.stat().st_mtime < limit:
            shutil.rmtree(aside, ignore_errors=True)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False, default=str, allow_nan=False)


def _sync(folder: Path) -> None:
    """Force files to disk, so that a power cut leaves the folder whole or absent."""
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
