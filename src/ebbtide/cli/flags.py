"""The flags that every command takes, and how they are read early, before any command is known."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import Any, get_args

from ebbtide.core.errors import InputError
from ebbtide.core.language import Language, Text

LANGUAGE_VARIABLE = "EBBTIDE_LANG"

WORKSPACE_HELP = Text(
    "folder with ebbtide.toml and all that Ebbtide keeps", "含 ebbtide.toml 及 Ebbtide 全部数据的文件夹"
)
JSON_HELP = Text("print one JSON object on stdout, nothing else", "仅在标准输出打印一个 JSON 对象")
LANG_HELP = Text(
    "language, en or zh; otherwise EBBTIDE_LANG, the shop's language, or en",
    "语言，en 或 zh；否则依次取 EBBTIDE_LANG、店铺语言、en",
)
DEBUG_HELP = Text(
    "show the traceback of a defect; it may contain customer values", "显示缺陷的回溯信息；其中可能含有顾客数据"
)


@dataclass(frozen=True)
class Flags:
    """What stands on the command line beside the command's own flags. `language` None: the shop's, else English."""

    workspace: Path = Path()
    as_json: bool = False
    language: Language | None = None
    debug: bool = False

    @property
    def spoken(self) -> Language:
        """The language as far as it is known without reading the shop's config."""
        return self.language or "en"


def take_flags(params: MutableMapping[str, Any], known: Flags) -> Flags:
    """Move the common flags out of a command's parameters; what is not given there stays as `known`.

    So `ebbtide -w shop score` and `ebbtide score -w shop` are the same. Raises InputError for a language that we do
    not speak.
    """
    workspace, language = params.pop("workspace"), params.pop("lang")
    return Flags(
        workspace=known.workspace if workspace == Path() else workspace,
        as_json=params.pop("json") or known.as_json,
        language=_language(language) if language else known.language,
        debug=params.pop("debug") or known.debug,
    )


def peek_flags(arguments: Sequence[str], environ: Mapping[str, str]) -> Flags:
    """Read the common flags from raw arguments, for the help pages and for messages about wrong arguments.

    Never raises: what cannot be read is left at its default.

    >>> peek_flags(["score", "--lang", "zh", "-w", "shop"], {}).language
    'zh'
    """
    arguments = list(takewhile(lambda argument: argument != "--", arguments))
    languages = {str(code): code for code in get_args(Language)}
    spoken = _value(arguments, "--lang") or environ.get(LANGUAGE_VARIABLE, "")
    return Flags(
        workspace=Path(_value(arguments, "--workspace") or _value(arguments, "-w") or "."),
        as_json="--json" in arguments,
        language=languages.get(spoken),
        debug="--debug" in arguments,
    )


def _value(arguments: Sequence[str], flag: str) -> str | None:
    for argument, following in zip_longest(arguments, arguments[1:]):
        if argument == flag:
            return following
        if argument.startswith(f"{flag}="):
            return argument.removeprefix(f"{flag}=")
    return None


def _language(text: str) -> Language:
    for known in get_args(Language):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise InputError("--lang: we speak en and zh", "--lang：可用语言为 en 和 zh")
