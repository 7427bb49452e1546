"""The composition root of the service: from a workspace to a running process with its loops."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from ebbtide.core.config import Config, load_config, read_secrets
from ebbtide.core.errors import InputError, MissingError
from ebbtide.core.serve_settings import ServeConfig
from ebbtide.core.windows import from_us, parse_duration
from ebbtide.pipeline.live_shop import Clock, LiveShop, system_clock
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.shared_histories import SharedHistories
from ebbtide.pipeline.steady_clock import SteadyClock
from ebbtide.serve.alerts import AlertWork
from ebbtide.serve.channels import secret_names
from ebbtide.serve.service import Service, make_service
from ebbtide.serve.stream import Stream
from ebbtide.serve.stream_thread import StreamThread
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox
from ebbtide.store.shops import Shops


def store_url(config: Config, root: Path) -> str:
    """Where the operational store is."""
    return Places(root).store_url(config)


@contextmanager
def open_service(
    config: Config, root: Path, *, clock: Clock = system_clock, access_log: BinaryIO | None = None
) -> Iterator[Service]:
    """The service of a workspace and of those that it names in `serve.also`; closed at the end, with everything stored
    that was accepted. `access_log`: what gets a line a call.

    Promoted models are in service from the first moment. A shop without one takes events and answers no questions.
    Raises InputError if two workspaces have one shop_id; MissingBundleError or MissingExtraError if the promoted model of
    the only shop cannot serve here. Among several shops that is logged, and the others are served.
    """
    places = [(config, root), *((load_config(root / p / "ebbtide.toml"), root / p) for p in config.serve.also)]
    names = [told.serve.shop_id for told, _ in places]
    if len(set(names)) < len(names):
        raise InputError(
            "each workspace that one service serves needs a shop_id of its own under [serve]",
            "同一服务的每个工作区都需要在 [serve] 中有各自的 shop_id",
        )
    database = Database.open(store_url(config, root))
    memory = config.serve.memory // len(places)
    told_before = max(Shops(database).clock_us(name) for name in names)
    clock = SteadyClock(clock, least=from_us(told_before))
    shops = {told.serve.shop_id: _shop(told, at, database, config.serve, memory, clock) for told, at in places}
    for shop in shops.values():
        _take_up(shop, only=len(shops) == 1)
    service = make_service(config.serve, database, shops, clock=clock, access_log=access_log)
    try:
        yield service
    finally:
        service.close()


def alert_works(service: Service) -> dict[str, AlertWork]:
    """What alerts need, of each shop that has rules. Raises ConfigError for a rule, channel or secret that cannot be."""
    with_rules = {name: shop for name, shop in service.shops.items() if shop.config.alert}
    return {
        name: AlertWork(shop, read_secrets(secret_names(shop.config)), told=service.metrics.delivered)
        for name, shop in with_rules.items()
    }


def stream_threads(service: Service) -> list[StreamThread]:
    """A reader of the broker, of each shop that names one. Raises ConfigError for a broker that cannot be."""
    found = []
    for shop in service.shops.values():
        if shop.config.stream.broker != "none":
            make = partial(
                Stream, shop.config.stream, shop.config.shop, shop.shop_id, service.database, clock=shop.now,
                stored=service.metrics.streamed,
            )  # fmt: skip
            found.append(StreamThread(make, told=partial(service.metrics.lagged, shop.shop_id)))
    return found


def _shop(config: Config, root: Path, database: Database, settings: ServeConfig, memory: int, clock: Clock) -> LiveShop:
    shop_id = config.serve.shop_id
    if not settings.redis:
        return LiveShop(config, root, shop_id, database, clock=clock, memory_bytes=memory)
    keep = parse_duration(settings.keep_events) / 4
    inbox, shops = Inbox(database), Shops(database)
    shared = SharedHistories(inbox, shop_id, root, config.lake, url=settings.redis, keep=keep, shops=shops)
    return LiveShop(config, root, shop_id, database, clock=clock, histories=shared)


def _take_up(shop: LiveShop, *, only: bool) -> None:
    """Put the promoted model of a shop in service."""
    try:
        if shop.has_promoted():
            shop.serve_promoted()
    except MissingError as fault:
        if only:
            raise
        logging.getLogger("ebbtide.serve").error("%s: %s", shop.shop_id, fault)


class JsonLines(logging.Formatter):
    """One JSON object a line. Messages hold no personal data, by the rules of who writes them."""

    _second, _written = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        told: dict[str, Any] = {
            "at": self._moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("request_id", "trace_id", "milliseconds"):
            if hasattr(record, name):
                told[name] = getattr(record, name)
        if record.exc_info and record.exc_info[0] is not None:
            told["exception"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])[-8:]
            told["where"] = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames]
        try:
            return orjson.dumps(told).decode()
        except orjson.JSONEncodeError:  # a file name, say, that is no text
            return json.dumps(told)

    def _moment(self, seconds: float) -> str:
        """UTC, with milliseconds; the second is written out once."""
        whole = int(seconds)
        if whole != self._second:
            self._second, self._written = whole, datetime.fromtimestamp(whole, UTC).isoformat()[:19]
        return f"{self._written}.{int(seconds % 1 * 1000):03d}+00:00"


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the service's logs to stderr as JSON lines; uvicorn's own access log, which shows addresses, stays off.

    Records are made without what these lines do not show (caller, thread, process), which costs more than writing them.
    """
    logging._srcfile = None  # documented as the way to say so
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("ebbtide", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
