"""What may fail around us: one writer at a time, full disks, folders without rights."""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
from deltalake.exceptions import DeltaError

from ebbtide.core.errors import RetryError

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL_TEXT = re.compile(
    r"no space left|file too large|quota exceeded|os error (28|27|122)|max_temp_directory_size", re.I
)
_CLOSED_TEXT = re.compile(r"permission denied|read-only file system|os error (13|30)", re.I)


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Hold the workspace's write lock. It falls with the process, however that ends.

    Raises RetryError if another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "lock", timeout=0, isolation_level=None)
    try:
        try:
            connection.execute("begin exclusive")
        except sqlite3.OperationalError as fault:
            if "locked" not in str(fault):
                raise _closed_folder() from None
            raise RetryError(
                "another `ebbtide` is writing to this workspace: wait until it is done",
                "另一个 `ebbtide` 正在写入此工作区：请等待其完成",
            ) from None
        yield
    finally:
        connection.close()


@contextmanager
def steady_disk() -> Iterator[None]:
    """Turn the many errors of a full or closed disk into one RetryError; all others pass."""
    try:
        yield
    except (OSError, MemoryError, duckdb.Error, pl.exceptions.PolarsError, DeltaError) as fault:
        known = surroundings_error(fault)
        if known is None:
            raise
        raise known from None


def surroundings_error(fault: BaseException) -> RetryError | None:
    """The error to show if a failure lies with the disk or the memory; None if it lies elsewhere."""
    number = fault.errno if isinstance(fault, OSError) else None
    if number in _FULL or _FULL_TEXT.search(str(fault)):
        return _full_disk()
    if number in _CLOSED or _CLOSED_TEXT.search(str(fault)):
        return _closed_folder()
    if isinstance(fault, (duckdb.OutOfMemoryException, MemoryError)) or "Out of Memory Error" in str(fault):
        return RetryError(
            "memory ran out while reading: raise `lake.memory_limit`, or close other programs",
            "读取时内存不足：请提高 `lake.memory_limit`，或关闭其他程序",
        )
    return None


def _full_disk() -> RetryError:
    return RetryError(
        "the disk is full: make room and run the same command again; the lake is whole and nothing was taken twice",
        "磁盘已满：请腾出空间后重新运行同一命令；数据湖完好，没有重复导入",
    )


def _closed_folder() -> RetryError:
    return RetryError(
        "the workspace cannot be written to: give yourself the rights, or choose another folder with -w",
        "无法写入工作区：请授予写权限，或用 -w 选择其他文件夹",
    )
