"""What the service tells Prometheus: times, counts by reason, lags. No label ever holds anything of a person."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from ebbtide.events.live_event import LiveEvent, Refusal
from ebbtide.pipeline.rescoring import Rescored
from ebbtide.pipeline.set_aside import Cause
from ebbtide.pipeline.shadow import Rivalry
from ebbtide.serve.sending import Outcome
from ebbtide.store.answers import Answer
from ebbtide.store.outbox import Message

if TYPE_CHECKING:
    from ebbtide.serve.intake import Call
    from ebbtide.serve.stream import Lag

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LAGS = (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 600.0, 3600.0, 86_400.0)


class Metrics:
    """One registry a service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU seconds, open files
        self.requests = Histogram(
            "ebbtide_request_seconds",
            "time of a call",
            ("route", "method", "status"),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.events = Counter("ebbtide_events", "events that came in", ("result", "reason"), registry=self.registry)
        self.event_lag = Histogram(
            "ebbtide_event_lag_seconds", "from an event to its arrival", registry=self.registry, buckets=_LAGS
        )
        self.scoring = Histogram(
            "ebbtide_scoring_seconds", "time of scoring", ("way",), registry=self.registry, buckets=_SECONDS
        )
        self.scored = Counter("ebbtide_scored_users", "users that were scored", ("way",), registry=self.registry)
        self.aside = Counter(
            "ebbtide_users_set_aside", "users who could not be scored", ("way", "reason"), registry=self.registry
        )
        self.waiting = Gauge("ebbtide_events_waiting", "events that wait to be stored", registry=self.registry)
        self.unscored = Gauge(
            "ebbtide_events_unscored", "stored events that no score knows yet", registry=self.registry
        )
        self.unlanded = Gauge(
            "ebbtide_events_unlanded", "stored events that are not in the lake yet", registry=self.registry
        )
        self.freshness = Gauge(
            "ebbtide_scores_age_seconds", "age of the last full run (scheduler)", registry=self.registry
        )
        self.shadow = Gauge(
            "ebbtide_shadow", "the challenger beside the model in service", ("figure",), registry=self.registry
        )
        self.failures = Counter(
            "ebbtide_loop_failures", "runs of a loop that failed", ("loop", "code"), registry=self.registry
        )
        self._lags: dict[str, Lag | None] = {}
        self.lag_messages = Gauge(
            "ebbtide_stream_lag_messages",
            "messages in the broker that are not stored yet; NaN while it does not answer",
            registry=self.registry,
        )
        self.lag_seconds = Gauge(
            "ebbtide_stream_lag_seconds",
            "from an event to its arrival by the broker, median of the newest micro-batch",
            registry=self.registry,
        )
        self.unscored_seconds = Gauge(
            "ebbtide_stream_unscored_seconds",
            "how long the oldest stored event has waited for a score",
            registry=self.registry,
        )
        self.deliveries = Counter(
            "ebbtide_deliveries", "alerts that were sent", ("channel", "result"), registry=self.registry
        )

    def stored(self, call: Call, answer: object) -> None:
        """Count what became of a call's events, and how old they were; repeats among accepted ones are not told apart."""
        reasons = Tally(e.reason.value for e in call.events if isinstance(e, Refusal))
        for reason, count in reasons.items():
            self.events.labels("rejected", reason).inc(count)
        told = answer.counts if isinstance(answer, Answer) else {}
        for result in ("accepted", "duplicate"):
            if told.get(result):
                self.events.labels(result, "").inc(told[result])
        for event in call.events if told.get("accepted") else ():
            if isinstance(event, LiveEvent):
                self.event_lag.observe(max(0.0, (call.came_us - event.occurred_us) / 1e6))

    def rescored(self, way: str, done: Rescored, seconds: float) -> None:
        """Count a run of re-scoring. `way`: touched, everybody."""
        self._count(way, done.users, done.aside, seconds)

    def answered(self, way: str, users: int, aside: Mapping[str, Cause], seconds: float) -> None:
        """Count a question about users, computed now. `way`: one, many; `aside`: who of them could not be scored."""
        self._count(way, users - len(aside), Tally(cause.value for cause in aside.values()), seconds)

    def _count(self, way: str, scored: int, aside: Mapping[str, int], seconds: float) -> None:
        self.scoring.labels(way).observe(seconds)
        self.scored.labels(way).inc(scored)
        for reason, count in aside.items():
            self.aside.labels(way, reason).inc(count)

    def challenged(self, found: Rivalry) -> None:
        """Show how the challenger compares; see `pipeline.shadow.Rivalry` for the figures."""
        for figure, value in found.to_json().items():
            if isinstance(value, int | float):
                self.shadow.labels(figure).set(value)

    def delivered(self, message: Message, outcome: Outcome) -> None:
        """Count a sending of an alert."""
        self.deliveries.labels(message.channel, "arrived" if outcome.has_arrived else "failed").inc()

    def streamed(self, lags: Sequence[float]) -> None:
        """Count accepted events that came by a broker; `lags`: seconds from each to its arrival."""
        self.events.labels("accepted", "").inc(len(lags))
        for lag in lags:
            self.event_lag.observe(lag)

    def lagged(self, shop_id: str, lag: Lag | None) -> None:
        """How far the stream of a shop is behind; the figures are the sum, or the worst, of all shops."""
        self._lags[shop_id] = lag
        known = [told for told in self._lags.values() if told is not None]
        waiting = [told.messages for told in known if told.messages is not None]
        self.lag_messages.set(sum(waiting) if len(waiting) == len(self._lags) else math.nan)
        self.lag_seconds.set(max((told.occurred_seconds or 0.0 for told in known), default=math.nan))
        self.unscored_seconds.set(max((told.unscored_seconds for told in known), default=math.nan))

    def text(self) -> bytes:
        """All figures in Prometheus' text form."""
        return generate_latest(self.registry)
