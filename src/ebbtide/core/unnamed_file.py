"""Files without a name: bytes that lie on disk for as long as this process looks at them, and in no folder.

The operating system keeps what is hot of them in its file cache and gives that up when memory is short, which it cannot do with
a process's own memory. When the process ends, however it ends, nothing of them is left.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast


def map_unnamed(folder: Path, write: Callable[[BinaryIO], object]) -> mmap.mmap:
    """What `write` writes, which is not nothing, as memory that can only be read; on the disk of `folder`.

    Raises OSError if the disk is full or away.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        write(cast(BinaryIO, file))
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
