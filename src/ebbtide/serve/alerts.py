"""The alerts of one shop in service: what follows from new scores, timers that are due, tidying, and delivery."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr
from sqlalchemy import Connection

from ebbtide.pipeline.alerting import Alerting
from ebbtide.pipeline.alerts import tidy_alerts
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import Change
from ebbtide.serve.channels import make_senders
from ebbtide.serve.delivery import Delivery, Told, ignore_outcome

_DUE_AT_ONCE = 1000


class AlertWork:
    """Rounds for the loops of the worker, `react` for re-scoring, and a delivery to start and stop.

    `secrets`: by name of environment variable, as `read_secrets(secret_names(config))` gives them.
    Raises ConfigError for a rule or a secret that cannot be.
    """

    def __init__(self, shop: LiveShop, secrets: Mapping[str, SecretStr], *, told: Told = ignore_outcome) -> None:
        self._shop, self._alerting = shop, Alerting(shop.config, shop.root)
        senders, withdrawn = make_senders(shop.config, secrets), self._alerting.withdrawn
        self._delivery = Delivery(
            shop.config, shop.database, shop.shop_id, senders, withdrawn=withdrawn, told=told, clock=shop.now
        )
        self._is_seeded = False

    def react(self, connection: Connection, change: Change) -> None:
        """What follows from new scores, within their transaction."""
        self._alerting.react(connection, change)

    def fire(self) -> bool:
        """Look at timers that are due; says whether there may be more. The first time, set those of known histories."""
        if not self._is_seeded:
            self._alerting.seed_timers(self._shop)
            self._is_seeded = True
        raised = self._alerting.fire_due(self._shop, limit=_DUE_AT_ONCE)
        if raised.opened:
            self._delivery.wake()
        return raised.opened + raised.suppressed > 0

    def tidy(self) -> bool:
        """Expire and forget; never says that there is more."""
        tidy_alerts(self._shop.config, self._shop.database, self._shop.shop_id, now=self._shop.now())
        return False

    def wake(self) -> None:
        """Send what was raised now instead of a tenth of a second later."""
        self._delivery.wake()

    def start(self) -> None:
        """Begin to deliver."""
        self._delivery.start()

    def stop(self) -> None:
        """Let what is under way end, then stop."""
        self._delivery.stop()
