"""A customer who cannot be scored keeps nobody else from being scored, and is tried again when there is something new."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from tests.pipeline.conftest import UNTIL, OpenShop, Trained

from ebbtide.core.errors import RetryError
from ebbtide.core.windows import to_us
from ebbtide.pipeline import live_shop
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import rescore_everybody, rescore_touched
from ebbtide.pipeline.set_aside import MOST_IN_A_ROW, Cause, SetAside
from ebbtide.store.database import Database
from ebbtide.store.inbox import Incoming


class Model:
    """Scores everybody but the users of `bad`, and gives those of `strange` no number; `asked` holds the groups."""

    def __init__(self, bad: Sequence[str] = (), strange: Sequence[str] = ()) -> None:
        self.bad, self.strange, self.asked = set(bad), set(strange), list[Sequence[str]]()

    def __call__(self, users: Sequence[str]) -> pl.DataFrame:
        self.asked.append(users)
        if self.bad & set(users):
            raise ZeroDivisionError
        p = [float("nan") if user in self.strange else 0.5 for user in users]
        return pl.DataFrame(
            {"user_id": users, "churn_probability": p}, {"user_id": pl.String, "churn_probability": pl.Float64}
        )


USERS = [f"u{k:03d}" for k in range(100)]


@pytest.mark.parametrize("bad", [USERS[:1], USERS[99:], USERS[10:40], USERS[::2], []])
def test_all_others_are_scored_and_each_who_fails_is_named_with_a_reason(bad: list[str]) -> None:
    aside, model = SetAside(), Model(bad[1:], bad[:1])
    aside.score(USERS[41:43], Model())
    found = aside.score(USERS, model)
    assert sorted(found.scored["user_id"]) == sorted(set(USERS) - set(bad))
    assert found.aside == {user: Cause.FAILED if user in model.bad else Cause.NOT_FINITE for user in bad}
    assert aside.count == len(bad)


def test_who_was_set_aside_is_tried_alone_and_is_like_the_others_again_once_it_succeeds() -> None:
    aside, model = SetAside(), Model(["u007"])
    aside.score(USERS, model)
    model.asked.clear()
    assert aside.score(USERS, model).counts() == {"failed": 1}
    assert [len(users) for users in model.asked] == [99, 1]
    model.bad.clear()
    assert aside.score(USERS, model).scored.height == 100
    model.asked.clear()
    aside.score(USERS, model)
    assert [len(users) for users in model.asked] == [100]
    assert aside.count == 0


def test_a_model_that_fails_for_everybody_is_nobodys_fault() -> None:
    aside, model = SetAside(), Model()
    aside.score(USERS[:1], model)
    model.bad = set(USERS)
    with pytest.raises(ZeroDivisionError):
        aside.score(USERS, model)
    assert len(model.asked) < 3 * MOST_IN_A_ROW


def test_who_is_not_eligible_bears_no_witness_for_the_model() -> None:
    """Otherwise a model that fails for everybody who is scored would seem whole."""
    aside, model = SetAside(), Model()

    def score(users: Sequence[str]) -> pl.DataFrame:
        return model([user for user in users if user != "nobody"])

    aside.score([USERS[0], "nobody"], score)
    aside.score(["nobody"], score)
    model.bad = set(USERS)
    with pytest.raises(ZeroDivisionError):
        aside.score([*USERS, "nobody"], score)


def test_a_store_that_is_away_sets_nobody_aside() -> None:
    def away(_: Sequence[str]) -> pl.DataFrame:
        raise RetryError("away", "离开")

    aside = SetAside()
    with pytest.raises(RetryError):
        aside.score(USERS, away)
    assert aside.count == 0


@pytest.fixture
def shop(trained: Trained, sim_log: pl.DataFrame, open_shop: OpenShop, store_url: str) -> Iterator[LiveShop]:
    opened = open_shop(sim_log.filter(pl.col("ingested_at") <= UNTIL)).borrow(trained.shop)
    database = Database.open(store_url)
    yield LiveShop(opened.config, opened.root, "shop", database, clock=lambda: UNTIL)
    database.close()


def test_a_micro_batch_and_a_full_run_go_on_without_a_poisoned_history(
    shop: LiveShop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last score stays until the next full run, the others get theirs, and no log names the customer."""
    rescore_everybody(shop)
    before = shop.scores.of_users("shop", [s.user_id for s in shop.scores.at_risk("shop", limit=1000)])
    victim, *others = sorted(before)
    real, poisoned = live_shop.score_shard, True

    def score(events: pl.DataFrame, *arguments: Any, **options: Any) -> pl.DataFrame:
        if poisoned and (events["user_id"] == victim).any():
            raise ValueError(f"of {victim}")
        return real(events, *arguments, **options)

    monkeypatch.setattr(live_shop, "score_shard", score)
    _tell(shop, [victim, *others[:20]], UNTIL - timedelta(minutes=1))
    caplog.set_level(logging.INFO, "ebbtide.worker")
    done = rescore_touched(shop)
    assert (done.users, done.aside) == (21, {"failed": 1})
    assert rescore_touched(shop).users == 0, "the micro-batch is done"
    after = shop.scores.of_users("shop", list(before))
    assert after[victim] == before[victim]
    assert all(after[user] != before[user] for user in others[:20] if user in after)
    assert victim not in " ".join(record.getMessage() for record in caplog.records)
    assert rescore_everybody(shop).aside == {"failed": 1}
    poisoned = False
    _tell(shop, [victim], UNTIL)
    assert rescore_touched(shop).aside == {}
    assert shop.aside.count == 0


def _tell(shop: LiveShop, users: Sequence[str], at: datetime) -> None:
    fields = {"type": "order", "occurred_at": to_us(at), "value": 10.0}
    rows = [Incoming("shop", f"{user}-{to_us(at)}", user, {**fields, "user_id": user}) for user in users]
    shop.inbox.add(rows, to_us(UNTIL))
