"""The ranked list in words, for the terminal, a notebook and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ebbtide.core.language import Text
from ebbtide.core.sections import Section
from ebbtide.explain.amounts import say
from ebbtide.explain.sentences import LOWERS, RAISES
from ebbtide.explain.stages import BAND_WORDS
from ebbtide.pipeline.report_data import ReasonLine

_SHOWN_REASONS = 2
_COLUMNS = (
    Text("customer", "顾客"),
    Text("churn probability", "流失概率"),
    Text("percentile", "百分位"),
    Text("band", "等级"),
    Text("expected orders", "预计订单数"),
    Text("value at risk", "面临流失的价值"),
    Text("reasons", "原因"),
)

_OPTIONAL = _COLUMNS[4:6]


def list_section(frame: pl.DataFrame, currency: str, rows: int) -> Section:
    """The first rows of a score table, each with its two strongest reasons; without orders and value where nobody has
    any."""
    listed = [_row(row, currency) for row in frame.head(rows).iter_rows(named=True)]
    shown = [
        i for i, title in enumerate(_COLUMNS) if title not in _OPTIONAL or any(row[i] is not None for row in listed)
    ]
    return Section(columns=tuple(_COLUMNS[i] for i in shown), rows=tuple(tuple(r[i] for i in shown) for r in listed))


def reason_lines(reasons: Sequence[Mapping[str, Any]]) -> tuple[ReasonLine, ...]:
    """The reasons of one user without their opening words, for places that show the direction as a sign."""
    openings = (RAISES.en, RAISES.zh, LOWERS.en, LOWERS.zh)
    lines = []
    for reason in reasons:
        text = str(reason["text"])
        opening = next((o for o in openings if text.startswith(o)), "")
        lines.append(ReasonLine(text.removeprefix(opening), reason["direction"] == "raises"))
    return tuple(lines)


def signed(line: ReasonLine) -> str:
    """A reason behind the sign of its direction."""
    return f"{'▲' if line.raises else '▼'} {line.text}"


def _row(row: Mapping[str, Any], currency: str) -> tuple[Any, ...]:
    orders, value = row["expected_orders"], row["value_at_risk"]
    return (
        row["user_id"],
        f"{row['churn_probability']:.1%}",
        f"{row['percentile']:.1f}",
        BAND_WORDS[row["band"]],
        None if orders is None else f"{orders:.2f}",
        None if value is None else say(value, "money", "en", currency=currency),
        "\n".join(signed(line) for line in reason_lines(row["reasons"] or [])[:_SHOWN_REASONS]) or None,
    )
