"""The rows of visits: arriving, looking around, filling a cart, ordering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.events.simulator.arrangement import arranged, lingering
from ebbtide.events.simulator.chance import Purpose, exponential, normal, poisson, uniform
from ebbtide.events.simulator.goods import asked_price, choose_goods
from ebbtide.events.simulator.life import Story
from ebbtide.events.simulator.rows import DAY_SECONDS, KIND, SECOND_US, Columns, stack
from ebbtide.events.simulator.settings import CAUSES, CHANNELS, DEVICES, NOTE_SORT, NOTE_STEP, QUERY_WORDS
from ebbtide.events.simulator.world import World

MOST_LOOKS, MOST_LINES = 8, 5
LAST_SECOND = 82_800
"""A visit starts by 23:00 and ends within its day."""
COUPON_OFF = 0.1
_STEPS = 128
_CHECKOUT, _LINES = 100, 110


def session_rows(story: Story, buyers: NDArray[np.void], world: World) -> Columns:
    """All rows inside visits, in no particular order; (user, visit, step) decides the time of each."""
    visits = story.visits
    looks = _looks(visits, buyers, world)
    around = _look_blocks(looks, buyers, world)
    if world.strengths[CAUSES.index("doubt")] > 0:
        around = arranged(around, looks, visits, buyers, world.character.grammar)
    blocks = [_starts(visits), *around, *_abandoned(looks, visits, buyers, world), *_order_blocks(story, buyers, world)]
    rows = stack(blocks)
    steps = np.concatenate([block["step"] for block in blocks])
    place = np.concatenate([block["place"] for block in blocks])
    linger = np.concatenate([block.get("linger", np.full(len(block["step"]), np.nan)) for block in blocks])
    _set_times(rows, place, steps, linger, visits, buyers, world)
    return rows


def _starts(visits: NDArray[np.void]) -> dict[str, Any]:
    return {
        "who": visits["who"],
        "place": np.arange(len(visits)),
        "step": np.zeros(len(visits), np.int64),
        "kind": KIND["session_start"],
    }


def _looks(visits: NDArray[np.void], buyers: NDArray[np.void], world: World) -> dict[str, Any]:
    """One entry a product looked at, with all that was chosen about it."""
    depth = buyers["depth"][visits["who"]] * (1.0 - 0.85 * visits["bored"])
    keys = buyers["key"][visits["who"]]
    count = 1 + poisson(keys, Purpose.LOOKS, visits["number"], depth, MOST_LOOKS - 1)
    place = np.repeat(np.arange(len(visits)), count)
    index = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    visit = visits[place]
    # Picks in visits and picks of order lines must not share a counter: visits take the negative numbers.
    counter = -(visit["number"].astype(np.int64) * MOST_LOOKS + index + 1)
    them = buyers[visit["who"]]
    category, item = choose_goods(them, world, visit["day"], counter, visit["bored"])
    back = _gone_back(visits, place, index, counter, keys[place], world.character.again)
    category, item = category[back], item[back]
    price, off = asked_price(them, world, visit["day"], category, item)
    return {
        "who": visit["who"], "place": place, "index": index, "counter": counter, "category": category,
        "goods": category * world.goods_per_category + item, "unit_price": price, "discount": off,
    }  # fmt: skip


def _gone_back(
    visits: NDArray[np.void], place: NDArray[np.int64], index: NDArray[np.int64], counter: NDArray[np.int64],
    keys: NDArray[np.uint64], share: float,
) -> NDArray[np.int64]:  # fmt: skip
    """The position of the look whose product each look is about: mostly its own.

    A share of the looks goes back, half of them to an earlier one of the visit, half to the first of the visit before.
    """
    own = np.arange(len(place))
    luck = uniform(keys, Purpose.AGAIN, counter)
    order = np.lexsort((visits["number"], visits["who"]))
    before = np.full(len(visits), -1)
    before[order[1:]] = np.where(np.diff(visits["who"][order]) == 0, order[:-1], -1)
    first = np.searchsorted(place, np.arange(len(visits)))
    yesterday = np.where(before[place] >= 0, first[before[place]], own)
    earlier = own - index + (index * (luck * 1000 % 1)).astype(np.int64)
    back = np.where((luck >= share) | (index == 0), own, np.where(luck < share / 2, earlier, yesterday))
    for _ in range(3):  # a look at most 7 steps on goes back to one that goes back; the first of a visit never does
        back = back[back]
    return back


def _look_blocks(looks: Mapping[str, Any], buyers: NDArray[np.void], world: World) -> list[dict[str, Any]]:
    """Searches and lists that led to a product, the view of it, and what followed the view."""
    keys, cheap = buyers["key"][looks["who"]], buyers["price_sensitivity"][looks["who"]]
    counter, category = looks["counter"], looks["category"]
    found, fate, shop = uniform(keys, Purpose.SEARCH, counter), _fate(looks, buyers), world.character
    listed = (found >= shop.searches) & (found < shop.searches + shop.lists)
    carted, removed = _carted(fate, world), _removed(looks, buyers, fate, world)
    paged = uniform(keys, Purpose.PAGE, counter) < shop.pages
    word, thrift = (uniform(keys, purpose, counter) for purpose in (Purpose.WORD, Purpose.SORT))
    words = len(QUERY_WORDS)
    query = category * words + np.where(thrift < 0.25 * cheap, 2 + 2 * word, words * word).astype(np.int64)
    note = np.where(thrift < 0.2 * cheap, NOTE_SORT, -1)
    goods = ("goods", "category", "unit_price", "discount")
    return [
        _block(looks, paged, 0, "page_view"),
        _block(looks, found < shop.searches, 1, "search", query=query),
        _block(looks, listed, 2, "list_view", note=note, category=category),
        _block(looks, slice(None), 3, "product_view", **{k: looks[k] for k in goods}),
        _block(looks, fate < shop.wishes, 4, "wishlist_add", **{k: looks[k] for k in goods}),
        _block(looks, carted, 5, "cart_add", quantity=1.0, **{k: looks[k] for k in goods}),
        _block(looks, removed, 6, "cart_remove", quantity=1.0, **{k: looks[k] for k in goods}),
    ]


def _block(looks: Mapping[str, Any], chosen: Any, step: int, kind: str, **columns: Any) -> dict[str, Any]:
    picked = {name: value[chosen] if isinstance(value, np.ndarray) else value for name, value in columns.items()}
    steps = 1 + looks["index"][chosen] * 8 + step
    return {"who": looks["who"][chosen], "place": looks["place"][chosen], "look": np.arange(len(looks["who"]))[chosen],
            "step": steps, "row": kind, "kind": KIND[kind], **picked}  # fmt: skip


def _fate(looks: Mapping[str, Any], buyers: NDArray[np.void]) -> NDArray[np.float64]:
    return uniform(buyers["key"][looks["who"]], Purpose.FATE_OF_LOOK, looks["counter"])


def _carted(fate: NDArray[np.float64], world: World) -> NDArray[np.bool_]:
    shop = world.character
    return (fate >= shop.wishes) & (fate < shop.wishes + shop.carts)


def _removed(
    looks: Mapping[str, Any], buyers: NDArray[np.void], fate: NDArray[np.float64], world: World
) -> NDArray[np.bool_]:
    luck = uniform(buyers["key"][looks["who"]], Purpose.REMOVED, looks["counter"])
    return _carted(fate, world) & (luck < world.character.removals)


def _abandoned(
    looks: Mapping[str, Any], visits: NDArray[np.void], buyers: NDArray[np.void], world: World
) -> list[dict[str, Any]]:
    """Some visits with a filled cart start the checkout and stop there."""
    fate = _fate(looks, buyers)
    filled = np.zeros(len(visits), np.bool_)
    filled[looks["place"][_carted(fate, world) & ~_removed(looks, buyers, fate, world)]] = True
    luck = uniform(buyers["key"][visits["who"]], Purpose.CHECKOUT, visits["number"])
    place = np.flatnonzero(filled & (visits["order"] == 0) & (luck < 0.35))
    return [_at_checkout(visits, place, 1, "checkout_start")]


def _at_checkout(
    visits: NDArray[np.void], place: NDArray[np.int64], step: int, kind: str, **more: Any
) -> dict[str, Any]:
    steps = np.full(len(place), _CHECKOUT + step)
    return {"who": visits["who"][place], "place": place, "step": steps, "kind": KIND[kind], **more}


def _order_blocks(story: Story, buyers: NDArray[np.void], world: World) -> list[dict[str, Any]]:
    """The ordering visits: each line viewed and put into the cart, the checkout, the lines of the order."""
    visits = story.visits
    place = np.flatnonzero(visits["order"] > 0)
    lines = order_lines(story.orders, buyers, world)
    of_order = {
        key: at
        for at, key in enumerate(zip(visits["who"][place].tolist(), visits["order"][place].tolist(), strict=True))
    }
    home = place[[of_order[key] for key in zip(lines["who"].tolist(), lines["order"].tolist(), strict=True)]]
    shown = {name: lines[name] for name in ("who", "goods", "category", "unit_price")} | {"place": home}
    base = 70 + 4 * lines["line"]
    return [
        {**shown, "discount": lines["off"], "kind": KIND["product_view"], "step": base},
        {**shown, "discount": lines["off"], "quantity": lines["quantity"], "kind": KIND["cart_add"], "step": base + 1},
        _at_checkout(visits, place, 0, "cart_view"),
        _at_checkout(visits, place, 1, "checkout_start"),
        _at_checkout(visits, place, 2, "checkout_step", note=NOTE_STEP),
        {**{k: v for k, v in lines.items() if k not in ("off", "line")}, "place": home,
         "kind": KIND["order"], "step": np.full(len(home), _LINES)},
    ]  # fmt: skip


def order_lines(orders: NDArray[np.void], buyers: NDArray[np.void], world: World) -> dict[str, Any]:
    """One to five lines of each order, in the order of `orders`: what was bought and for how much."""
    keys = buyers["key"][orders["who"]]
    count = 1 + poisson(keys, Purpose.LINES, orders["number"], np.full(len(orders), 0.8), MOST_LINES - 1)
    order = orders[np.repeat(np.arange(len(orders)), count)]
    line = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    counter, them = order["number"] * 8 + line, buyers[order["who"]]
    category, item = choose_goods(them, world, order["day"], counter, np.zeros(len(order)))
    price, off = asked_price(them, world, order["day"], category, item)
    quantity = 1.0 + (uniform(them["key"], Purpose.QUANTITY, counter) < 0.12)
    is_member = (order["day"] < them["loyalty_end"]) & (them["loyalty_discount"] > 0)
    member = np.where(is_member, len(world.campaign_days), -1)
    value = np.round(quantity * price * np.where(order["coupon"] >= 0, 1.0 - COUPON_OFF, 1.0), 2)
    return {
        "who": order["who"], "order": order["number"], "line": line, "category": category, "quantity": quantity,
        "goods": category * world.goods_per_category + item, "unit_price": price, "off": off, "value": value,
        "discount": np.round(quantity * (price + off) - value, 2), "coupon": np.where(order["coupon"] >= 0, order["coupon"], member),
    }  # fmt: skip


def _set_times(
    rows: Columns, place: NDArray[np.int64], steps: NDArray[np.int64], linger: NDArray[np.float64],
    visits: NDArray[np.void], buyers: NDArray[np.void], world: World,
) -> None:  # fmt: skip
    """Let each visit start at the user's usual hour and its steps follow after pauses; rows arrive within minutes.

    The lines of an order share one moment.
    """
    sequence = np.lexsort((steps, place))
    keys = buyers["key"][rows["who"]]
    number = visits["number"][place]
    counter = number.astype(np.int64) * _STEPS + steps
    pause = np.minimum(30 * exponential(keys, Purpose.PAUSE, counter), 240).astype(np.int64) + 1
    pause = lingering(pause, place, linger)
    later_line = np.zeros(len(place), np.bool_)
    later_line[1:] = (np.diff(place[sequence]) == 0) & (np.diff(steps[sequence]) == 0)
    ordered = np.where(later_line, 0, pause[sequence])
    total = np.cumsum(ordered)
    first = np.searchsorted(place[sequence], np.arange(len(visits)))
    since = np.empty(len(place), np.int64)
    since[sequence] = total - np.repeat((total - ordered)[first], np.diff(np.append(first, len(place))))
    them = buyers[visits["who"]]
    start, device, channel = _arrivals(visits, them)
    seconds = visits["day"].astype(np.int64)[place] * DAY_SECONDS + start[place] + since
    rows["us"] = world.start_us + seconds * SECOND_US
    rows["visit"], rows["device"], rows["channel"] = number, device[place], channel[place]
    offline = (rows["channel"] == CHANNELS.index("app")) & (uniform(keys, Purpose.OFFLINE, number) < 0.05)
    lag = exponential(keys, Purpose.LAG, counter) * 20
    rows["lag_us"] = (np.where(offline, 4 * 3600 * exponential(keys, Purpose.STRAY, number), lag) * SECOND_US).astype(
        np.int64
    )


def _arrivals(
    visits: NDArray[np.void], them: NDArray[np.void]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Second of the day, device and channel of each visit."""
    keys, number = np.ascontiguousarray(them["key"]), visits["number"]
    hour = them["hour"] + 2.5 * normal(keys, Purpose.HOUR, number)
    start = np.clip(hour * 3600, np.where(visits["email"], 10, 6) * 3600, LAST_SECOND).astype(np.int64)
    luck, way = uniform(keys, Purpose.DEVICE, number), uniform(keys, Purpose.CHANNEL, number)
    handheld = luck < them["mobile"]
    mobile, tablet, desktop = (DEVICES.index(name) for name in ("mobile", "tablet", "desktop"))
    device = np.select([handheld, luck < them["mobile"] + 0.1 * (1 - them["mobile"])], [mobile, tablet], desktop)
    web, app, email, ads = (CHANNELS.index(name) for name in ("web", "app", "email", "ads"))
    channel = np.select([visits["email"], handheld & (way < them["app"]), way > 0.88], [email, app, ads], web)
    return start, device, channel
