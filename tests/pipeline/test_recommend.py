"""`recommend`: lists for everybody and for one, the kept recommender, stock and other rules, what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.core.errors import ConfigError, InputError, MissingError
from ebbtide.core.outreach_settings import RecommendConfig
from ebbtide.events.schema import ITEM_COLUMNS
from ebbtide.pipeline.assortment import assortment_at
from ebbtide.pipeline.recommend import Recommendations, recommend, write_recommendations
from ebbtide.pipeline.score import score_shard
from ebbtide.pipeline.train import newest_moment

from .conftest import UNTIL, SmallShop, Trained


@pytest.fixture(scope="module")
def shop(small_shop: SmallShop, tmp_path_factory: pytest.TempPathFactory) -> SmallShop:
    """A copy, because lists leave a recommender behind."""
    root = tmp_path_factory.mktemp("recommend") / "shop"
    shutil.copytree(small_shop.root, root)
    return SmallShop(root, small_shop.config.model_copy(update={"recommend": RecommendConfig(lessons=1)}))


@pytest.fixture(scope="module")
def everybody(shop: SmallShop) -> Recommendations:
    return recommend(shop.config, shop.root, as_of=UNTIL)


def test_everybody_who_is_known_gets_a_full_list(everybody: Recommendations, shop: SmallShop) -> None:
    known = pl.concat([shop.lake.read_bucket(b) for b in shop.lake.buckets()]).filter(
        pl.col("occurred_at") <= UNTIL, pl.col("ingested_at") <= UNTIL
    )
    assert set(everybody.frame["user_id"]) == set(known["user_id"])
    per_user = everybody.frame.group_by("user_id").agg(pl.len(), pl.col("rank").max(), pl.col("item_id").n_unique())
    assert (per_user.drop("user_id") == 10).to_numpy().all()
    assert everybody.frame.select("name", "en", "zh").null_count().sum_horizontal().item() == 0


def test_one_user_gets_the_same_list_from_the_kept_recommender(everybody: Recommendations, shop: SmallShop) -> None:
    for user in everybody.frame["user_id"].unique().sort()[:5]:
        alone = recommend(shop.config, shop.root, user, as_of=UNTIL)
        assert alone.frame.drop("score").equals(everybody.frame.filter(user_id=user).drop("score"))


def test_a_kept_recommender_is_used_later_but_never_earlier(everybody: Recommendations, shop: SmallShop) -> None:
    user = str(everybody.frame["user_id"][0])
    assert recommend(shop.config, shop.root, user).fitted_at == UNTIL
    earlier = UNTIL - timedelta(days=60)
    assert recommend(shop.config, shop.root, user, as_of=earlier).fitted_at == earlier
    assert recommend(shop.config, shop.root, user).fitted_at == UNTIL  # the older one did not replace it


def test_an_unknown_customer_sees_what_sells(shop: SmallShop, everybody: Recommendations) -> None:
    found = recommend(shop.config, shop.root, "nobody-knows-me", as_of=UNTIL)
    assert (found.cold, set(found.frame["why"]), len(found.frame)) == (1, {"popular"}, 10)
    assert "nothing is known" in str(found.sections()[0].lines[1])


def test_items_of_the_file_are_left_out(shop: SmallShop, everybody: Recommendations, tmp_path: Path) -> None:
    gone = everybody.frame["item_id"].value_counts(sort=True)["item_id"].head(20)
    (tmp_path / "gone.txt").write_text("\n".join(gone) + "\n")
    found = recommend(shop.config, shop.root, as_of=UNTIL, without=tmp_path / "gone.txt", count=5)
    assert not set(gone) & set(found.frame["item_id"])
    assert (found.frame.group_by("user_id").len()["len"] == 5).all()
    with pytest.raises(InputError, match="one item id a line"):
        recommend(shop.config, shop.root, as_of=UNTIL, without=tmp_path / "missing.txt")


def items(*rows: tuple[str, int | None, str | None, str | None]) -> pl.DataFrame:
    """item_id, days before UNTIL since which the row counts, text, properties."""
    item, age, text, properties = zip(*rows, strict=True)
    told = {"item_id": item, "text": text, "properties": properties}
    told["valid_from"] = [None if a is None else UNTIL - timedelta(days=a) for a in age]  # type: ignore[assignment]
    empty = {c: [None] * len(rows) for c in ITEM_COLUMNS if c not in told}
    return pl.DataFrame(told | empty, schema_overrides=ITEM_COLUMNS).select(ITEM_COLUMNS.keys())


STOCK = items(
    ("a", None, "Red mug\nholds a lot", '{"stock": 3}'),
    ("b", 9, None, '{"stock": 3}'),
    ("b", 2, None, '{"stock": 0}'),
    ("b", -2, None, '{"stock": 7}'),
    ("c", None, "x" * 100, None),
)
RULE = "cast(json_extract(properties, '$.stock') as int) > 0"


def test_stock_is_that_of_the_newest_row_known_at_the_moment() -> None:
    asked = pl.Series(["a", "b", "c", "unknown"])
    assert assortment_at(STOCK, UNTIL, RULE, None).allowed(asked).tolist() == [True, False, False, False]
    assert assortment_at(STOCK, UNTIL - timedelta(days=5), RULE, None).allowed(asked).tolist()[1]
    assert assortment_at(STOCK, UNTIL, "", None).allowed(asked).all()


def test_items_are_called_by_the_first_line_of_their_text() -> None:
    about = assortment_at(STOCK, UNTIL, "", None)
    assert (about.name("a"), about.name("b"), about.name("c")) == ("Red mug", "b", "x" * 79 + "…")


@pytest.mark.parametrize("rule", ["stock >", "no_such_column = 1", "item_id"])
def test_a_rule_that_is_no_condition_is_a_config_error(rule: str) -> None:
    with pytest.raises(ConfigError, match=r"recommend\.in_stock"):
        assortment_at(STOCK, UNTIL, rule, None)


def test_lists_are_written_in_each_format(everybody: Recommendations, tmp_path: Path) -> None:
    frames = []
    for suffix, read in ((".parquet", pl.read_parquet), (".csv", pl.read_csv), (".jsonl", pl.read_ndjson)):
        write_recommendations(everybody, tmp_path / f"lists{suffix}", "zh")
        frames.append(read(tmp_path / f"lists{suffix}"))
    assert [f.columns for f in frames] == [frames[0].columns] * 3
    assert frames[0]["text"].equals(everybody.frame["zh"].rename("text"))
    assert frames[1]["user_id"].cast(pl.String).equals(frames[0]["user_id"])
    with pytest.raises(InputError, match=r"use \.parquet, \.csv or \.jsonl"):
        write_recommendations(everybody, tmp_path / "lists.xlsx")


def test_without_the_library_lists_are_made_and_say_so(
    shop: SmallShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebbtide.pipeline.recommend.find_spec", lambda name: None)
    shutil.copytree(shop.root, tmp_path / "shop", ignore=shutil.ignore_patterns("recommender"))
    found = recommend(shop.config, tmp_path / "shop", as_of=UNTIL)
    assert "ebbtide[recommend]" in str(found.sections()[0].lines[-1])
    assert not found.to_json()["factorisation"]


def test_a_damaged_recommender_is_made_anew(shop: SmallShop, everybody: Recommendations, tmp_path: Path) -> None:
    shutil.copytree(shop.root, tmp_path / "shop")
    (tmp_path / "shop" / ".ebbtide" / "recommender" / "items.json").write_text("{}")
    user = str(everybody.frame["user_id"][0])
    again = recommend(shop.config, tmp_path / "shop", user, as_of=UNTIL)
    assert np.array_equal(again.frame["item_id"], everybody.frame.filter(user_id=user)["item_id"])


def test_an_empty_shop_says_what_to_do(shop: SmallShop, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="ebbtide ingest"):
        recommend(shop.config, tmp_path)


def test_sections_tell_both_languages(everybody: Recommendations) -> None:
    told = everybody.sections(rows=3)
    assert len(told[1].rows) == 3
    assert "customers as of" in told[0].lines[0].en
    assert "位顾客" in told[0].lines[0].zh
    leaning = replace(everybody, user="u", frame=everybody.frame.head(3).with_columns(leaning=True))
    assert "former favourites" in leaning.sections()[0].lines[1].en


def test_the_default_moment_is_the_newest_event(shop: SmallShop, everybody: Recommendations) -> None:
    user = str(everybody.frame["user_id"][0])
    assert recommend(shop.config, shop.root, user).as_of == newest_moment(shop.lake)


def test_with_a_bundle_the_band_says_whose_list_leans(trained: Trained, tmp_path: Path) -> None:
    """Who is scored leans above the low band; who is not, for example the lapsed, where overdue."""
    root = Path(shutil.copytree(trained.shop.root, tmp_path / "shop"))
    config = trained.shop.config.model_copy(update={"recommend": RecommendConfig(lessons=0)})
    found = recommend(config, root, as_of=UNTIL)
    scored = pl.concat(
        score_shard(trained.shop.lake.read_bucket(b), UNTIL, trained.bundle, reasons="none")
        for b in trained.shop.lake.buckets()
    )
    risky = scored.filter(pl.col("band") != "low")
    assert found.to_json()["at_risk_by"] == "band"
    by_ids = recommend(config, root, as_of=UNTIL, at_risk=risky["user_id"])
    assert by_ids.to_json()["at_risk_by"] == "given"
    shared = found.frame.filter(pl.col("user_id").is_in(scored["user_id"].implode()))
    assert shared.equals(by_ids.frame.filter(pl.col("user_id").is_in(scored["user_id"].implode())))
    user = str(risky["user_id"][0])
    alone = recommend(config, root, user, as_of=UNTIL)
    assert alone.frame.drop("score").equals(found.frame.filter(user_id=user).drop("score"))
    shutil.rmtree(root / ".ebbtide" / "bundles")
    assert recommend(config, root, as_of=UNTIL).to_json()["at_risk_by"] == "silence"
