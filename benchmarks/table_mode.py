"""Ready-made tables: `train-table` beside plain scikit-learn on the very same rows, folds and columns, in one run.

    python benchmarks/table_mode.py [--data FOLDER] [--models auto logistic lightgbm ...] [--draws 300]

FOLDER holds the public tables (default: EBBTIDE_TEST_DATA, or shared/data beside the repository). Every row is judged
by models that had not seen it: five folds in which equal rows stand together, or, where rows have times, the newest
fifth by models of the rows before whose labels were known. The peers get the raw columns: HistGradientBoosting with
its own handling of categories and missing values, and logistic regression on one-hot categories and standardised
numbers with an indicator of what is missing; both with scikit-learn's defaults. Intervals draw customers, rows that
repeat each other together; the difference is paired.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from ebbtide.core.config import parse_config
from ebbtide.core.progress import silent
from ebbtide.core.windows import DAY_US
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.summary import evaluate
from ebbtide.events.table_file import read_table
from ebbtide.features.table_encoding import TIME
from ebbtide.models.registry import Setting, table_candidates
from ebbtide.pipeline.table_data import LabelledTable, TableQuestion, prepare_table
from ebbtide.pipeline.table_judge import Policy, judge, parts_of
from machine import machine_line

LATER = ("remi", "cancel", "deliverydatereal")
"""Columns of dmc2010 that are known only after the order: the question is asked at the order."""


@dataclass(frozen=True)
class Case:
    """One table and what is asked of it."""

    name: str
    file: str
    question: TableQuestion


CASES = (
    Case("ecommerce_churn_static", "e_comm.parquet", TableQuestion("Churn", "CustomerID")),
    Case("telco_churn_ibm", "telco.parquet", TableQuestion("Churn", "customerID")),
    Case(
        "dmc2010_reorder",
        "train.parquet",
        TableQuestion("target90", "customernumber", "date", positive="0", horizon_days=90, drop=LATER),
    ),
)


def main() -> None:
    asked = arguments()
    config = parse_config({"train": {"bootstrap": asked.draws}}, environ={})
    print(machine_line())
    print(
        "| table | model | rows judged | AUROC | 95 % interval | ECE | less HistGradientBoosting | 95 % interval | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        table = prepare_table(read_table(asked.data / case.name / case.file), case.question)
        policies = {name: policy_of(name, case, config) for name in asked.models}
        parts = parts_of(table, next(iter(policies.values())))
        judged = parts[-1:] if case.question.time else parts
        rows = np.concatenate([part.asked for part in judged])
        found = {}
        for name, make in PEERS.items():
            start = time.perf_counter()
            p = np.empty(len(table))
            for part in judged:
                X, y = columns_of(table), table.y
                p[part.asked] = make(table).fit(X[part.known], y[part.known]).predict_proba(X[part.asked])[:, 1]
            found[name] = (p[rows], time.perf_counter() - start)
        for name, policy in policies.items():
            start = time.perf_counter()
            ours = judge(table, policy, silent)
            assert np.array_equal(ours.rows, rows)
            found[f"ebbtide {name}"] = (ours.p, time.perf_counter() - start)
        for name, (p, seconds) in found.items():
            show(case.name, name, table, rows, p, found["HistGradientBoosting"][0], seconds, asked.draws)


def arguments() -> argparse.Namespace:
    default = os.environ.get("EBBTIDE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--models", nargs="+", default=["auto", "logistic", "lightgbm"])
    parser.add_argument("--draws", type=int, default=300)
    return parser.parse_args()


def policy_of(name: str, case: Case, config) -> Policy:
    """The policy that `train-table --model NAME` follows."""
    days = case.question.horizon_days
    entries = table_candidates(name)
    return Policy("benchmark", entries, Setting(days), case.question.time or "", round(days * DAY_US), config, "en")


def columns_of(table: LabelledTable) -> np.ndarray:
    """The columns as scikit-learn users would hand them over: objects, None where missing; dates as days before the
    row's own time."""
    columns = []
    for field in table.fields:
        values = table.read[field.column]
        if field.kind == "date" and TIME in table.read.columns:
            values = table.read[TIME] - values
        columns.append(
            values.to_numpy().astype(object)
            if field.kind == "category"
            else values.cast(pl.Float64).fill_null(np.nan).to_numpy().astype(object)
        )
    return np.column_stack(columns)


def kinds(table: LabelledTable) -> tuple[list[int], list[int]]:
    """Places of the categories, and of all other columns."""
    category = [i for i, f in enumerate(table.fields) if f.kind == "category"]
    return category, [i for i in range(len(table.fields)) if i not in category]


def boosting(table: LabelledTable):
    """HistGradientBoosting with native categories."""
    category, number = kinds(table)
    ordinal = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, max_categories=250
    )
    shaped = make_column_transformer((ordinal, category), ("passthrough", number))
    return make_pipeline(
        shaped, HistGradientBoostingClassifier(categorical_features=list(range(len(category))), random_state=0)
    )


def logistic(table: LabelledTable):
    """Logistic regression as in the textbooks."""
    category, number = kinds(table)
    shaped = make_column_transformer(
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10), category),
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), number),
    )
    return make_pipeline(shaped, LogisticRegression(max_iter=2000))


PEERS = {"HistGradientBoosting": boosting, "LogisticRegression": logistic}


def show(case: str, name: str, table: LabelledTable, rows, p, peer, seconds: float, draws: int) -> None:
    y, user = table.y[rows], table.user[rows]
    found = evaluate(y, p, user=user, draws=draws).metrics
    less = paired_difference(y, p, peer, user=user, draws=draws)
    a, e = found["auroc"], found["ece"]
    print(
        f"| {case} | {name} | {len(rows):,} | {a.value:.4f} | {a.low:.4f} to {a.high:.4f} | {e.value:.3f} | "
        f"{less.value:+.4f} | {ends(less)} | {seconds:.0f} |",
        flush=True,
    )


def ends(estimate: Estimate) -> str:
    return f"{estimate.low:+.4f} to {estimate.high:+.4f}"


if __name__ == "__main__":
    main()
