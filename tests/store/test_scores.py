from __future__ import annotations

from dataclasses import replace

from ebbtide.store.database import Database
from ebbtide.store.scores import Page, Scores, StoredScore

ONE = StoredScore("u1", 10, 0.5, 50.0, "medium", 1.0, 20.0, None, "m")


def test_the_newest_score_of_a_user_stays_whatever_the_order_of_writing(database: Database) -> None:
    scores = Scores(database)
    scores.put("a", [ONE])
    scores.put("a", [replace(ONE, as_of_us=9, churn_probability=0.1)])
    assert scores.of_users("a", ["u1", "u2"]) == {"u1": ONE}
    newer = replace(ONE, as_of_us=11, churn_probability=0.9, reasons="[]")
    scores.put("a", [newer])
    assert scores.of_users("a", ["u1"]) == {"u1": newer}
    assert scores.of_users("b", ["u1"]) == {}


def test_pages_of_the_list_follow_one_another_without_gap_or_repetition(database: Database) -> None:
    scores = Scores(database)
    rows = [
        replace(ONE, user_id=f"u{i}", churn_probability=(i % 4) / 10, band="low" if i % 2 else "high")
        for i in range(23)
    ]
    scores.put("a", rows)
    got: list[StoredScore] = []
    while page := scores.at_risk("a", limit=5, after=Page(got[-1].churn_probability, got[-1].user_id) if got else None):
        got += page
    assert got == sorted(rows, key=lambda r: (-r.churn_probability, r.user_id))
    assert {r.band for r in scores.at_risk("a", limit=50, bands=["high"])} == {"high"}
    assert scores.counts("a") == {"high": 12, "low": 11}


def test_users_who_were_not_scored_any_more_are_forgotten(database: Database) -> None:
    scores = Scores(database)
    scores.put("a", [ONE, replace(ONE, user_id="u2", as_of_us=20), replace(ONE, user_id="u3", as_of_us=20)])
    assert scores.forget_before("a", 20) == 1
    with database.write() as connection:
        scores.remove_within(connection, "a", ["u3", "nobody"])
    assert set(scores.of_users("a", ["u1", "u2", "u3"])) == {"u2"}
    assert sorted(scores.probabilities("a", "m")) == [0.5]
