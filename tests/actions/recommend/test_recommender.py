"""Lists: what is planted is found, one user alone gets what the batch gives, the future changes nothing, rules hold."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.actions.recommend.blend import fit_blend
from ebbtide.actions.recommend.evidence import NAMES, Candidates, candidates_of
from ebbtide.actions.recommend.favourites import LovedWeight, is_overdue, leaning, loved, measure_weight
from ebbtide.actions.recommend.lesson import Lesson
from ebbtide.actions.recommend.recommender import Recommender
from ebbtide.actions.recommend.shelf import load_recommender, save_recommender
from ebbtide.actions.recommend.teaching import known_at, lesson_of, wanted_after
from ebbtide.actions.recommend.tree_blend import TreeBlend
from ebbtide.core.errors import DataError, MissingBundleError
from ebbtide.core.outreach_settings import RecommendConfig
from ebbtide.evaluation.recommendation import recall_at

from .conftest import AS_OF, START, events_of


def lists(made: Recommender, log: pl.DataFrame, **options: object) -> pl.DataFrame:
    return made.lists(made.meetings([log], AS_OF), **options)  # type: ignore[arg-type]


def test_what_comes_again_and_again_is_shown_first(made: Recommender, log: pl.DataFrame) -> None:
    """Everybody's coffee of the own kind, with the days after which it usually comes again."""
    first = lists(made, log).filter(rank=1).sort("user_id")
    own = ["ab"[int(user[1:]) % 2] + "0" for user in first["user_id"]]
    assert np.mean([a == b for a, b in zip(first["item_id"], own, strict=True)]) > 0.9
    assert set(first.filter(pl.col("item_id").str.ends_with("0"))["why"]) == {"again"}
    assert first["days"].drop_nulls().median() == pytest.approx(10.0, abs=0.5)


def test_lists_stay_within_a_customers_kind(made: Recommender, log: pl.DataFrame) -> None:
    found = lists(made, log, count=5)
    alike = found["item_id"].str.slice(0, 1) == pl.Series(["ab"[int(u[1:]) % 2] for u in found["user_id"]])
    assert alike.mean() > 0.95


def test_one_user_alone_gets_the_list_of_the_batch(made: Recommender, log: pl.DataFrame) -> None:
    batch = lists(made, log)
    for user in ("u000", "u037", "u119"):
        alone = lists(made, log.filter(user_id=user))
        assert alone.drop("score").equals(batch.filter(user_id=user).drop("score"))
        assert alone["score"].to_list() == pytest.approx(batch.filter(user_id=user)["score"].to_list(), abs=1e-9)


def test_no_later_event_changes_a_list(made: Recommender, log: pl.DataFrame) -> None:
    """Neither what happens after as_of nor what arrives after it, in fitting or in asking."""
    known = log.filter(pl.col("occurred_at") <= AS_OF)
    late = events_of(("u000", "order", "b7", 100.0), ("zz", "order", "q1", 90.0), known_after=70.0)
    again = Recommender.fit(lambda: [pl.concat([known, late])], AS_OF, RecommendConfig(), seed=0, with_als=False)
    assert lists(made, log).equals(lists(again, pl.concat([log, late])))


def test_the_same_seed_gives_the_same_lists(made: Recommender, log: pl.DataFrame) -> None:
    again = Recommender.fit(lambda: [log.reverse()], AS_OF, RecommendConfig(), seed=0, with_als=False)
    assert lists(made, log).equals(lists(again, log))


def test_what_is_out_of_stock_is_not_shown(made: Recommender, log: pl.DataFrame) -> None:
    allowed = ~made.tables.items.is_in(["a0", "b0", "a3"]).to_numpy()
    found = lists(made, log, allowed=allowed)
    assert set(found["item_id"]) <= set(made.tables.items.to_numpy()[allowed])
    assert (found.group_by("user_id").len()["len"] == 10).all()


def test_what_was_bought_is_hidden_or_rests_if_the_shop_says_so(made: Recommender, log: pl.DataFrame) -> None:
    owned = log.filter(pl.col("type") == "order", pl.col("occurred_at") <= AS_OF)
    hidden = lists(replace(made, repeats=False), log)
    assert len(hidden.join(owned, on=["user_id", "item_id"], how="semi")) == 0
    resting = lists(replace(made, rest_days=8.0), log)
    recent = owned.filter(pl.col("occurred_at") > AS_OF - timedelta(days=8))
    assert len(lists(made, log).join(recent, on=["user_id", "item_id"], how="semi")) > 0
    assert len(resting.join(recent, on=["user_id", "item_id"], how="semi")) == 0


def test_auto_hides_what_was_bought_where_nobody_buys_again() -> None:
    rows = [(f"u{u}", "order", f"a{u % 9 + 9 * k}", 20.0 * k + u % 7) for u in range(60) for k in range(6)]
    log = events_of(*rows)
    once = Recommender.fit(
        lambda: [log], START + timedelta(days=110), RecommendConfig(window="20d"), seed=0, with_als=False
    )
    assert not once.repeats


def test_somebody_unknown_sees_what_sells(made: Recommender) -> None:
    found = made.popular(3)
    assert found["item_id"].to_list()[:2] in (["a0", "b0"], ["b0", "a0"])
    assert set(found["why"]) == {"popular"}
    assert made.lists(made.meetings([], AS_OF)).height == 0


def test_a_reason_names_the_item_that_speaks_for_it() -> None:
    """m and f are always bought together; u has m only."""
    rows = [(f"v{v}", "order", item, float(v)) for v in range(30) for item in ("m", "f")]
    rows += [(f"w{w}", "order", "x", float(w)) for w in range(30)]
    log = events_of(*rows, ("u", "order", "m", 40.0), ("u", "cart_add", "x", 40.5))
    at = START + timedelta(days=41)
    made = Recommender.fit(lambda: [log], at, RecommendConfig(), seed=0, with_als=False)
    assert made.choice.kind == "none"
    told = {row["item_id"]: row for row in made.lists(made.meetings([log.filter(user_id="u")], at)).to_dicts()}
    assert (told["f"]["why"], told["f"]["other"]) == ("together", "m")
    assert told["x"]["why"] == "cart"
    assert told["m"]["why"] == "bought"


def test_a_saved_recommender_makes_the_same_lists(made: Recommender, log: pl.DataFrame, tmp_path: Path) -> None:
    save_recommender(tmp_path / "r", made, {"note": 1})
    loaded, facts = load_recommender(tmp_path / "r")
    assert facts == {"note": 1}
    assert lists(loaded, log).equals(lists(made, log))


def test_trees_are_saved_too(made: Recommender, log: pl.DataFrame, tmp_path: Path) -> None:
    at = AS_OF - timedelta(days=30)
    known = known_at(lambda: [log], at, None, seed=0)
    lesson = lesson_of(known, *wanted_after(lambda: [log], at, AS_OF, known.meetings), repeats=True)
    treed = replace(made, blend=TreeBlend.fit([lesson], seed=0), choice=replace(made.choice, kind="trees"))
    save_recommender(tmp_path / "r", treed, {})
    assert lists(load_recommender(tmp_path / "r")[0], log).equals(lists(treed, log))


def test_nothing_that_is_saved_names_a_customer(made: Recommender, log: pl.DataFrame, tmp_path: Path) -> None:
    save_recommender(tmp_path / "r", made, {})
    held = b"".join(file.read_bytes() for file in (tmp_path / "r").iterdir())
    assert not [user for user in log["user_id"].unique() if f'"{user}"'.encode() in held]
    with np.load(tmp_path / "r" / "items.npz") as arrays:
        assert len(log["user_id"].unique()) not in {size for name in arrays.files for size in arrays[name].shape}


def test_a_damaged_recommender_is_refused(made: Recommender, tmp_path: Path) -> None:
    with pytest.raises(MissingBundleError, match="no recommender yet"):
        load_recommender(tmp_path / "none")
    save_recommender(tmp_path / "r", made, {})
    (tmp_path / "r" / "items.json").write_text(json.dumps({"items": ["x"]}))
    with pytest.raises(MissingBundleError, match="damaged"):
        load_recommender(tmp_path / "r")


def test_a_log_without_purchases_of_items_is_refused() -> None:
    with pytest.raises(DataError, match="no purchase with an item_id"):
        Recommender.fit(lambda: [events_of(("u", "product_view", "a", 1.0))], AS_OF, RecommendConfig(), seed=0)


def test_evidence_by_hand() -> None:
    """u bought a on days 70, 80 and 90, looked at b on day 99; asked on day 100."""
    rows = [
        ("u", "order", "a", 70.0),
        ("u", "order", "a", 80.0),
        ("u", "order", "a", 90.0),
        ("u", "product_view", "b", 99.0),
    ]
    known = known_at(lambda: [events_of(*rows, ("v", "order", "b", 50.0))], START + timedelta(days=100), None, seed=0)
    found = candidates_of(known.meetings.block(0, 1), known.tables, np.ones(2, np.bool_))
    told = {name: found.column(name).tolist() for name in NAMES}
    assert told["bought"] == [3.0, 0.0]
    assert told["bought_30d"] == pytest.approx([0.5 ** (1 / 3) + 0.5 ** (2 / 3) + 0.5, 0.0])
    assert (told["bought_days"][0], told["own_gap"][0], told["due_own"][0], told["due_item"][0]) == (
        10.0,
        10.0,
        1.0,
        1.0,
    )
    assert (told["viewed"], told["viewed_days"][1]) == ([0.0, 1.0], 1.0)
    assert (told["orders"], told["silent_days"], told["usual_gap"]) == ([3.0, 3.0], [10.0, 10.0], [10.0, 10.0])
    assert told["category_love"] == pytest.approx([3 / 3.15, 0.15 / 3.15])


def test_a_lesson_counts_items_that_nobody_had_seen() -> None:
    log = events_of(("u", "order", "a", 10.0), ("u", "order", "new", 20.0), ("u", "order", "a", 21.0))
    at = START + timedelta(days=15)
    known = known_at(lambda: [log], at, None, seed=0)
    start, wanted = wanted_after(lambda: [log], at, at + timedelta(days=30), known.meetings)
    lesson = lesson_of(known, start, wanted, repeats=True)
    assert (start.tolist(), wanted.tolist(), lesson.bought.tolist()) == ([0, 2], [0, 1], [True])
    assert recall_at(np.array([[0]]), start, wanted).tolist() == [0.5]


def candidates(rows: dict[str, list[float]], user: list[int]) -> Candidates:
    X = np.full((len(user), len(NAMES)), np.nan, np.float32)
    for name, values in rows.items():
        X[:, NAMES.index(name)] = values
    return Candidates(np.array(user), np.arange(len(user)) % 2, X)


def test_who_is_silent_for_twice_the_usual_gap_is_overdue() -> None:
    found = candidates({"silent_days": [20.0, 20.1, 5.0], "usual_gap": [10.0, 10.0, np.nan]}, [0, 1, 2])
    assert is_overdue(found).tolist() == [False, True, False]


def test_leaning_moves_only_whom_it_is_meant_for_towards_what_they_loved() -> None:
    found = candidates({"bought": [5, 0, 5, 0], "viewed": [0] * 4}, [0, 0, 1, 1])
    assert loved(found).tolist() == [1.0, 0.0, 1.0, 0.0]
    whom = np.array([True, True, False, False])
    assert leaning(found, np.array([0.0, 2.0, 0.0, 2.0]), 0.5, whom).tolist() == [0.5, 2.0, 0.0, 2.0]
    assert leaning(found, np.ones(4), 0.0, whom).tolist() == [1.0] * 4


def overdue_lesson(users: int, *, came_for_loved: bool) -> Lesson:
    """Two candidates a user, the first one loved; who comes back buys the loved one or the other."""
    columns = {
        "bought": [5, 0] * users,
        "viewed": [0] * 2 * users,
        "silent_days": [50] * 2 * users,
        "usual_gap": [10] * 2 * users,
    }
    found = candidates(columns, [u for u in range(users) for _ in range(2)])
    return Lesson(found, np.arange(users + 1), np.full(users, 0 if came_for_loved else 1), 2)


def test_the_weight_is_what_overdue_users_came_back_for() -> None:
    """Scores put the loved item second. Where they came for it the weight is high, where not it is 0."""
    score = np.tile([0.0, 1.0], 50)
    assert measure_weight(overdue_lesson(50, came_for_loved=True), score).weight == 2.0
    measured = measure_weight(overdue_lesson(50, came_for_loved=False), score)
    assert (measured.weight, measured.users) == (0.0, 50)


def test_too_few_overdue_users_measure_nothing() -> None:
    assert measure_weight(overdue_lesson(29, came_for_loved=True), np.tile([0.0, 1.0], 29)).weight == 0.0


def test_at_risk_users_may_be_named(made: Recommender, log: pl.DataFrame) -> None:
    leans = replace(made, choice=replace(made.choice, loved=LovedWeight(weight=2.0)))
    found = lists(leans, log, at_risk=pl.Series(["u001"]))
    assert set(found.filter("leaning")["user_id"]) == {"u001"}
    silent = set(lists(leans, log).filter("leaning")["user_id"])
    for asked, leaning_then in ((["u001"], silent | {"u001"}), (["u002"], silent - {"u002"})):
        found = lists(leans, log, at_risk=pl.Series(["u001"]), asked=pl.Series(asked))
        assert set(found.filter("leaning")["user_id"]) == leaning_then
    assert lists(made, log)["leaning"].sum() == 0 or made.choice.loved.weight > 0


def test_without_lessons_there_is_no_blend() -> None:
    blend, choice = fit_blend([], seed=0)
    assert (blend, choice.kind) == (None, "none")
