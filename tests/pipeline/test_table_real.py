"""The public tables through the real commands: what is known of them is found."""

from __future__ import annotations

import polars as pl
import pytest

from ebbtide.core.config import parse_config
from ebbtide.evaluation.ranking import auroc
from ebbtide.events.table_file import read_table
from ebbtide.pipeline.table_data import TableQuestion, prepare_table
from ebbtide.pipeline.table_parts import stratified_parts, time_parts
from ebbtide.pipeline.table_score import score_table
from ebbtide.pipeline.table_train import train_table

CONFIG = parse_config({"train": {"bootstrap": 50}}, environ={})
ORDERED = TableQuestion(
    "target90", "customernumber", "date", "0", horizon_days=90, drop=("remi", "cancel", "deliverydatereal")
)


def test_the_rows_that_repeat_another_are_found_and_stay_in_one_fold(real_data):
    source = read_table(real_data / "ecommerce_churn_static" / "e_comm.parquet")
    table = prepare_table(source, TableQuestion("Churn", "CustomerID"))
    assert str(table.notes[0]).startswith("556 rows repeat another in all but the id")
    for part in stratified_parts(table.y, table.group):
        assert not set(table.group[part.known]) & set(table.group[part.asked])


def test_text_that_holds_numbers_with_blanks_is_a_number(real_data, tmp_path):
    source = read_table(real_data / "telco_churn_ibm" / "telco.parquet")
    done = train_table(source, TableQuestion("Churn", "customerID"), tmp_path / "m", CONFIG, model="logistic")
    table = prepare_table(source, TableQuestion("Churn", "customerID"))
    assert {f.column: f.kind for f in table.fields}["TotalCharges"] == "number"
    assert table.read["TotalCharges"].null_count() == 11
    assert int(table.y.sum()) == 1869
    assert done.judged.test.metrics["auroc"].value == pytest.approx(0.847, abs=0.01)


def test_times_dates_and_the_class_file_of_a_contest(real_data, tmp_path):
    """Trained on the one file, judged on the other, whose outcomes lie in a third."""
    folder = real_data / "dmc2010_reorder"
    source = read_table(folder / "train.parquet")
    table = prepare_table(source, ORDERED)
    kinds = {f.column: f.kind for f in table.fields}
    assert kinds["datecreated"] == kinds["deliverydatepromised"] == "date"
    assert table.read["deliverydatepromised"].null_count() == 9
    assert "points is left out: it has one value in all rows" in [str(n) for n in table.notes]
    for part in time_parts(table.time_us, table.y, 90 * 86_400_000_000):
        assert (table.time_us[part.known] + 90 * 86_400_000_000 <= part.moment_us).all()
    train_table(source, ORDERED, tmp_path / "m", CONFIG, model="logistic")
    listed = score_table(read_table(folder / "class.parquet"), tmp_path / "m", reasons="none").frame
    truth = pl.read_parquet(folder / "real.parquet").with_columns(user_id=pl.col("customernumber").cast(pl.String))
    joined = listed.join(truth, on="user_id")
    assert len(joined) == 32_427
    found = auroc((joined["target90"] == 0).cast(pl.Float64).to_numpy(), joined["churn_probability"].to_numpy())
    assert found > 0.58
