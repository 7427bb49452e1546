"""`message`: facts from the log, kinds that fit, nothing of the customer's own words."""

from __future__ import annotations

import shutil
from datetime import timedelta

import polars as pl
import pytest

from ebbtide.core.errors import ConfigError, InputError
from ebbtide.core.outreach_settings import MessageConfig, RecommendConfig
from ebbtide.pipeline.message import compose
from ebbtide.pipeline.message_facts import days_late
from ebbtide.pipeline.recommend import recommend

from .conftest import UNTIL, SmallShop


@pytest.fixture(scope="module")
def shop(small_shop: SmallShop, tmp_path_factory: pytest.TempPathFactory) -> SmallShop:
    root = tmp_path_factory.mktemp("message") / "shop"
    shutil.copytree(small_shop.root, root)
    own = [MessageConfig(kind="told", body="{days_silent} {orders} {last_item} {category|-} {item} {reason}")]
    return SmallShop(
        root, small_shop.config.model_copy(update={"recommend": RecommendConfig(lessons=0), "message": own})
    )


@pytest.fixture(scope="module")
def user(shop: SmallShop) -> str:
    """Somebody with at least three orders known at UNTIL."""
    events = pl.concat([shop.lake.read_bucket(b) for b in shop.lake.buckets()])
    orders = events.filter(pl.col("type") == "order", pl.col("ingested_at") <= UNTIL, pl.col("occurred_at") <= UNTIL)
    counts = orders.group_by("user_id").agg(pl.col("order_id").n_unique()).sort("user_id")
    return str(counts.filter(pl.col("order_id") >= 3)["user_id"][0])


def test_facts_are_those_of_the_log(shop: SmallShop, user: str) -> None:
    events = shop.lake.read_user(user).filter(pl.col("occurred_at") <= UNTIL, pl.col("ingested_at") <= UNTIL)
    orders = events.filter(pl.col("type") == "order").sort("occurred_at")
    ((_, message),) = compose(shop.config, shop.root, [user], kind="told", as_of=UNTIL).messages
    silent, count, last = message.body.split()[:3]
    assert int(silent) == (UNTIL - orders["occurred_at"][-1]).days
    assert (int(count), last) == (orders["order_id"].n_unique(), orders["item_id"].drop_nulls()[-1])
    shown = recommend(shop.config, shop.root, user, as_of=UNTIL).frame
    assert f"{shown['item_id'][0]} {shown['en'][0]}" in message.body


@pytest.mark.parametrize("kind", ["win_back", "recommendation"])
def test_messages_are_written_in_both_languages(shop: SmallShop, user: str, kind: str) -> None:
    told = {
        language: compose(shop.config, shop.root, [user], kind=kind, language=language, as_of=UNTIL).messages[0][1]  # type: ignore[arg-type]
        for language in ("en", "zh")
    }
    assert shop.config.shop.name in told["en"].body
    assert "您" in told["zh"].body


def test_a_coupon_needs_an_offer_from_the_shop(shop: SmallShop, user: str) -> None:
    with pytest.raises(InputError, match=r"\{offer\}, \{until\}"):
        compose(shop.config, shop.root, [user], kind="coupon", as_of=UNTIL)
    given = {"offer": "5 EUR off", "until": "2024-09-01"}
    found = compose(shop.config, shop.root, [user], kind="coupon", given=given, as_of=UNTIL)
    assert "5 EUR off" in found.messages[0][1].subject
    with pytest.raises(InputError, match="`orders` cannot be given"):
        compose(shop.config, shop.root, [user], given={"orders": "99"})


def test_many_get_what_each_would_get_alone(shop: SmallShop) -> None:
    events = shop.lake.read_bucket(shop.lake.buckets()[0])
    users = events.filter(pl.col("ingested_at") <= UNTIL)["user_id"].unique().sort().to_list()[:22]
    many = compose(shop.config, shop.root, users, kind="recommendation", as_of=UNTIL).messages
    alone = compose(shop.config, shop.root, users[:2], kind="recommendation", as_of=UNTIL).messages
    assert many[:2] == alone
    assert [u for u, _ in many] == users


def test_an_unknown_user_and_a_missing_endpoint_are_refused(shop: SmallShop, user: str) -> None:
    with pytest.raises(InputError, match="no event of this user"):
        compose(shop.config, shop.root, ["nobody"])
    with pytest.raises(ConfigError, match="base_url"):
        compose(shop.config, shop.root, [user], draft=True)


def test_only_a_late_delivery_of_the_last_two_weeks_asks_for_an_apology() -> None:
    def late(properties: str | None, age: float) -> int:
        frame = pl.DataFrame({"occurred_at": [UNTIL - timedelta(days=age)], "properties": [properties]})
        return days_late(frame, UNTIL)

    assert late('{"days_late": 3}', 2) == 3
    assert [late('{"days_late": 3}', 15), late('{"days_late": -1}', 1), late(None, 1), late("[1]", 1)] == [0] * 4
