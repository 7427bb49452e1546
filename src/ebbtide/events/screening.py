"""Text files are screened before they are read: every row is counted, and rows that cannot be split are taken out.

DuckDB's CSV reader loses rows without a word when a quote is never closed or a line outgrows its buffers, so it is
given clean files only. The rules are those of RFC 4180 with any delimiter: a quote opens a cell at its first
character and doubles to stand for itself. A broken row is given up line by line: reading resumes at its second line,
so one open quote costs one line and not the rest of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.errors import SourceError

MAX_ROW_BYTES = 4_000_000
"""A longer row is no row of a log: the file lacks line ends, or a quote was never closed."""

_BLOCK = 1 << 22
_NONE = 256
_END, _BAD = 0, 1
_FIELD_START, _PLAIN, _QUOTED, _QUOTE_SEEN = range(4)


@dataclass(frozen=True)
class Layout:
    """How a row splits: number of cells, delimiter, quote; without a delimiter a row is a line."""

    cells: int = 1
    delimiter: str = ""
    quote: str = ""


@dataclass(frozen=True)
class Screened:
    """A text file that reads without error: the file itself, or a copy without its broken rows.

    `rows`: rows in it, header included, empty lines not. `broken`: 0-based positions of the broken rows among all
    rows; their text stands in `broken_file` (columns `position`, `raw`), None if there are none.
    """

    file: Path
    rows: int
    broken: NDArray[np.int64]
    broken_file: Path | None

    def positions(self, good: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the good rows with these 0-based positions stand among all rows."""
        before = self.broken - np.arange(len(self.broken))
        return good + np.searchsorted(before, good, side="right")


def screen_text(file: Path, layout: Layout, folder: Path) -> Screened:
    """Count the rows of a (compressed) text file, and copy the good ones to `folder` if some are broken.

    Broken: a number of cells other than the layout's, text after a closing quote, a quote that stays open, a lone
    carriage return, a NUL, bytes that are no UTF-8. Files that mix the line ends of Unix and Windows are copied too,
    with those of Unix.
    Raises SourceError if a line is longer than MAX_ROW_BYTES, or a compressed file is truncated or damaged.
    """
    rows = windows = 0
    for piece in _pieces(file, layout):
        rows, windows = rows + piece.rows, windows + piece.windows
        if piece.bad or 0 < windows < rows:
            return _copy_good(file, layout, folder)
    return Screened(file, rows, np.zeros(0, np.int64), None)


@contextmanager
def open_bytes(file: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed if its name says gz or zst.

    Raises SourceError if it cannot be opened.
    """
    packing = {".gz": "gzip", ".zst": "zstd"}.get(file.suffix.lower())
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(pa.OSFile(str(file)))
        except OSError as fault:
            raise SourceError(
                "{file} cannot be opened: {why}",
                "无法打开 {file}：{why}",
                file=file.name,
                why=fault.strerror or str(fault).split(":")[0],
            ) from None
        yield stack.enter_context(pa.CompressedInputStream(stream, packing)) if packing else stream


def read_blocks(file: Path, size: int = _BLOCK) -> Iterator[bytes]:
    """The decompressed bytes of a file in blocks.

    Raises SourceError if its compression does not read to the end.
    """
    with open_bytes(file) as stream:
        while True:
            try:
                block = stream.read(size)
            except OSError:
                raise SourceError(
                    "{file} is truncated or damaged (its compression does not read to the end): copy it again; "
                    "nothing of it was taken",
                    "{file} 已截断或损坏（压缩数据无法读到结尾）：请重新复制；其中内容均未导入",
                    file=file.name,
                ) from None
            if not block:
                return
            yield block


@dataclass(frozen=True)
class _Piece:
    """A run of good rows, or one line given up; `windows` of the rows end in CR LF."""

    data: memoryview
    rows: int
    bad: bool
    windows: int = 0


def _pieces(file: Path, layout: Layout) -> Iterator[_Piece]:
    """The file cut into runs of good rows and single bad lines, in order; each piece ends with its line end."""
    tail = b""
    for block, last in _with_last(read_blocks(file)):
        data = memoryview(_ended(tail + block) if last else tail + block)
        start = 0
        while start < len(data):
            end, rows, state, windows = _scan(
                np.frombuffer(data, np.uint8), start, layout.cells, _code(layout.delimiter), _code(layout.quote)
            )
            if end > start:
                yield _Piece(data[start:end], rows, bad=False, windows=windows)
            start = end
            if state == _END and not (last or len(data) - start > MAX_ROW_BYTES):
                break
            if start < len(data):
                stop = _line_end(file, data, start)
                yield _Piece(data[start:stop], 1, bad=True)
                start = stop
        tail = bytes(data[start:])


def _ended(data: bytes) -> bytes:
    """The last bytes of a file, with a line end of the kind that the file uses."""
    if data.endswith(b"\n") or not data:
        return data
    return data.rstrip(b"\r") + (b"\r\n" if b"\r\n" in data else b"\n")


def _with_last(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each block and whether it is the last one."""
    held = next(blocks, b"")
    for block in blocks:
        yield held, False
        held = block
    yield held, True


def _line_end(file: Path, data: memoryview, start: int) -> int:
    """Where the line ends that begins at `start`; the size limit also holds for it alone."""
    limit = min(len(data), start + MAX_ROW_BYTES + 1)
    found = bytes(data[start:limit]).find(b"\n")
    if found < 0:
        raise SourceError(
            "{file} has a line of more than {limit:,} bytes: it lacks line ends; nothing of it was taken",
            "{file} 有一行超过 {limit:,} 字节：缺少换行符；其中内容均未导入",
            file=file.name,
            limit=MAX_ROW_BYTES,
        )
    return start + found + 1


def _copy_good(file: Path, layout: Layout, folder: Path) -> Screened:
    folder.mkdir(parents=True, exist_ok=True)
    good, bad = folder / "screened.txt", folder / "broken.parquet"
    positions: list[int] = []
    position = rows = 0
    schema = pa.schema([("position", pa.int64()), ("raw", pa.string())])
    with good.open("wb") as sink, pq.ParquetWriter(bad, schema) as writer:
        held: list[tuple[int, str]] = []
        for piece in _pieces(file, layout):
            if piece.bad:
                positions.append(position)
                held.append((position, bytes(piece.data).decode("utf-8", "backslashreplace").rstrip("\r\n")))
                if len(held) >= 1000:
                    _write_broken(writer, held)
            else:
                sink.write(bytes(piece.data).replace(b"\r\n", b"\n"))
                rows += piece.rows
            position += piece.rows
        _write_broken(writer, held)
    return Screened(good, rows, np.array(positions, np.int64), bad if positions else None)


def _write_broken(writer: pq.ParquetWriter, held: list[tuple[int, str]]) -> None:
    if held:
        places, texts = zip(*held, strict=True)
        writer.write_table(pa.table({"position": pa.array(places, pa.int64()), "raw": pa.array(texts, pa.string())}))
        held.clear()


def _code(mark: str) -> int:
    return ord(mark) if mark else _NONE


@njit(cache=True)
def _scan(data: NDArray[np.uint8], start: int, cells: int, delimiter: int, quote: int) -> tuple[int, int, int, int]:
    """Walk over good rows from `start`: (where the first row that is not good and complete begins, rows, why, rows ending in CR LF).

    Why: _END, the row runs past the data; _BAD, it is broken. Empty lines belong to the good run and are not counted.
    """
    rows = windows = 0
    row, mode, found = start, _FIELD_START, 1
    need, low, high = 0, 0x80, 0xBF  # continuation bytes due in a UTF-8 sequence, and the range of the next one
    for i in range(start, len(data)):
        c = data[i]
        if c >= 0x80 or need:
            if need:
                if c < low or c > high:
                    return row, rows, _BAD, windows
                need, low, high = need - 1, 0x80, 0xBF
            elif 0xC2 <= c <= 0xDF:
                need = 1
            elif 0xE0 <= c <= 0xEF:
                need = 2
                low, high = 0xA0 if c == 0xE0 else 0x80, 0x9F if c == 0xED else 0xBF
            elif 0xF0 <= c <= 0xF4:
                need = 3
                low, high = 0x90 if c == 0xF0 else 0x80, 0x8F if c == 0xF4 else 0xBF
            else:
                return row, rows, _BAD, windows
        if c == 10:
            if mode != _QUOTED:
                empty = i == row or (i == row + 1 and data[row] == 13)
                if not empty:
                    if found != cells:
                        return row, rows, _BAD, windows
                    rows += 1
                    windows += data[i - 1] == 13
                row, mode, found = i + 1, _FIELD_START, 1
        elif mode == _QUOTED:
            if c == quote:
                mode = _QUOTE_SEEN
            elif c == 0:
                return row, rows, _BAD, windows
        elif c == quote:
            if mode == _PLAIN:
                continue
            mode = _QUOTED
        elif c == delimiter:
            mode = _FIELD_START
            found += 1
        elif c == 13:
            if i + 1 < len(data) and data[i + 1] != 10 and quote != 256:
                return row, rows, _BAD, windows
        elif c == 0 or mode == _QUOTE_SEEN:
            return row, rows, _BAD, windows
        else:
            mode = _PLAIN
    return row, rows, _END, windows
