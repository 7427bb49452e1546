"""A diagnosis: what was looked at, how it stands, what was found and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ebbtide.core.errors import EbbtideError
from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section

State = Literal["ok", "warning", "failed"]
NOTHING = Text("", "")
"""No advice."""
_STATES: dict[State, Text] = {
    "ok": Text("ok", "正常"),
    "warning": Text("warning", "警告"),
    "failed": Text("FAILED", "失败"),
}
_COLUMNS = (Text("check", "检查项"), Text("state", "状态"), Text("found", "发现"), Text("what to do", "如何处理"))
_VERDICTS: dict[State, Text] = {
    "ok": Text("everything is in order", "一切正常"),
    "warning": Text("it works; look at the warnings", "可以运行；请查看警告"),
    "failed": Text("something must be mended first", "有问题需要先解决"),
}


@dataclass(frozen=True)
class Finding:
    """One check. `advice` is empty where nothing is to be done."""

    check: str
    title: Text
    state: State
    found: Text
    advice: Text = NOTHING

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields, in English."""
        return {"check": self.check, "state": self.state, "found": self.found.en, "advice": self.advice.en}


@dataclass(frozen=True)
class Check:
    """A check to be made: `look` gives state, what was found, and advice; an error that it raises is a failure.

    `advice` stands beside such a failure; the error itself says what was expected and what came.
    """

    name: str
    title: Text
    look: Callable[[], tuple[State, Text, Text]]
    advice: Text = NOTHING

    def made(self) -> Finding:
        """Make it."""
        try:
            state, found, advice = self.look()
        except EbbtideError as fault:
            return Finding(self.name, self.title, "failed", fault.text, self.advice)
        return Finding(self.name, self.title, state, found, advice)


@dataclass(frozen=True)
class Diagnosis(Readable):
    """All findings, in the order in which they were made."""

    findings: tuple[Finding, ...]

    @property
    def state(self) -> State:
        """That of the worst finding."""
        states = {finding.state for finding in self.findings}
        return "failed" if "failed" in states else "warning" if "warning" in states else "ok"

    def sections(self) -> tuple[Section, ...]:
        """One row a check, then the verdict."""
        rows = tuple((f.title, _STATES[f.state], f.found, f.advice) for f in self.findings)
        return (Section(columns=_COLUMNS, rows=rows), Section(lines=(_VERDICTS[self.state],)))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"state": self.state, "checks": [finding.to_json() for finding in self.findings]}


def diagnosis_of(checks: Iterable[Check]) -> Diagnosis:
    """Make all checks."""
    return Diagnosis(tuple(check.made() for check in checks))
