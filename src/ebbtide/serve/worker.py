"""The loops behind the service: score touched users, land events, score everybody, take up a new model.

Each runs in a thread of its own at its own pace. One that fails is told and tried again; the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from ebbtide.core.errors import EbbtideError, MissingBundleError
from ebbtide.core.windows import parse_duration, to_us
from ebbtide.pipeline.landing import land
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import CURSOR, React, ignore, rescore_everybody, rescore_touched
from ebbtide.serve.service import Service
from ebbtide.store.inbox import Cursors

log = logging.getLogger("ebbtide.worker")
_WATCH = timedelta(seconds=2)


class Loop:
    """Calls `work` again and again: at once while it says that there is more, else after `pause`."""

    def __init__(self, name: str, work: Callable[[], bool], pause: timedelta, service: Service) -> None:
        self.name, self._work, self._pause, self._service = name, work, pause, service
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ebbtide-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let the present round end, then stop."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        wait = self._pause.total_seconds()
        while not self._stop.is_set():
            try:
                more = self._work()
            except EbbtideError as fault:
                more = False
                self._service.metrics.failures.labels(self.name, fault.code).inc()
                log.warning("%s: %s", self.name, fault)
            if not more:
                self._stop.wait(wait)


def make_loops(service: Service, *, react: React = ignore) -> list[Loop]:
    """The loops of all shops, not started yet. `react` decides what follows from new scores."""
    settings = service.settings
    every = {n: parse_duration(getattr(settings, n)) for n in ("rescore_every", "land_every", "rescore_all_every")}
    loops: list[Loop] = []
    for shop in service.shops.values():
        rounds: Sequence[tuple[str, Callable[[], bool], timedelta]] = (
            ("model", _watching(shop), _WATCH),
            ("touched", _touched(service, shop, react), every["rescore_every"]),
            ("landing", _landing(service, shop), every["land_every"]),
            ("everybody", _everybody(service, shop, react), every["rescore_all_every"]),
        )
        loops += [Loop(name, work, pause, service) for name, work, pause in rounds]
    return loops


def _watching(shop: LiveShop) -> Callable[[], bool]:
    def work() -> bool:
        try:
            if shop.serve_promoted():
                log.info("%s is in service", shop.serving)
        except MissingBundleError:
            if shop.serving is not None:
                raise
        return False

    return work


def _touched(service: Service, shop: LiveShop, react: React) -> Callable[[], bool]:
    def work() -> bool:
        if shop.serving is None:
            return False
        started = time.perf_counter()
        done = rescore_touched(shop, react=react)
        service.metrics.unscored.set(
            shop.inbox.count(shop.shop_id, Cursors(shop.database).position(shop.shop_id, CURSOR))
        )
        if done.users:
            service.metrics.scoring.labels("touched").observe(time.perf_counter() - started)
            service.metrics.scored.labels("touched").inc(done.users)
        return done.users > 0

    return work


def _landing(service: Service, shop: LiveShop) -> Callable[[], bool]:
    keep_us = parse_duration(service.settings.keep_events) // timedelta(microseconds=1)

    def work() -> bool:
        done = land(shop.inbox, shop.shop_id, shop.root, shop.config.lake)
        shop.histories.refresh()
        scored = Cursors(shop.database).position(shop.shop_id, CURSOR)
        shop.inbox.prune(shop.shop_id, up_to=min(done.up_to, scored), before_us=to_us(shop.now()) - keep_us)
        service.metrics.unlanded.set(shop.inbox.count(shop.shop_id, done.up_to))
        return done.rows + done.repeated > 0 and shop.inbox.count(shop.shop_id, done.up_to) > 100_000

    return work


def _everybody(service: Service, shop: LiveShop, react: React) -> Callable[[], bool]:
    def work() -> bool:
        if shop.serving is None:
            return False
        started = time.perf_counter()
        done = rescore_everybody(shop, react=react)
        service.metrics.scoring.labels("everybody").observe(time.perf_counter() - started)
        service.metrics.scored.labels("everybody").inc(done.users)
        return False

    return work
