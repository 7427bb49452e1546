"""The loops behind the service, and which process runs which.

    api         watches the promoted model and what has landed, so that its answers follow
    worker      scores touched users, and a sample of them with the challenger; looks at due timers, delivers alerts, reads the
                stream
    scheduler   lands events, scores everybody now and then, forgets what is old
    all         all of these

Any number of api and worker processes may run on one store. One scheduler is enough; a second one does no harm, for landing
is done by one writer at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from ebbtide.core.errors import MissingBundleError
from ebbtide.core.windows import from_us, parse_duration, to_us
from ebbtide.pipeline.landing import land
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import CURSOR, ignore, rescore_everybody, rescore_touched
from ebbtide.pipeline.shadow import Shadow
from ebbtide.serve.alerts import AlertWork
from ebbtide.serve.loop import Loop, Round
from ebbtide.serve.service import Service
from ebbtide.store.answers import Answers
from ebbtide.store.inbox import Cursors

log = logging.getLogger("ebbtide.worker")
LOOPS: Mapping[str, tuple[str, ...]] = {
    "api": ("model", "histories"),
    "worker": ("model", "histories", "touched", "shadow", "timers", "tidying"),
    "scheduler": ("model", "landing", "everybody", "pruning"),
    "all": ("model", "histories", "touched", "shadow", "timers", "tidying", "landing", "everybody", "pruning"),
}
"""Role -> names of its loops."""
_WATCH = timedelta(seconds=2)
_PRUNE_EVERY = timedelta(minutes=5)
_FIRE_EVERY, _TIDY_EVERY = timedelta(milliseconds=200), timedelta(minutes=1)
_ANSWERS_KEPT = timedelta(days=1)
_LEAST_KEPT = timedelta(minutes=2)
"""Landed events stay in the store at least so long: other processes read the lake every `_WATCH`."""

Work = Callable[[], bool]


def make_loops(service: Service, role: str = "all", *, alerts: Mapping[str, AlertWork] | None = None) -> list[Loop]:
    """The loops of a role for all shops, not started yet. `alerts`: of the shops that have rules, by shop id."""
    settings = service.settings
    rescore, landing = parse_duration(settings.rescore_every), parse_duration(settings.land_every)
    loops: list[Loop] = []
    for shop in service.shops.values():
        work = (alerts or {}).get(shop.shop_id)
        rounds = (
            Round("model", _watching(shop), _WATCH),
            Round("histories", _refreshing(shop), _WATCH),
            Round("touched", _touched(service, shop, work), rescore),
            Round("shadow", _shadowing(service, shop), _WATCH),
            *(
                (Round("timers", _firing(shop, work), _FIRE_EVERY), Round("tidying", work.tidy, _TIDY_EVERY))
                if work
                else ()
            ),
            Round("landing", _landing(service, shop), landing),
            Round("everybody", _everybody(service, shop, work), _WATCH),
            Round("pruning", _pruning(service, shop), _PRUNE_EVERY),
        )
        loops += [Loop(todo, service) for todo in rounds if todo.name in LOOPS[role]]
    return loops


def _watching(shop: LiveShop) -> Work:
    def work() -> bool:
        try:
            if shop.serve_promoted():
                log.info("%s is in service", shop.serving)
        except MissingBundleError:
            if shop.serving is not None or shop.has_promoted():
                raise
        return False

    return work


def _refreshing(shop: LiveShop) -> Work:
    def work() -> bool:
        shop.histories.refresh()
        return False

    return work


def _firing(shop: LiveShop, alerts: AlertWork) -> Work:
    return lambda: shop.serving is not None and alerts.fire()


def _touched(service: Service, shop: LiveShop, alerts: AlertWork | None) -> Work:
    react = alerts.react if alerts else ignore

    def work() -> bool:
        if shop.serving is None:
            return False
        started = time.perf_counter()
        done = rescore_touched(shop, react=react)
        service.metrics.unscored.set(
            shop.inbox.count(shop.shop_id, Cursors(shop.database).position(shop.shop_id, CURSOR))
        )
        if done.users:
            if alerts:
                alerts.wake()
            service.metrics.rescored("touched", done, time.perf_counter() - started)
        return done.users > 0

    return work


def _shadowing(service: Service, shop: LiveShop) -> Work:
    """Lets the challenger of `serve.shadow` score beside the model in service."""
    name, shadow = service.settings.shadow, None

    def work() -> bool:
        nonlocal shadow
        if not name:
            return False
        shadow = shadow or Shadow(shop, name)
        found = shadow.compare()
        if found is not None:
            service.metrics.challenged(found)
        return False

    return work


def _landing(service: Service, shop: LiveShop) -> Work:
    def work() -> bool:
        done = land(shop.inbox, shop.shop_id, shop.root, shop.config.lake)
        shop.histories.refresh()
        left = shop.inbox.count(shop.shop_id, done.up_to)
        service.metrics.unlanded.set(left)
        return done.rows + done.repeated > 0 and left > 100_000

    return work


def _everybody(service: Service, shop: LiveShop, alerts: AlertWork | None) -> Work:
    """Scores everybody when the last full run, whichever process did it, is old or was another model's."""
    every, react = parse_duration(service.settings.rescore_all_every), alerts.react if alerts else ignore
    model: str | None = None

    def work() -> bool:
        nonlocal model
        if shop.serving is None:
            return False
        age = shop.now() - from_us(shop.scored_everybody_us())
        known = model or (shop.serving if len(shop.served.cohort) else None)
        if known == shop.serving and age < every:
            service.metrics.freshness.set(age.total_seconds())
            return False
        started, serving = time.perf_counter(), shop.serving
        done = rescore_everybody(shop, react=react)
        model = serving
        service.metrics.freshness.set(0.0)
        service.metrics.rescored("everybody", done, time.perf_counter() - started)
        return False

    return work


def _pruning(service: Service, shop: LiveShop) -> Work:
    """Forgets landed and scored events, and answers to old calls."""
    keep = max(parse_duration(service.settings.keep_events), _LEAST_KEPT)

    def work() -> bool:
        now = shop.now()
        done = min(shop.histories.landed, Cursors(shop.database).position(shop.shop_id, CURSOR))
        forgotten = shop.inbox.prune(shop.shop_id, up_to=done, before_us=to_us(now - keep))
        Answers(shop.database).prune(to_us(now - _ANSWERS_KEPT))
        return forgotten > 0

    return work
