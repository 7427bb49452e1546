"""Errors as the API tells them: one shape, RFC 9457 `application/problem+json`, in the caller's language."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from ebbtide.core.errors import (
    ConfigError,
    DataError,
    EbbtideError,
    InputError,
    MissingError,
    RetryError,
    StateError,
    UnknownError,
)
from ebbtide.core.language import Language, Text
from ebbtide.serve.shapes import wrong_places

log = logging.getLogger("ebbtide.serve")
MEDIA_TYPE = "application/problem+json"
_BASE = "https://ebbtide.invalid/problems/"

TITLES: dict[str, tuple[int, Text]] = {
    "bad_request": (400, Text("the call cannot be understood", "无法理解该请求")),
    "unauthorized": (401, Text("no valid key", "没有有效密钥")),
    "forbidden": (403, Text("the key does not allow this", "该密钥无此权限")),
    "not_found": (404, Text("there is nothing of that name", "没有该名称的内容")),
    "method_not_allowed": (405, Text("this address does not take that method", "该地址不支持此方法")),
    "conflict": (409, Text("this cannot be done in the present state", "当前状态下无法执行")),
    "too_large": (413, Text("the call is too large", "请求过大")),
    "unsupported_media_type": (415, Text("this form of body is not understood", "不支持该请求体格式")),
    "invalid": (422, Text("the call has the wrong shape", "请求的结构有误")),
    "rate_limited": (429, Text("too many calls", "请求过多")),
    "defect": (500, Text("a mistake of ours", "服务自身的错误")),
    "unavailable": (503, Text("not possible right now", "暂时无法处理")),
}
"""The closed list of problems: code -> status and title."""
_AGAIN = Text("a part of the service does not answer: try again", "服务的一个部件无响应：请重试")


class Problem(BaseModel):
    """What every error answer holds."""

    type: str = Field(examples=[f"{_BASE}unauthorized"])
    title: str = Field(examples=["no valid key"])
    status: int = Field(examples=[401])
    code: str = Field(examples=["unauthorized"])
    detail: str = Field(examples=["send `Authorization: Bearer KEY`"])
    request_id: str = Field(examples=["01hq3v9c2m"])


class ProblemError(Exception):
    """Answer with a problem."""

    def __init__(self, code: str, detail: Text, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail.en)
        self.code, self.detail, self.headers = code, detail, dict(headers or {})


def language_of(request: Request) -> Language:
    """The first language of Accept-Language that is spoken here; English otherwise.

    Weights are read, an unreadable header is ignored.
    """
    best: tuple[float, Language] = (0.0, "en")
    for part in request.headers.get("accept-language", "").split(","):
        tag, _, weight = "".join(part.split()).lower().partition(";q=")
        spoken = tag[:2]
        try:
            wish = float(weight or 1)
        except ValueError:
            continue
        if spoken == "zh" and wish > best[0]:
            best = (wish, "zh")
        elif spoken == "en" and wish > best[0]:
            best = (wish, "en")
    return best[1]


def problem(request: Request, code: str, detail: Text, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells a problem."""
    status, title = TITLES[code]
    language, request_id = language_of(request), getattr(request.state, "request_id", "")
    told = {
        "type": f"{_BASE}{code}", "title": title[language], "status": status, "code": code,
        "detail": detail[language], "request_id": request_id,
    }  # fmt: skip
    return Response(orjson.dumps(told), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def handle_problems(app: FastAPI) -> None:
    """Let every error of the app be told as a problem."""

    @app.exception_handler(ProblemError)
    async def asked(request: Request, fault: ProblemError) -> Response:
        return problem(request, fault.code, fault.detail, fault.headers)

    @app.exception_handler(EbbtideError)
    async def ours(request: Request, fault: EbbtideError) -> Response:
        code = _code_of(fault)
        if code == "defect":
            log.error("defect: %s", type(fault).__name__, extra={"request_id": _id(request)})
        if isinstance(fault, RetryError):  # what does not answer, and where it stands, is for the operator alone
            log.warning("unavailable: %s", fault, extra={"request_id": _id(request)})
        told = _AGAIN if isinstance(fault, RetryError) else fault.text
        return problem(request, code, told, {"Retry-After": "1"} if code == "unavailable" else None)

    @app.exception_handler(RequestValidationError)
    async def shape(request: Request, fault: RequestValidationError) -> Response:
        return problem(request, "invalid", wrong_places(fault.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, fault: HTTPException) -> Response:
        found = next((code for code, (status, _) in TITLES.items() if status == fault.status_code), "bad_request")
        return problem(request, found, TITLES[found][1], fault.headers)

    @app.exception_handler(Exception)
    async def defect(request: Request, fault: Exception) -> Response:
        log.error("unexpected %s", type(fault).__name__, exc_info=fault, extra={"request_id": _id(request)})
        detail = Text(
            "report it with the request id; the log of the service has more", "请附上请求编号报告；服务日志中有更多信息"
        )
        return problem(request, "defect", detail)


def _code_of(fault: EbbtideError) -> str:
    if isinstance(fault, UnknownError):
        return "not_found"
    if isinstance(fault, StateError):
        return "conflict"
    if isinstance(fault, InputError | ConfigError):
        return "bad_request"
    if isinstance(fault, RetryError | MissingError):
        return "unavailable"
    return "conflict" if isinstance(fault, DataError) else "defect"


def _id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))
