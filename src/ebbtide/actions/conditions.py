"""Who an action is meant for: SQL conditions over the profile of a user, evaluated in memory and read-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.catalogue import Action
from ebbtide.core.errors import ConfigError
from ebbtide.core.language import Text
from ebbtide.core.settings import did_you_mean
from ebbtide.events.expressions import BadExpressionError, parse_expression

_SHOWN_COLUMNS = 60


def conditions_met(profile: pl.DataFrame, actions: Sequence[Action]) -> NDArray[np.bool_]:
    """Whether each user meets each action's condition, (N, A); an unknown answer (null) is a no.

    Only expressions over the columns of a user's own row are possible; nothing outside is read.
    Raises ConfigError with every condition that cannot be evaluated, and a suggestion for unknown columns.
    """
    return answers_to(profile, [Condition(Text(f"action {a.name}", f"action {a.name}"), a.who) for a in actions])


@dataclass(frozen=True)
class Condition:
    """SQL over the columns of the profile, and where it was written; an empty one holds for everybody."""

    where: Text
    sql: str


def answers_to(profile: pl.DataFrame, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
    """Whether each user meets each condition, (N, C); as `conditions_met`, for conditions from anywhere."""
    met = np.ones((profile.height, len(conditions)), np.bool_)
    problems: list[Text] = []
    with duckdb.connect(config={"enable_external_access": "false", "threads": "1"}) as connection:
        connection.register("profile", profile.to_arrow())
        connection.execute("set lock_configuration = true")
        for place, condition in enumerate(conditions):
            if not condition.sql.strip():
                continue
            found = _problems(condition, profile.columns)
            answer = None if found else _evaluate(connection, condition)
            if isinstance(answer, np.ndarray):
                met[:, place] = answer
            else:
                problems += found or [answer or _complaint(condition, "")]
    if problems:
        raise ConfigError(problems)
    return met


def _problems(condition: Condition, columns: Sequence[str]) -> list[Text]:
    try:
        expression = parse_expression(condition.sql)
    except BadExpressionError as fault:
        return [_complaint(condition, str(fault).splitlines()[0])]
    known = {c.lower() for c in columns}
    listed = ", ".join(columns[:_SHOWN_COLUMNS])
    return [
        Text(
            f"{condition.where.en}: `{name}` is not a column of the profile{did_you_mean(name, columns)}; its columns are "
            f"{listed}",
            f"{condition.where.zh}：画像中没有列 `{name}`{did_you_mean(name, columns)}；可用的列：{listed}",
        )
        for name in sorted({r.name for r in expression.references})
        if name.lower() not in known
    ]


def _evaluate(connection: duckdb.DuckDBPyConnection, condition: Condition) -> NDArray[np.bool_] | Text:
    """The answer for each user; a text says what is wrong, without the value that may stand in DuckDB's message."""
    try:
        asked = connection.sql(f"select ({condition.sql}) as met from profile")
        kind = str(asked.types[0])
        met = pl.DataFrame(asked.to_arrow_table())["met"]
    except (duckdb.BinderException, duckdb.CatalogException) as fault:
        return _complaint(condition, str(fault).splitlines()[0])
    except duckdb.Error as fault:
        return _complaint(condition, type(fault).__name__)
    if met.dtype != pl.Boolean:
        return _complaint(condition, f"it gives {kind}, not yes or no")
    return np.asarray(met.fill_null(False).to_numpy(), np.bool_)


def _complaint(condition: Condition, reason: str) -> Text:
    return Text(
        f"{condition.where.en}: the condition `{condition.sql}` cannot be used ({reason}); write a comparison over the "
        "columns of the profile, for example `orders >= 2 and band = 'high'`",
        f"{condition.where.zh}：条件 `{condition.sql}` 无法使用（{reason}）；请写对画像列的比较，例如 "
        "`orders >= 2 and band = 'high'`",
    )
