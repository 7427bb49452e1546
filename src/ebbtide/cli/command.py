"""Commands and groups whose help is bilingual, which all take the common flags, and which load on first use.

A help text is declared once as `both("English", "中文")`: one string with both halves, of which the help page shows
the one that is spoken. Typer wants plain strings at import time, when the language is not known yet.
"""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ebbtide.cli.flags import DEBUG_HELP, JSON_HELP, LANG_HELP, WORKSPACE_HELP, Flags, take_flags
from ebbtide.core.errors import InputError
from ebbtide.core.language import Language, Text

_SEAM = "\x1f"
_USAGE = Text("Usage: ", "用法：")
_COMMANDS = Text("Commands", "命令")
_ARGUMENTS = Text("Arguments", "参数")
_OPTIONS = Text("Options", "选项")
_HELP = Text("show this page", "显示本页")
_DEFAULT = Text("default", "默认")


def both(en: str, zh: str) -> str:
    """One help string that holds both languages."""
    return f"{en}{_SEAM}{zh}"


def halves(text: str | None) -> Text:
    """The inverse of `both`; a text in one half only stands for both languages.

    >>> halves(both("a shop", "店铺"))
    Text(en='a shop', zh='店铺')
    """
    en, _, zh = (text or "").partition(_SEAM)
    return Text(en, zh or en)


def make_app(text: Text | None = None) -> typer.Typer:
    """A Typer app for one command module; with a text it is a group of commands."""
    return typer.Typer(
        cls=Group, add_completion=False, rich_markup_mode=None, help=both(text.en, text.zh) if text else None
    )


def spoken_in(ctx: typer.Context) -> Language:
    """The language of help pages in this context."""
    flags = ctx.find_object(Flags)
    return flags.spoken if flags else "en"


class Command(TyperCommand):
    """A command with the common flags; they are taken out of its parameters into `ctx.obj`."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        settings["params"] = [*(settings.get("params") or []), *_common_parameters()]
        super().__init__(name, **settings)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        ctx.obj = take_flags(ctx.params, ctx.find_object(Flags) or Flags())
        return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_help(self, ctx, formatter, [])


class Group(TyperGroup):
    """A group of commands, which takes the common flags too; an unknown command is answered with the nearest."""

    def __init__(self, **settings: Any) -> None:
        settings["params"] = [*(settings.get("params") or []), *_common_parameters()]
        super().__init__(**settings)

    def invoke(self, ctx: Any) -> Any:
        ctx.obj = take_flags(ctx.params, ctx.find_object(Flags) or Flags())
        return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, halves(self.commands[name].help)) for name in self.list_commands(ctx)]
        _write_help(self, ctx, formatter, rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if not args[0].startswith("-") and args[0] not in self.commands:
            close = difflib.get_close_matches(args[0], list(self.commands), n=1)
            listed = ", ".join(self.commands)
            raise InputError(
                "there is no command `{name}`{hint}; the commands are {listed}",
                "没有命令 `{name}`{hint}；可用命令：{listed}",
                name=args[0],
                hint=Text(f" (did you mean `{close[0]}`?)", f"（是否想用 `{close[0]}`？）") if close else "",
                listed=listed,
            )
        return super().resolve_command(ctx, args)


class LazyCommand(TyperCommand):
    """Stands in for a command until it is used: `ebbtide --help` must not wait for the libraries of all of them."""

    def __init__(self, name: str, module: str, text: Text) -> None:
        super().__init__(name, help=both(text.en, text.zh))
        self.module = module

    def load(self) -> TyperCommand | TyperGroup:
        """The command itself: what the module's `app` describes."""
        command = get_command(importlib.import_module(self.module).app)
        assert isinstance(command, TyperCommand | TyperGroup)
        command.name, command.help = self.name, self.help
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return self.load().make_context(info_name, args, parent=parent, **extra)


def _common_parameters() -> list[Any]:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(_common)
    return list(get_command(app).params)


def _common(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help=both(WORKSPACE_HELP.en, WORKSPACE_HELP.zh), metavar="FOLDER")
    ] = Path(),
    json: Annotated[bool, typer.Option("--json", help=both(JSON_HELP.en, JSON_HELP.zh))] = False,
    lang: Annotated[str, typer.Option("--lang", help=both(LANG_HELP.en, LANG_HELP.zh), metavar="en|zh")] = "",
    debug: Annotated[bool, typer.Option("--debug", help=both(DEBUG_HELP.en, DEBUG_HELP.zh))] = False,
) -> None: ...


def _write_help(command: Any, ctx: Any, formatter: Any, commands: list[tuple[str, Text]]) -> None:
    language = spoken_in(ctx)
    formatter.write_usage(ctx.command_path, " ".join(command.collect_usage_pieces(ctx)), prefix=_USAGE[language])
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(halves(command.help)[language])
    rows: dict[str, list[tuple[str, str]]] = {_COMMANDS[language]: [(n, t[language]) for n, t in commands]}
    for param in command.get_params(ctx):
        if param.param_type_name == "argument":
            rows.setdefault(_ARGUMENTS[language], []).append((param.metavar or param.name, _meaning(param, language)))
        elif record := param.get_help_record(ctx):
            rows.setdefault(_OPTIONS[language], []).append((record[0], _meaning(param, language)))
    for heading, lines in rows.items():
        if lines:
            with formatter.section(heading):
                formatter.write_dl(lines)


def _meaning(param: Any, language: Language) -> str:
    if param.name == "help":
        return _HELP[language]
    meaning = halves(param.help)[language]
    if param.default in (None, False, "", ()) or param.default == []:
        return meaning
    return f"{meaning} [{_DEFAULT[language]}: {param.default}]"
