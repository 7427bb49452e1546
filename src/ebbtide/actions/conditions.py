"""Who an action is meant for: SQL conditions over the profile of a user, evaluated in memory and read-only."""

from __future__ import annotations

from collections.abc import Sequence

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
    met = np.ones((profile.height, len(actions)), np.bool_)
    problems: list[Text] = []
    with duckdb.connect(config={"enable_external_access": "false", "threads": "1"}) as connection:
        connection.register("profile", profile.to_arrow())
        connection.execute("set lock_configuration = true")
        for place, action in enumerate(actions):
            if not action.who.strip():
                continue
            found = _problems(action, profile.columns)
            answer = None if found else _evaluate(connection, action)
            if isinstance(answer, np.ndarray):
                met[:, place] = answer
            else:
                problems += found or [answer or _complaint(action, "")]
    if problems:
        raise ConfigError(problems)
    return met


def _problems(action: Action, columns: Sequence[str]) -> list[Text]:
    try:
        expression = parse_expression(action.who)
    except BadExpressionError as fault:
        return [_complaint(action, str(fault).splitlines()[0])]
    known = {c.lower() for c in columns}
    listed = ", ".join(columns[:_SHOWN_COLUMNS])
    return [
        Text(
            f"action {action.name}: `{name}` is not a column of the profile{did_you_mean(name, columns)}; its columns are "
            f"{listed}",
            f"action {action.name}：画像中没有列 `{name}`{did_you_mean(name, columns)}；可用的列：{listed}",
        )
        for name in sorted({r.name for r in expression.references})
        if name.lower() not in known
    ]


def _evaluate(connection: duckdb.DuckDBPyConnection, action: Action) -> NDArray[np.bool_] | Text:
    """The answer for each user; a text says what is wrong, without the value that may stand in DuckDB's message."""
    try:
        asked = connection.sql(f"select ({action.who}) as met from profile")
        kind = str(asked.types[0])
        met = pl.DataFrame(asked.to_arrow_table())["met"]
    except (duckdb.BinderException, duckdb.CatalogException) as fault:
        return _complaint(action, str(fault).splitlines()[0])
    except duckdb.Error as fault:
        return _complaint(action, type(fault).__name__)
    if met.dtype != pl.Boolean:
        return _complaint(action, f"it gives {kind}, not yes or no")
    return np.asarray(met.fill_null(False).to_numpy(), np.bool_)


def _complaint(action: Action, reason: str) -> Text:
    return Text(
        f"action {action.name}: the condition `{action.who}` cannot be used ({reason}); write a comparison over the "
        "columns of the profile, for example `orders >= 2 and band = 'high'`",
        f"action {action.name}：条件 `{action.who}` 无法使用（{reason}）；请写对画像列的比较，例如 `orders >= 2 and band = 'high'`",
    )
