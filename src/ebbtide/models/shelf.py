"""The shelf: the bundles of one workspace, and which of them is current."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ebbtide.core.errors import MissingBundleError, RetryError, StateError, UnknownError
from ebbtide.models.bundle import Bundle, load_bundle


@dataclass(frozen=True)
class Shelf:
    """Bundles in `folder`; the file `history` names the promoted ones, the last line is current."""

    folder: Path

    def ids(self) -> list[str]:
        """Bundle names, oldest first."""
        return sorted(p.parent.name for p in self.folder.glob("[!.]*/manifest.json"))

    def history(self) -> list[str]:
        """Promotions, oldest first."""
        file = self.folder / "history"
        return file.read_text(encoding="utf-8").split() if file.is_file() else []

    def current_id(self) -> str:
        """The promoted bundle. Raises MissingBundleError if none is."""
        history = self.history()
        if not history:
            raise MissingBundleError(
                "no trained model: run `ebbtide train` first", "没有训练好的模型：请先运行 `ebbtide train`"
            )
        return history[-1]

    def load(self, name: str | None = None) -> Bundle:
        """The named bundle, default the current one."""
        return load_bundle(self.folder / self._known(name or self.current_id()))

    def promote(self, name: str) -> None:
        """Make a bundle current; nothing happens if it is. Raises UnknownError if there is none of that name."""
        history = self.history()
        if self._known(name) not in history[-1:]:
            self._write([*history, name])

    def roll_back(self) -> str:
        """Make the bundle before the current one current again; its name. Raises StateError if there is none."""
        history = self.history()
        if len(history) < 2:
            raise StateError("there is no earlier bundle to roll back to", "没有可回退的更早模型")
        self._write(history[:-1])
        return history[-2]

    def _known(self, name: str) -> str:
        if name not in self.ids():
            raise UnknownError(
                "no bundle `{name}`; there are: {known}",
                "没有模型 `{name}`；现有：{known}",
                name=name,
                known=", ".join(self.ids()) or "-",
            )
        return name

    def _write(self, history: list[str]) -> None:
        aside = self.folder / f".history-{os.getpid()}"
        try:
            with aside.open("w", encoding="utf-8") as file:
                file.write("\n".join(history) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self.folder / "history")
        except OSError as fault:
            aside.unlink(missing_ok=True)
            raise RetryError(
                "which bundle is current could not be written ({reason}): it stays as it was; mend this and try again",
                "无法写入当前模型的记录（{reason}）：保持不变；请排除故障后重试",
                reason=fault.strerror or "disk",
            ) from None
