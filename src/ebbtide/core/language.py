"""Every text that a person reads is a pair: English and Chinese, declared side by side where it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


@dataclass(frozen=True)
class Text:
    """One message in both languages; `{name}` fields are filled by `format`.

    >>> hello = Text("{count:,} users", "{count:,} 位用户").format(count=1200)
    >>> hello.en, hello["zh"], str(hello)
    ('1,200 users', '1,200 位用户', '1,200 users')
    """

    en: str
    zh: str

    def __getitem__(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en

    def __str__(self) -> str:
        return self.en

    def format(self, **fields: Any) -> Text:
        """Fill the fields in both languages; a field that is itself a `Text` is taken in the fitting language."""
        return Text(self.en.format(**_in(fields, "en")), self.zh.format(**_in(fields, "zh")))

    def __add__(self, other: Text) -> Text:
        return Text(self.en + other.en, self.zh + other.zh)


def join_texts(parts: list[Text], separator: Text | None = None) -> Text:
    """Join texts with `separator` (default: "; " and "；")."""
    between = separator or Text("; ", "；")
    return Text(between.en.join(p.en for p in parts), between.zh.join(p.zh for p in parts))


def _in(fields: dict[str, Any], language: Language) -> dict[str, Any]:
    return {k: v[language] if isinstance(v, Text) else v for k, v in fields.items()}
