"""Wrong arguments in our own words: what Typer found becomes an InputError in both languages."""

from __future__ import annotations

from typing import Any

import typer

from ebbtide.core.errors import InputError
from ebbtide.core.language import Text


def usage_error(fault: typer.TyperException) -> InputError:
    """The error to show. Typer keeps the classes of these faults private, so they are told apart by what they carry."""
    flag = getattr(fault, "option_name", None)
    hint = _hint(fault)
    if flag is not None and hasattr(fault, "possibilities"):
        return _unknown_flag(str(flag), fault)
    if hasattr(fault, "param_type"):
        return InputError("missing: {name}{hint}", "缺少：{name}{hint}", name=_name(fault), hint=hint)
    if getattr(fault, "param", None) is not None:
        return InputError(
            "{name}: {why}{hint}", "{name} 的值无效：{why}{hint}", name=_name(fault), why=_why(fault), hint=hint
        )
    return InputError("{why}{hint}", "用法错误：{why}{hint}", why=_why(fault), hint=hint)


def _unknown_flag(flag: str, fault: Any) -> InputError:
    close = [f"`{name}`" for name in fault.possibilities or ()]
    nearest = Text(f" (did you mean {close[0]}?)", f"（是否想用 {close[0]}？）") if close else ""
    return InputError(
        "there is no flag `{flag}`{nearest}{hint}",
        "没有选项 `{flag}`{nearest}{hint}",
        flag=flag,
        nearest=nearest,
        hint=_hint(fault),
    )


def _name(fault: Any) -> str:
    param = fault.param
    names = [name for name in getattr(param, "opts", ()) if name.startswith("-")]
    return str(names[0] if names else (param.metavar or param.name).upper())


def _why(fault: Any) -> str:
    return str(fault.message).rstrip(".")


def _hint(fault: Any) -> Text:
    ctx = getattr(fault, "ctx", None)
    if ctx is None:
        return Text("", "")
    return Text(f"; see `{ctx.command_path} --help`", f"；请看 `{ctx.command_path} --help`")
