"""How histories are encoded for the model in service: whole buckets at once, or the events of one user."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ebbtide.features.columns import Needs
from ebbtide.features.encode import EncodedShard, encode
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline.score import needs_of


@dataclass(frozen=True)
class Encoder:
    """For one bundle; `needs`: what its features read."""

    bundle: Bundle
    needs: Needs

    @classmethod
    def of(cls, bundle: Bundle) -> Encoder:
        """For this bundle."""
        return cls(bundle, needs_of(bundle))

    def encode(self, events: pl.DataFrame) -> EncodedShard:
        """The events of some users."""
        return encode(events, self.bundle.definition, self.bundle.sentiment)

    def encode_bucket(self, events: pl.DataFrame) -> EncodedShard:
        """The events of many users, with everything ready of which one user is asked later. Texts take long to read: they
        are left until somebody is asked about."""
        found = self.encode(events)
        if "sentiment" not in self.needs.columns:
            found.columns(self.needs)
        return found

    def has_made(self, shard: EncodedShard) -> bool:
        """Whether it would encode these events in the same way."""
        return shard.sentiment is self.bundle.sentiment and shard.outcome == self.bundle.definition.outcome
