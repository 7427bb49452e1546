"""Table mode as a whole: from a messy labelled table to a model, a list and a page, and back to scores."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.core.config import Config, parse_config
from ebbtide.core.errors import DataError, InputError, MissingBundleError
from ebbtide.evaluation.ranking import auroc
from ebbtide.events.table_file import read_table, table_of_frame
from ebbtide.features.table_encoding import TableEncoding
from ebbtide.models.table_bundle import load_table_bundle
from ebbtide.pipeline import table_judge
from ebbtide.pipeline.table_data import TableQuestion, prepare_table
from ebbtide.pipeline.table_score import score_table
from ebbtide.pipeline.table_train import TableTrained, train_table
from ebbtide.workspace import Workspace

CONFIG = parse_config({"train": {"bootstrap": 50}, "bands": {"high": 0.6, "medium": 0.3}}, environ={})
QUESTION = TableQuestion("Churn", "id")
PLANS = ("monthly", "yearly", "two years")


def customers(rows: int = 400, seed: int = 0, copies: int = 0) -> pl.DataFrame:
    """A table as analysts have it: text numbers with blanks, yes/no, categories, dates; churn hangs on plan, months
    and complaints. The last `copies` rows repeat the first ones in all but the id."""
    rng = np.random.default_rng(seed)
    months, plan = rng.integers(0, 60, rows), rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    complained = rng.random(rows) < 0.2
    odds = 0.8 - 0.06 * months - 1.0 * plan + 1.6 * complained
    churn = rng.random(rows) < 1 / (1 + np.exp(-odds))
    frame = pl.DataFrame(
        {
            "Churn": np.where(churn, "Yes", "No"),
            "Months": months,
            "Plan": np.array(PLANS)[plan],
            "Complained": np.where(complained, "yes", "no"),
            "Spent": [" " if m == 0 else f"{m * 12.5 + x:.2f}" for m, x in zip(months, rng.normal(0, 5, rows), strict=True)],
            "Since": [f"{date(2024, 1, 1) - timedelta(days=int(30 * m))}" for m in months],
            "Country": "DE",
        }
    )  # fmt: skip
    if copies:
        frame = pl.concat([frame, frame.head(copies)])
    return frame.with_columns(id=pl.Series([f"c{seed}-{i}" for i in range(len(frame))]))


def trained_on(frame: pl.DataFrame, folder: Path, question: TableQuestion = QUESTION, **options) -> TableTrained:
    return train_table(table_of_frame(frame), question, folder, CONFIG, **{"model": "logistic", **options})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_on(customers(copies=30), tmp_path_factory.mktemp("table") / "model")


@pytest.fixture(scope="module")
def fresh():
    return customers(200, seed=5)


def scores_of(frame: pl.DataFrame, folder: Path, **options) -> pl.DataFrame:
    return score_table(table_of_frame(frame), folder, **options).frame.sort("user_id")


def test_the_planted_churn_is_found_and_the_figures_hold_on_new_customers(trained, fresh):
    """Out-of-fold AUROC lies within 0.06 of that on customers of the same kind that nobody had seen."""
    honest = trained.judged.test.metrics["auroc"].value
    listed = scores_of(fresh, trained.folder).join(fresh.select("id", "Churn"), left_on="user_id", right_on="id")
    found = auroc((listed["Churn"] == "Yes").cast(pl.Float64).to_numpy(), listed["churn_probability"].to_numpy())
    assert honest > 0.75
    assert found == pytest.approx(honest, abs=0.06)


def test_every_row_is_judged_once_by_models_that_had_not_seen_it(trained):
    assert sorted(trained.judged.rows) == list(range(430))
    assert len(trained.scores) == 430
    assert trained.scores.frame["churn_probability"].is_sorted(descending=True)


def test_the_probabilities_are_calibrated(trained):
    """Of the half at higher risk and of the half at lower risk, as many left as were predicted."""
    listed = trained.scores.frame.join(customers(copies=30), left_on="user_id", right_on="id")
    for half in (listed.head(215), listed.tail(215)):
        assert half["churn_probability"].mean() == pytest.approx((half["Churn"] == "Yes").mean(), abs=0.06)


def test_repeated_rows_are_told_and_left_in_one_fold(trained):
    """The thirty copies, and perhaps a few customers that are alike by chance."""
    (told,) = [str(n) for n in trained.notes if "repeat another in all but the id: they stay in one fold" in str(n)]
    assert 30 <= int(told.split()[0]) <= 45


def test_a_twin_in_another_fold_would_have_been_a_leak(tmp_path):
    """Labels by coin toss, every row twice: with twins in one fold nothing can be learnt."""
    rng = np.random.default_rng(1)
    noise = pl.DataFrame({f"x{i}": rng.normal(size=150).round(3) for i in range(4)})
    half = noise.with_columns(Churn=pl.Series(rng.integers(0, 2, 150)))
    frame = pl.concat([half, half]).with_columns(id=pl.Series(range(1000, 1300)).cast(pl.String))
    found = trained_on(frame, tmp_path / "m", model="lightgbm_large").judged.test.metrics["auroc"]
    assert found.value < 0.65


def test_text_numbers_blanks_and_dates_are_read(trained):
    kinds = {f.column: f.kind for f in load_table_bundle(trained.folder).fields}
    assert kinds == {"Months": "number", "Plan": "category", "Complained": "flag", "Spent": "number", "Since": "date"}
    assert "Country is left out: it has one value in all rows" in [str(n) for n in trained.notes]


def test_reasons_name_columns_of_the_file_in_plain_words(trained):
    reasons = [r for row in trained.scores.frame["reasons"].drop_nulls() for r in row]
    texts = {r["text"] for r in reasons}
    assert "raises: Complained: yes" in texts
    assert any(t.startswith("raises: Plan is monthly") for t in texts)
    assert {r["feature"].split("=")[0] for r in reasons} <= {"Months", "Plan", "Complained", "Spent", "Since"}


def test_reasons_come_in_chinese_too(trained, fresh):
    told = scores_of(fresh, trained.folder, reasons="all", language="zh")["reasons"].explode().struct.field("text")
    assert told.str.contains("推高风险：|降低风险：").all()


def test_reasons_are_for_whom_they_are_asked(trained, fresh):
    none, some, every = (scores_of(fresh, trained.folder, reasons=r) for r in ("none", "at_risk", "all"))
    assert none["reasons"].null_count() == len(fresh)
    assert every["reasons"].null_count() == 0
    assert some.filter(pl.col("reasons").is_null())["band"].unique().to_list() == ["low"]


def test_batch_equals_one_row(trained, fresh):
    """To 1e-9, reasons word by word; a file of one row looks like nothing to whoever infers types again."""
    whole = scores_of(fresh, trained.folder, reasons="all")
    for place in (0, 7, 150):
        one = fresh[place]
        alone = scores_of(one, trained.folder, reasons="all")
        same = whole.filter(pl.col("user_id") == one["id"][0])
        assert alone["churn_probability"][0] == pytest.approx(same["churn_probability"][0], abs=1e-9)
        assert [r["text"] for r in alone["reasons"][0]] == [r["text"] for r in same["reasons"][0]]


def test_contributions_add_up_to_the_score(trained, fresh):
    table = table_of_frame(fresh)
    bundle = load_table_bundle(trained.folder)
    scorer = table_judge.Scorer.of(bundle)
    read = table_judge.pl.DataFrame([f.read(table.frame[f.column]).alias(f.column) for f in bundle.fields])
    X = bundle.encoding.design(read)
    np.testing.assert_allclose(scorer.terms(X).sum(axis=1), scorer.log_odds(X), atol=1e-6)


def test_every_format_gives_the_same_scores(trained, fresh, tmp_path):
    fresh.write_csv(tmp_path / "a.csv", separator=";")
    fresh.write_parquet(tmp_path / "a.parquet")
    fresh.write_ndjson(tmp_path / "a.jsonl")
    wanted = scores_of(fresh, trained.folder)["churn_probability"]
    for file in ("a.csv", "a.parquet", "a.jsonl"):
        found = score_table(read_table(tmp_path / file), trained.folder).frame.sort("user_id")["churn_probability"]
        np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_row_order_changes_nothing(trained, fresh, tmp_path):
    frame = customers(copies=30)
    shuffled = frame[np.random.default_rng(2).permutation(len(frame))].select(reversed(frame.columns))
    again = trained_on(shuffled.select(frame.columns), tmp_path / "again")
    np.testing.assert_allclose(
        scores_of(fresh, again.folder)["churn_probability"], scores_of(fresh, trained.folder)["churn_probability"], atol=1e-9
    )  # fmt: skip
    assert again.judged.test.metrics == trained.judged.test.metrics


def test_unseen_categories_missing_values_and_odd_cells_are_scored(trained, fresh):
    odd = fresh.head(4).with_columns(
        Plan=pl.Series(["lifetime", None, "monthly", ""]), Spent=pl.Series(["much", None, "1,234.5", "-"]),
        Months=pl.lit(None, pl.Int64), Since=pl.lit("never"), Complained=pl.lit("perhaps"),
    )  # fmt: skip
    listed = scores_of(odd, trained.folder, reasons="all")
    assert listed["churn_probability"].is_between(0, 1).all()
    assert listed["churn_probability"].is_not_nan().all()


def test_other_columns_and_the_label_are_not_needed(trained, fresh):
    slim = fresh.drop("Churn", "Country").with_columns(more=pl.lit("x"))
    assert scores_of(slim, trained.folder).equals(scores_of(fresh, trained.folder))


def test_a_missing_column_is_named_with_the_nearest(trained, fresh):
    with pytest.raises(InputError, match=r"table has no column `Months` \(did you mean `months`\?\)"):
        score_table(table_of_frame(fresh.rename({"Months": "months"})), trained.folder)


def test_the_encoding_of_a_fold_never_sees_its_rows(monkeypatch, tmp_path):
    """Every fit of an encoding in the judgement sees four fifths; only the last one, of the kept model, sees all."""
    seen, real = [], TableEncoding.fit.__func__

    def watched(cls, fields, table, time=""):
        seen.append(len(table))
        return real(cls, fields, table, time)

    monkeypatch.setattr(TableEncoding, "fit", classmethod(watched))
    trained_on(customers(200), tmp_path / "m")
    assert len(seen) == 11
    assert seen[-1] == 200
    assert max(seen[:-1]) < 170


def test_the_folder_is_sealed_and_text_only(trained):
    manifest = json.loads((trained.folder / "manifest.json").read_text())
    assert {"encoding.json", "choice.json", "reference.json", "metrics.json", "model_card.md"} <= set(manifest["files"])
    assert {Path(f).suffix for f in manifest["files"]} <= {".json", ".md", ".txt"}
    assert {"scores.csv", "scores.parquet"} <= {f.name for f in trained.folder.iterdir()}
    card = (trained.folder / "model_card.md").read_text()
    assert "AUROC" in card
    assert "现成" in card or "问题" in card


def test_a_damaged_or_missing_model_is_refused(tmp_path, fresh):
    folder = trained_on(customers(120), tmp_path / "m").folder
    (folder / "encoding.json").write_text("{}")
    with pytest.raises(MissingBundleError, match=r"damaged: encoding\.json differ"):
        score_table(table_of_frame(fresh), folder)
    with pytest.raises(MissingBundleError, match="there is no model in"):
        score_table(table_of_frame(fresh), tmp_path)


def test_a_folder_of_something_else_is_never_written_over(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(InputError, match="is there already and is not the model of a table"):
        trained_on(customers(120), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "do not touch"


def test_training_again_replaces_the_model(tmp_path):
    first = trained_on(customers(120), tmp_path / "m")
    second = trained_on(customers(120), tmp_path / "m")
    assert load_table_bundle(tmp_path / "m").id == second.model != first.model


@pytest.mark.parametrize("name", ["bgnbd", "recency", "frequency"])
def test_models_of_events_are_refused(name, tmp_path):
    with pytest.raises(InputError, match=f"`{name}` learns from a customer's events"):
        trained_on(customers(), tmp_path / "m", model=name)


def test_auto_weighs_and_beats_no_member_by_chance_alone(tmp_path):
    done = trained_on(customers(300), tmp_path / "m", model="auto")
    assert {"logistic", "lightgbm", "lightgbm_large"} <= set(done.judged.members)
    assert set(done.weights) <= set(done.judged.members)
    best = max(auroc.value for auroc, _ in done.judged.members.values())
    assert done.judged.test.metrics["auroc"].value > best - 0.03
    assert [s.title.en for s in done.sections() if s.title] == ["Each model alone", "About the table"]
    json.dumps(done.to_json(), allow_nan=False)


def snapshots(seed: int = 0) -> pl.DataFrame:
    """The same customers at two times each, and a drift in how many leave."""
    frame = customers(600, seed)
    days = np.random.default_rng(seed).integers(0, 400, 600)
    told = [f"{date(2023, 1, 1) + timedelta(days=int(d))}" for d in days]
    return frame.with_columns(at=pl.Series(told), id=pl.Series([f"u{i % 450}" for i in range(600)]))


TIMED = TableQuestion("Churn", "id", "at", horizon_days=30)


def test_with_times_the_newest_rows_are_the_test_and_the_future_teaches_nothing(tmp_path):
    frame = snapshots()
    done = trained_on(frame, tmp_path / "m", TIMED)
    newest = frame.sort("at")["at"][480]
    assert done.timed
    assert done.scores.frame["as_of"].min().strftime("%Y-%m-%d") >= newest[:8]
    assert 100 <= len(done.scores) <= 140
    # turn every label of the test block round: no probability of the test block moves
    last = done.scores.frame["as_of"].min()
    flipped = frame.with_columns(
        Churn=pl.when(pl.col("at").str.to_date() >= last.date()).then(pl.when(pl.col("Churn") == "Yes").then(pl.lit("No")).otherwise(pl.lit("Yes"))).otherwise("Churn")
    )  # fmt: skip
    again = trained_on(flipped, tmp_path / "n", TIMED)
    order = ["user_id", "as_of"]
    np.testing.assert_array_equal(
        done.scores.frame.sort(order)["churn_probability"], again.scores.frame.sort(order)["churn_probability"]
    )


def test_dates_count_to_the_rows_own_time_and_one_row_scores_as_many(tmp_path):
    frame = snapshots()
    folder = trained_on(frame, tmp_path / "m", TIMED).folder
    assert any(c.description.en == "days from Since to at" for c in load_table_bundle(folder).encoding.columns)
    whole = score_table(table_of_frame(frame), folder).frame
    one = score_table(table_of_frame(frame[3]), folder).frame
    same = whole.filter(pl.col("user_id") == one["user_id"][0], pl.col("as_of") == one["as_of"][0])
    assert one["churn_probability"][0] == pytest.approx(same["churn_probability"][0], abs=1e-9)


def test_an_id_twice_is_refused_without_times_and_at_one_time():
    frame = customers(40).with_columns(at=pl.lit("2024-01-01"))
    twice = pl.concat([frame, frame.head(2).with_columns(Months=pl.lit(99, pl.Int64))])
    with pytest.raises(DataError, match=r"4 rows share theirs with another \(rows 1, 2, 41, 42\).*--time"):
        prepare_table(table_of_frame(twice), QUESTION)
    with pytest.raises(DataError, match="should name each row once and time, but 4 rows"):
        prepare_table(table_of_frame(twice), TableQuestion("Churn", "id", "at"))
    apart = twice.with_columns(at=pl.Series([f"2024-01-{1 + i // 40:02}" for i in range(42)]))
    assert len(prepare_table(table_of_frame(apart), TableQuestion("Churn", "id", "at"))) == 42


def test_rows_without_id_label_or_time_are_told():
    frame = customers(40)
    with pytest.raises(DataError, match=r"1 rows have no `id` \(rows 3\)"):
        prepare_table(table_of_frame(frame.with_columns(id=pl.when(pl.int_range(40) != 2).then("id"))), QUESTION)
    holes = frame.with_columns(
        Churn=pl.when(pl.int_range(40) != 5).then("Churn"), at=pl.when(pl.int_range(40) != 6).then(pl.lit("2024-01-01"))
    )
    notes = [str(n) for n in prepare_table(table_of_frame(holes), TableQuestion("Churn", "id", "at")).notes]
    assert notes[:2] == ["1 rows have no label and are not used", "1 rows have no readable time and are not used"]


def test_without_an_id_rows_are_numbered(tmp_path):
    done = trained_on(customers(100).drop("id"), tmp_path / "m", TableQuestion("Churn"))
    assert set(done.scores.frame["user_id"]) == {str(i) for i in range(1, 101)}


def test_times_that_leave_day_and_month_open_are_refused():
    frame = customers(40).with_columns(at=pl.lit("01/02/2024"))
    with pytest.raises(DataError, match="do not tell whether the day or the month stands first"):
        prepare_table(table_of_frame(frame), TableQuestion("Churn", "id", "at"))


@pytest.mark.parametrize("copy", ["value", "category", "presence"])
def test_a_column_that_gives_the_label_away_is_named(copy):
    frame, churned = customers(), pl.col("Churn") == "Yes"
    columns = {
        "value": churned.cast(pl.Int64) * 3 + pl.col("Months") / 100,
        "category": pl.when(churned).then(pl.lit("closed")).otherwise(pl.lit("open")),
        "presence": pl.when(churned).then(pl.lit("moved")),
    }
    table = prepare_table(table_of_frame(frame.with_columns(account=columns[copy])), QUESTION)
    assert [str(w)[:61] for w in table.warnings] == ["`account` alone tells the label almost perfectly (AUROC 1.000"]
    dropped = TableQuestion("Churn", "id", drop=("account",))
    assert prepare_table(table_of_frame(frame.with_columns(account=columns[copy])), dropped).warnings == ()


def test_an_honest_table_is_not_accused():
    assert prepare_table(table_of_frame(customers()), QUESTION).warnings == ()


def test_where_most_rows_are_alike_they_are_different_customers(tmp_path):
    """Two coarse columns make six kinds of rows: what is known of a kind is no leak, and folds are by row."""
    frame = customers(600).select("id", "Churn", "Plan", "Complained")
    done = trained_on(frame, tmp_path / "m")
    assert any("too coarse to tell a copy from another customer" in str(n) for n in done.notes)
    assert done.judged.test.users == 600
    assert done.judged.test.metrics["auroc"].value > 0.6


@pytest.mark.parametrize(
    "question",
    [
        TableQuestion("Churn", "Churn"),
        TableQuestion("Churn", "id", "id"),
        TableQuestion("Churn", "id", drop=("Churn",)),
    ],
)
def test_one_column_cannot_be_two_things(question):
    with pytest.raises(InputError, match=r"`(Churn|id)`: label, id, time and the columns to drop must be different"):
        prepare_table(table_of_frame(customers(40)), question)


def test_types_that_only_frames_have_are_read(tmp_path):
    n = 60
    frame = customers(n).with_columns(
        kind=pl.Series(["u", "v"] * (n // 2)).cast(pl.Categorical), price=pl.Series(range(n)).cast(pl.Decimal(10, 2)) * 2,
        many=pl.Series([[1, 2], [3]] * (n // 2)), pair=pl.Series([{"a": i % 3} for i in range(n)]),
        took=pl.Series([1, 2, 3] * (n // 3)).cast(pl.Duration("us")), at=pl.Series([1, 2] * (n // 2)).cast(pl.Time),
        raw=pl.Series([b"x", b"y"] * (n // 2)), none=pl.Series([None] * n),
    )  # fmt: skip
    table = prepare_table(table_of_frame(frame), QUESTION)
    kinds = {f.column: f.kind for f in table.fields}
    assert {c: kinds.get(c) for c in ("kind", "many", "pair", "took", "raw", "none")} == {
        "kind": "category", "many": "category", "pair": "category", "took": "number", "raw": "category", "none": None,
    }  # fmt: skip


def test_numbers_too_large_to_be_true_are_missing():
    frame = customers(40).with_columns(huge=pl.Series([1e300, float("inf"), 5.0, 6.0] * 10))
    table = prepare_table(table_of_frame(frame), QUESTION)
    assert table.read["huge"].null_count() == 20
    assert "huge: 20 cells are no number and count as missing" in [str(n) for n in table.notes]


def test_too_few_of_a_class_and_nothing_to_learn_from_are_refused():
    few = customers(200).with_columns(Churn=pl.when(pl.int_range(200) < 9).then(pl.lit("Yes")).otherwise(pl.lit("No")))
    with pytest.raises(DataError, match="9 churned and 191 retained, at least 10"):
        prepare_table(table_of_frame(few), QUESTION)
    with pytest.raises(DataError, match="no column is left to learn from"):
        prepare_table(table_of_frame(customers(100).select("id", "Churn", "Country")), QUESTION)


def test_the_workspace_needs_no_config_and_takes_frames(tmp_path, fresh):
    shop = Workspace(tmp_path)
    done = shop.train_table(customers(120), label="Churn", id="id", model="logistic", out=tmp_path / "m")
    assert isinstance(shop._config_or_defaults, Config)
    page = (tmp_path / "m" / "report.html").read_text(encoding="utf-8")
    assert "Churn = Yes" in page
    assert "Country is left out" in page
    assert "Retention of new buyers" not in page
    assert "Expected orders" not in page
    assert len(shop.score_table(fresh.to_arrow(), model=done.folder)) == 200
