"""Write docs/reference from the code, so that it cannot drift; with --check, fail if a page is out of date."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.core import TyperGroup

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.cli.command import LazyCommand
from ebbtide.cli.flags import Flags
from ebbtide.cli.main import make_root
from ebbtide.core import errors
from ebbtide.core.config import Config
from ebbtide.events.capabilities import CAPABILITIES
from ebbtide.events.schema import EVENT_TYPES, TABLE_COLUMNS
from ebbtide.events.validate import Reason
from ebbtide.explain import profile_columns
from ebbtide.explain import stages as stages_module
from ebbtide.explain.profile_columns import PROFILE_COLUMNS
from ebbtide.explain.rfm import SEGMENTS
from ebbtide.explain.stages import STAGES
from ebbtide.features.catalogue import default_catalogue
from ebbtide.features.families import FAMILIES

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTE = "<!-- Made by scripts/reference.py from the code; edit the code. -->\n"


def settings() -> str:
    """Every key of ebbtide.toml."""
    parts = ["# Settings / 设置", "Keys of `ebbtide.toml`. Each may also be set as `EBBTIDE_SECTION__KEY=value`."]
    for section, field in Config.model_fields.items():
        model = _model_of(field.annotation)
        name = f"[[{section}]]" if get_origin(field.annotation) is list else f"[{section}]"
        rows = [
            (f"`{key}`", f"`{_default(f)}`", f.description or "", (f.json_schema_extra or {}).get("zh", ""))
            for key, f in model.model_fields.items()
        ]
        parts += [
            f"## `{name}`",
            inspect.cleandoc(model.__doc__ or ""),
            _table(("key", "default", "meaning", "含义"), rows),
        ]
    return _page(parts)


def commands() -> str:
    """Every command's own help page, in both languages."""
    parts = ["# Commands / 命令"]
    root = make_root()
    for name, command in [("", root), *root.commands.items()]:
        parts += _command(f"ebbtide {name}".strip(), command.load() if isinstance(command, LazyCommand) else command)
    parts += ["## Exit codes / 退出码", _table(("code", "meaning", "含义"), EXIT_CODES)]
    return _page(parts)


def error_tree() -> str:
    """The tree of errors with their codes."""
    tree = inspect.cleandoc(errors.__doc__ or "")
    rows = [
        (f"`{cls.code}`", cls.__name__, cls.exit_code, inspect.cleandoc(cls.__doc__ or "").splitlines()[0])
        for cls in _subclasses(errors.EbbtideError)
    ]
    return _page(["# Errors / 错误", f"```text\n{tree}\n```", _table(("code", "class", "exit", "what to do"), rows)])


def quarantine() -> str:
    """Why a row is kept out of the lake."""
    rows = [(f"`{reason.value}`", reason.text.en, reason.text.zh) for reason in Reason]
    about = "A row gets the first reason that holds, in this order. / 每行取按此顺序首个成立的原因。"
    return _page(["# Quarantine reasons / 隔离原因", about, _table(("code", "meaning", "含义"), rows)])


def features() -> str:
    """The shipped catalogue for the default question and a year of history."""
    catalogue = default_catalogue(ChurnDefinition(), 365.0)
    parts = [
        "# Features / 特征",
        f"The shipped catalogue for the default churn definition and a year of history: {len(catalogue)} columns. "
        "Windows follow the horizon, and a feature switches off when the log lacks what it needs.",
        f"默认流失定义、一年历史下的内置特征目录，共 {len(catalogue)} 列。窗口随预测期变化；日志缺少所需信息时，特征自动停用。",
    ]
    for family, words in FAMILIES.items():
        rows = [
            (f"`{f.name}`", f.unit, f.description.en, f.description.zh, ", ".join(sorted(f.requires)))
            for f in catalogue.features
            if f.family == family
        ]
        if rows:
            head = ("name", "unit", "meaning", "含义", "needs")
            parts += [f"## {family}: {words.en} / {words.zh}", _table(head, rows)]
    return _page(parts)


def events() -> str:
    """The canonical tables, event types and capabilities."""
    parts = ["# Events / 事件", "## Types / 类型", ", ".join(f"`{t}`" for t in EVENT_TYPES)]
    for table, columns in TABLE_COLUMNS.items():
        rows = [(f"`{name}`", str(kind)) for name, kind in columns.items()]
        parts += [f"## Table `{table}`", _table(("column", "type"), rows)]
    parts += ["## Capabilities / 能力", "What a log can tell. " + ", ".join(f"`{c}`" for c in CAPABILITIES)]
    return _page(parts)


def profiles() -> str:
    """The columns of the profile frame, the stages and the segments."""
    rows = [
        (f"`{name}`", c.unit, c.text.en, c.text.zh, f"`{c.needs}`" if c.needs else "")
        for name, c in PROFILE_COLUMNS.items()
    ]
    about = inspect.cleandoc(profile_columns.__doc__ or "").split("\n\n", 1)[1]
    stages = inspect.cleandoc(stages_module.__doc__ or "").split("\n\n", 1)[1]
    return _page(
        [
            "# Profiles / 画像",
            about,
            _table(("column", "unit", "meaning", "含义", "needs"), rows),
            "## Stages / 阶段",
            f"```text\n{stages}\n```",
            _table(("code", "name", "名称"), [(f"`{code}`", t.en, t.zh) for code, t in STAGES.items()]),
            "## RFM segments / RFM 分群",
            _table(("code", "name", "名称"), [(f"`{code}`", t.en, t.zh) for code, t in SEGMENTS.items()]),
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings,
    "commands.md": commands,
    "errors.md": error_tree,
    "quarantine.md": quarantine,
    "features.md": features,
    "events.md": events,
    "profiles.md": profiles,
}
EXIT_CODES = [
    (0, "done", "完成"),
    (1, "a defect of ours", "Ebbtide 的缺陷"),
    (2, "wrong use or config", "用法或配置错误"),
    (3, "the data do not fit the question", "数据不足以回答问题"),
    (
        4,
        "something is missing (bundle, extra, server), or the surroundings failed",
        "缺少所需（模型包、扩展、服务器），或环境故障",
    ),
]


def stale_pages() -> list[str]:
    """Names of pages whose file differs from what the code says."""
    return [name for name, make in PAGES.items() if _read(FOLDER / name) != make()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a page is out of date")
    if parser.parse_args().check:
        stale = stale_pages()
        sys.exit(f"out of date: {', '.join(stale)}; run scripts/docs" if stale else 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")


def _command(path: str, command: Any, parent: Any = None) -> list[str]:
    parts = [f"## `{path}`"]
    for language in ("en", "zh"):
        parts.append(f"```text\n{_help(path, command, language)}\n```")
    if isinstance(command, TyperGroup) and path != "ebbtide":
        for name, inner in command.commands.items():
            parts += _command(f"{path} {name}", inner)
    return parts


def _help(path: str, command: Any, language: Any) -> str:
    settings = {"terminal_width": 100, "max_content_width": 100, "obj": Flags(language=language)}
    ctx = command.context_class(command, info_name=path, **settings)
    return "\n".join(line.rstrip() for line in str(command.get_help(ctx)).splitlines())


def _subclasses(cls: type[errors.EbbtideError]) -> list[type[errors.EbbtideError]]:
    return [found for sub in cls.__subclasses__() for found in (sub, *_subclasses(sub))]


def _model_of(annotation: Any) -> type[BaseModel]:
    inner = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    assert issubclass(inner, BaseModel)
    return inner


def _default(field: Any) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return str(field.default).lower() if isinstance(field.default, bool) else repr(field.default).replace("'", '"')


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows
    ]
    return "\n".join(lines)


def _page(parts: Iterable[str]) -> str:
    return NOTE + "\n" + "\n\n".join(parts) + "\n"


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


if __name__ == "__main__":
    main()
