"""Every error that Ebbtide raises on purpose, in one tree whose branches say what the caller should do.

    EbbtideError
    ├── InputError              fix the input or the flag                          exit 2
    │   ├── SourceError         a raw file or query cannot be read as described
    │   ├── RefusedError        the service refused a call of its client
    │   ├── UnknownError        nothing of that name is here
    │   └── StateError          not possible as things stand; look at them first
    ├── ConfigError             fix ebbtide.toml (all its problems at once)        exit 2
    ├── DataError               wait for data, or ask another question             exit 3
    │   ├── SufficiencyError    too few churned or retained users, or too short a history
    │   └── LabelWindowError    the outcome window lies past the data
    ├── MissingError            install or make something first                    exit 4
    │   ├── MissingBundleError  no trained bundle, or it is damaged
    │   └── MissingExtraError   an optional dependency is not installed
    ├── RetryError              the surroundings failed (disk full, lock held)     exit 4
    └── DefectError             a mistake of ours: please report                   exit 1

A message says what was expected, what came and what to do next. It never holds a customer's value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ebbtide.core.language import Text, join_texts


class EbbtideError(Exception):
    """Base of the tree. `code` is stable and machine-readable; `text` is bilingual; `str()` is English."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"

    def __init__(self, en: str, zh: str, **fields: Any) -> None:
        template = Text(en, zh)
        self.text = template.format(**fields) if fields else template
        super().__init__(self.text.en)


class InputError(EbbtideError):
    """Fix the input or the flag."""

    exit_code, code = 2, "input"


class SourceError(InputError):
    """A raw file or query cannot be read as the config describes it."""

    code = "source"


class RefusedError(InputError):
    """The service understood the call and refused it; `problem` is its answer (RFC 9457)."""

    code = "refused"

    def __init__(self, problem: Mapping[str, Any]) -> None:
        told = f"{problem.get('title', 'refused')}: {problem.get('detail', '')}"
        super().__init__(told, told)
        self.problem = dict(problem)


class UnknownError(InputError):
    """Nothing of that name is here."""

    code = "unknown"


class StateError(InputError):
    """Not possible as things stand: look at them first."""

    code = "state"


class ConfigError(EbbtideError):
    """Fix `ebbtide.toml`. `problems` holds every problem found, not only the first."""

    exit_code, code = 2, "config"

    def __init__(self, problems: list[Text]) -> None:
        self.problems = problems
        listed = join_texts(problems, Text("\n  - ", "\n  - "))
        count = len(problems)
        super().__init__(
            f"the configuration has {count} problem{'s' if count != 1 else ''}:\n  - {listed.en}",
            f"配置有 {count} 个问题：\n  - {listed.zh}",
        )


class DataError(EbbtideError):
    """The data do not fit the question: wait for data, or ask another question."""

    exit_code, code = 3, "data"


class SufficiencyError(DataError):
    """Too few churned or retained users, or too short a history."""

    code = "insufficient"


class LabelWindowError(DataError):
    """The outcome window lies past the data."""

    code = "label_window"


class MissingError(EbbtideError):
    """Something must be installed or made first."""

    exit_code, code = 4, "missing"


class MissingBundleError(MissingError):
    """No trained bundle, or the bundle is damaged."""

    code = "missing_bundle"


class MissingExtraError(MissingError):
    """An optional dependency is not installed."""

    code = "missing_extra"

    def __init__(self, extra: str, needed_for: Text) -> None:
        super().__init__(
            "{needed} needs an extra that is not installed: run `pip install 'ebbtide[{extra}]'`",
            "{needed}需要尚未安装的扩展：请运行 `pip install 'ebbtide[{extra}]'`",
            needed=needed_for,
            extra=extra,
        )


class RetryError(EbbtideError):
    """The surroundings failed (disk full, lock held): mend them and run the same command again."""

    exit_code, code = 4, "retry"


class DefectError(EbbtideError):
    """A mistake of ours: please report it."""

    exit_code, code = 1, "defect"
