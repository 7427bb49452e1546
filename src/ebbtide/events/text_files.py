"""Text files before anything is known of their columns: encoding, first lines, a copy in UTF-8 where needed."""

from __future__ import annotations

import codecs
from pathlib import Path

from ebbtide.core.errors import SourceError
from ebbtide.events.screening import read_blocks

_HEAD_BYTES = 1 << 20
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_USUAL_PACKING = 6
_NULLS = 0.2
"""A share of null bytes that no text but UTF-16 has; less than half where many characters are Chinese."""
_FEW = 0.01
"""A share of undecodable lines up to which they count as broken rows; above it the encoding is another one."""


def read_head(file: Path, encoding: str) -> tuple[str, str]:
    """The first part of a text file, decoded, and its encoding: the given one, by byte order mark, or UTF-8.

    Raises SourceError if it is empty, or neither UTF-8 nor of the given encoding.
    """
    head = next(read_blocks(file, _HEAD_BYTES), b"")
    if not head.strip():
        raise SourceError("{file} is empty", "{file} 是空文件", file=file.name)
    found = next((name for mark, name in _BOMS if head.startswith(mark)), "")
    chosen = found or encoding or "utf-8"
    try:
        decoder = codecs.getincrementaldecoder(chosen)("strict" if chosen not in ("utf-8", "utf-8-sig") else "replace")
        text = decoder.decode(head)
    except LookupError:
        raise SourceError("`{name}` is no known encoding", "未知的编码 `{name}`", name=chosen) from None
    except UnicodeDecodeError:
        raise _other_encoding(file, chosen) from None
    if chosen.startswith("utf-8") and (_undecodable(head) > _FEW or "\0" in text[:1000]):
        raise _other_encoding(file, "UTF-8")
    return text.lstrip("\ufeff"), chosen


def estimated_lines(file: Path) -> int:
    """About how many lines a text file has, by its size and its first lines."""
    head = next(read_blocks(file, _HEAD_BYTES), b"")
    packed = file.suffix.lower() in (".gz", ".zst")
    size = max(file.stat().st_size * (_USUAL_PACKING if packed else 1), len(head))
    return round(size * head.count(b"\n") / len(head)) if head else 0


def guess_encoding(file: Path) -> str:
    """An encoding for a text file that is neither UTF-8 nor marked as UTF-16; "" if it needs none.

    A null byte in nearly every other place: UTF-16 without a mark. Mostly everyday Chinese characters and signs (those of
    GB 2312, whose two bytes are both high) where it is read as GB 18030: that; else Western Windows, where a high byte
    mostly stands alone.
    """
    if file.suffix.lower() in (".parquet", ".pq"):
        return ""
    head = next(read_blocks(file, _HEAD_BYTES), b"")
    if any(head.startswith(mark) for mark, _ in _BOMS):
        return ""
    if head.count(b"\0") > len(head) * _NULLS:
        return "utf-16-le" if head[1::2].count(b"\0") > head[::2].count(b"\0") else "utf-16-be"
    if _undecodable(head) <= _FEW:
        return ""
    text = codecs.getincrementaldecoder("gb18030")("replace").decode(head)
    strange = [c for c in text if not c.isascii()]
    usual = sum(bool(c.encode("gb2312", "ignore")) for c in strange)
    chinese = any("\u4e00" <= c <= "\u9fff" for c in strange)
    return "gb18030" if chinese and usual > len(strange) * 0.8 else "cp1252"


def as_utf8(file: Path, encoding: str, folder: Path) -> Path:
    """The file itself if it is UTF-8, else a copy in UTF-8 in `folder`.

    Raises SourceError if it cannot be decoded to its end.
    """
    if encoding in ("utf-8", "utf-8-sig"):
        return file
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "decoded.txt"
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        with copy.open("w", encoding="utf-8", newline="") as sink:
            for block in read_blocks(file):
                sink.write(decoder.decode(block))
            sink.write(decoder.decode(b"", final=True))
    except UnicodeDecodeError:
        raise _other_encoding(file, encoding) from None
    return copy


def _undecodable(head: bytes) -> float:
    """Share of lines that are no UTF-8."""
    lines = head.split(b"\n")[:-1] or [head]
    bad = 0
    for line in lines:
        if not line.isascii():
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                bad += 1
    return bad / len(lines)


def _other_encoding(file: Path, expected: str) -> SourceError:
    return SourceError(
        "{file} is not encoded in {expected}: set `encoding` of its source, for example `gb18030` (Chinese Windows), "
        "`cp1252` (Western Windows) or `utf-16`",
        "{file} 的编码不是 {expected}：请为该来源设置 `encoding`，例如 `gb18030`（中文 Windows）、`cp1252`"
        "（西欧 Windows）或 `utf-16`",
        file=file.name,
        expected=expected,
    )
