"""The body of a call: read up to a limit, unpacked up to a limit, parsed up to a depth."""

from __future__ import annotations

import zlib

import orjson
from fastapi import Request

from ebbtide.core.language import Text
from ebbtide.serve.problems import ProblemError

MAX_DEPTH = 32


async def read_json(request: Request, limit: int) -> tuple[object, bytes]:
    """The JSON of a body and its bytes.

    Raises ProblemError: 413 if it is longer than `limit` bytes (packed or unpacked) or nested deeper than MAX_DEPTH,
    415 for another form or packing, 400 if it is no JSON.
    """
    if request.headers.get("content-type", "application/json").partition(";")[0].strip().lower() not in _FORMS:
        raise ProblemError("unsupported_media_type", Text("send application/json", "请发送 application/json"))
    body = await _read(request, limit)
    packing = request.headers.get("content-encoding", "identity").strip().lower()
    if packing == "gzip":
        body = _unpacked(body, limit)
    elif packing != "identity":
        raise ProblemError("unsupported_media_type", Text("pack with gzip, or not at all", "请使用 gzip 压缩或不压缩"))
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ProblemError("bad_request", Text("the body is no JSON", "请求体不是 JSON")) from None
    if _is_deep(parsed, MAX_DEPTH):
        raise ProblemError("too_large", Text("it is nested too deeply", "嵌套过深"))
    return parsed, body


_FORMS = ("application/json", "text/json", "")


async def _read(request: Request, limit: int) -> bytes:
    told = request.headers.get("content-length", "0")
    if told.isdigit() and int(told) > limit:
        raise _too_large(limit)
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _unpacked(body: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        whole = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise ProblemError("bad_request", Text("the gzip is damaged", "gzip 数据已损坏")) from None
    if len(whole) > limit:
        raise _too_large(limit)
    if not unpacker.eof:
        raise ProblemError("bad_request", Text("the gzip is cut off", "gzip 数据不完整"))
    if unpacker.unused_data:  # to unpack member after member is work without a bound, to leave them aside loses events
        detail = Text("one gzip member was expected, and nothing behind it", "应只有一个 gzip 成员，其后不得有其他数据")
        raise ProblemError("bad_request", detail)
    return whole


def _is_deep(value: object, most: int) -> bool:
    """Whether lists and objects lie in one another more than `most` deep, looked at level by level."""
    level = [value] if isinstance(value, _HOLDERS) else []
    for _ in range(most):
        level = [
            part
            for holder in level
            for part in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(part, _HOLDERS)
        ]
    return bool(level)


_HOLDERS = (dict, list)


def _too_large(limit: int) -> ProblemError:
    detail = Text("a body may have {limit:,} bytes", "请求体最多 {limit:,} 字节").format(limit=limit)
    return ProblemError("too_large", detail, {"Connection": "close"})
