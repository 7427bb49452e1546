"""The service: the shops that it serves and all that its routes and loops share. Made once, by the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from ebbtide.core.language import Text
from ebbtide.core.serve_settings import ServeConfig
from ebbtide.core.windows import to_us
from ebbtide.events.live_event import EventRules
from ebbtide.events.validate import latest_us
from ebbtide.pipeline.live_shop import Clock, LiveShop, system_clock
from ebbtide.serve.access import Caller, Gate
from ebbtide.serve.access_log import AccessLog
from ebbtide.serve.fuse import Fuse
from ebbtide.serve.intake import Intake
from ebbtide.serve.metrics import Metrics
from ebbtide.serve.problems import ProblemError
from ebbtide.serve.tokens import Tokens
from ebbtide.serve.tracing import Tracer, make_tracer
from ebbtide.serve.trail import Trail
from ebbtide.store.database import Database
from ebbtide.store.keeper import Keeper
from ebbtide.store.keys import Keys


@dataclass(frozen=True)
class Service:
    """Everything that is shared. `shops`: by shop id; a caller sees the one of its key only."""

    settings: ServeConfig
    database: Database
    shops: Mapping[str, LiveShop]
    gate: Gate
    intake: Intake
    trail: Trail
    metrics: Metrics
    clock: Clock
    fuse: Fuse
    tracer: Tracer
    keeper: Keeper | None = None
    access_log: AccessLog | None = None

    def shop_of(self, caller: Caller) -> LiveShop:
        """The caller's shop. Raises ProblemError (404) if it is not served here."""
        if caller.shop_id not in self.shops:
            raise ProblemError("not_found", Text("this shop is not served here", "此处不提供该店铺的服务"))
        return self.shops[caller.shop_id]

    def rules_of(self, shop: LiveShop) -> EventRules:
        """What decides about an event that comes in now."""
        told = shop.config.shop
        return EventRules(latest_us(shop.now()), told.timezone, told.currency)

    def close(self) -> None:
        """Store what waits, then give everything back."""
        self.intake.close()
        self.trail.close()
        if self.keeper is not None:
            self.keeper.close()
        self.database.close()
        self.tracer.close()
        if self.access_log is not None:
            self.access_log.close()


def make_service(
    settings: ServeConfig, database: Database, shops: Mapping[str, LiveShop], *, clock: Clock = system_clock,
    access_log: BinaryIO | None = None,
) -> Service:  # fmt: skip
    """Put a service together over an open store and its shops. `access_log`: what gets a line a call."""

    def now_us() -> int:
        return to_us(clock())

    metrics, fuse = Metrics(), Fuse()
    tokens = Tokens(settings, list(shops)) if settings.oidc_issuer else None
    gate = Gate(Keys(database), now_us=now_us, rate=settings.rate, burst=settings.burst, tokens=tokens)
    intake = Intake(database, now_us=now_us, max_waiting=settings.max_waiting, told=metrics.stored)
    trail = Trail(database, now_us=now_us, fuse=fuse)
    keeper = Keeper(database, guard=fuse.guard) if database.is_file else None
    tracer = make_tracer(settings.trace_to)
    lines = AccessLog(access_log, fuse=fuse) if access_log else None
    return Service(settings, database, shops, gate, intake, trail, metrics, clock, fuse, tracer, keeper, lines)
