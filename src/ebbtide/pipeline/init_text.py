"""The text of the `ebbtide.toml` that `init` writes: every setting with a comment, in English and Chinese."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ebbtide.churn.advice import DefinitionAdvice
from ebbtide.core.language import Text
from ebbtide.core.sections import Section
from ebbtide.core.settings import SourceConfig
from ebbtide.core.windows import describe_days

_MAPPING = (Text("canonical column", "规范列"), Text("from", "取自"))
_PRESET = Text("shipped mapping `{name}`", "内置映射 `{name}`")


@dataclass(frozen=True)
class SourceText:
    """A source to be written, remarks about it, and the raw columns that its mapping leaves out."""

    config: SourceConfig
    remarks: tuple[Text, ...]
    unused: tuple[str, ...]

    def section(self) -> Section:
        """The mapping as a table, with the remarks."""
        config = self.config
        title = Text(f"{config.table} from {config.path}", f"{config.table}，取自 {config.path}")
        preset = (_PRESET.format(name=config.preset),) if config.preset else ()
        return Section(title, (*preset, *self.remarks), _MAPPING, tuple(config.columns.items()))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        kept = ("table", "path", "preset", "where", "encoding", "time_format", "decimal", "currency_sign", "columns")
        told = {key: getattr(self.config, key) for key in kept}
        return {**told, "unused": list(self.unused), "remarks": [r.en for r in self.remarks]}


def config_text(shop: str, sources: Sequence[SourceText], advice: DefinitionAdvice | None) -> str:
    """The whole file."""
    currency = any("currency" in s.config.columns or s.config.preset for s in sources)
    blocks = [_head(shop, currency=currency), *(_source(s) for s in sources), _churn(advice), _bands()]
    return "\n".join(blocks)


def _head(shop: str, *, currency: bool) -> str:
    why = Text(
        "ISO code; rows in another currency then go to quarantine"
        if currency
        else "ISO code of the amounts, for pages",
        "ISO 代码；其他货币的行将进入隔离区" if currency else "金额的 ISO 货币代码，用于页面显示",
    )
    return f"""# Written by `ebbtide init` from the names and values of the raw columns: please check it, then run
# `ebbtide ingest`. 由 `ebbtide init` 根据原始列的名称与取值生成：请检查后运行 `ebbtide ingest`。

[shop]
name = {_quote(shop)}
currency = ""            # {why.en} / {why.zh}
timezone = "UTC"         # zone of times that carry none / 未带时区的时间所用时区，例如 "Asia/Shanghai"
language = "en"          # en | zh
"""


def _source(source: SourceText) -> str:
    config = source.config
    lines = ["[[source]]", *(f"# {r.en}\n# {r.zh}" for r in source.remarks)]
    lines += [f"table = {_quote(config.table)}", f"path = {_quote(config.path)}"]
    lines += [
        f"{key} = {_quote(getattr(config, key))}"
        for key in ("preset", "where", "encoding", "time_format")
        if getattr(config, key)
    ]
    if config.decimal != ".":
        lines.append(f"decimal = {_quote(config.decimal)}            # decimal sign of numbers / 数字的小数点符号")
    if config.currency_sign:
        lines.append(f"currency_sign = {_quote(config.currency_sign)}      # beside the amounts / 金额旁的货币符号")
    if config.columns:
        lines.append("[source.columns]         # canonical column = SQL over the raw columns / 规范列 = 对原始列的 SQL")
        width = max(len(n) for n in config.columns)
        lines += [f"{name:{width}} = {_quote(sql)}" for name, sql in config.columns.items()]
    if source.unused:
        listed = ", ".join(n.replace("\n", " ") for n in source.unused[:30])
        lines.append(f"# not used / 未使用: {listed}")
    return "\n".join(lines) + "\n"


def _churn(advice: DefinitionAdvice | None) -> str:
    outcome, horizon, eligible = "order", "30d", "order in 180d"
    said = Text("no order was found: the usual values", "未找到订单：使用常用值")
    if advice is not None:
        outcome, said = advice.outcome[0], advice.text
        eligible = f"{outcome} in 180d"
        if advice.recommended is not None:
            horizon = describe_days(advice.recommended.horizon_days)
            eligible = f"{outcome} in {describe_days(advice.recommended.eligible_days)}"
    return f"""# {said.en}
# {said.zh}
[churn]
outcome = {_quote(outcome)}        # the event whose absence is churn / 缺席即为流失的事件
horizon = {_quote(horizon)}          # how long a silence counts / 沉默多久算流失
eligible = {_quote(eligible)}  # who is asked about / 考察对象
"""


def _bands() -> str:
    return """[bands]                  # lower limits of risk, by probability / 风险分档的概率下限
high = 0.7
medium = 0.4
"""


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
