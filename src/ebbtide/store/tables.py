"""The tables of the operational store. Every row that belongs to a shop carries `shop_id`; times are UTC microseconds.

A change here comes with a migration in `migrations/versions`; a test holds the two equal.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s"}
)
_BIG = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only columns that are called INTEGER

inbox = Table(
    "inbox",
    metadata,
    Column("seq", _BIG, primary_key=True, autoincrement=True),
    Column("shop_id", String(64), nullable=False),
    Column("event_key", LargeBinary(16), nullable=False),
    Column("user_id", String(256), nullable=False),
    Column("ingested_us", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_inbox_order", "shop_id", "seq", "user_id", "event_key"),
    sqlite_autoincrement=True,
)
"""Accepted events in the order of their commits, until they have been in the lake for a while. `event_key`: hash of shop
and event_id; `body`: canonical fields as JSON. Whatever is written is written at the end: nothing here is in any other order."""

cursors = Table(
    "cursors",
    metadata,
    Column("shop_id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
"""How far a reader of the inbox has come."""

scores = Table(
    "scores",
    metadata,
    Column("shop_id", String(64), primary_key=True),
    Column("user_id", String(256), primary_key=True),
    Column("as_of_us", BigInteger, nullable=False),
    Column("churn_probability", Float, nullable=False),
    Column("percentile", Float),
    Column("band", String(16), nullable=False),
    Column("expected_orders", Float),
    Column("value_at_risk", Float),
    Column("reasons", Text),
    Column("model", String(128), nullable=False),
    Index("ix_scores_risk", "shop_id", "churn_probability", "user_id"),
)
"""The newest score of each user; `reasons`: JSON list, null where nobody asked yet."""

keys = Table(
    "keys",
    metadata,
    Column("key_id", String(32), primary_key=True),
    Column("shop_id", String(64), nullable=False),
    Column("name", String(256), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked_us", BigInteger),
    Index("ix_keys_shop", "shop_id"),
)
"""API keys. `key_id` is the public part; of the secret only a hash is kept."""

audit = Table(
    "audit",
    metadata,
    Column("seq", _BIG, primary_key=True, autoincrement=True),
    Column("shop_id", String(64), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Index("ix_audit_shop", "shop_id", "seq"),
    sqlite_autoincrement=True,
)
"""Who read or changed what. `subject`: keyed hash of a user id, never the id; `digest` chains each entry to the one before."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("shop_id", String(64), primary_key=True),
    Column("key", String(256), primary_key=True),
    Column("request", LargeBinary(32), nullable=False),
    Column("status", Integer, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
"""Answers to calls that carried an Idempotency-Key, with the hash of what was asked."""

shops = Table(
    "shops",
    metadata,
    Column("shop_id", String(64), primary_key=True),
    Column("salt", LargeBinary(32), nullable=False),
    Column("clock_us", BigInteger, nullable=False),
)
"""Each shop's secret for keyed hashes, and the latest moment that was given to an event: time never runs back."""

alerts = Table(
    "alerts",
    metadata,
    Column("alert_id", String(64), primary_key=True),
    Column("shop_id", String(64), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("user_id", String(256), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("suppressed", String(16), nullable=False),
    Column("owner", String(256), nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Index("ix_alerts_newest", "shop_id", "at_us", "alert_id"),
    Index("ix_alerts_state", "shop_id", "state", "at_us", "alert_id"),
    Index("ix_alerts_user", "shop_id", "user_id", "at_us"),
)
"""Alerts, suppressed ones too. `suppressed`: why it was kept back, empty if it was not; `detail`: JSON of what was seen."""

alert_notes = Table(
    "alert_notes",
    metadata,
    Column("seq", _BIG, primary_key=True, autoincrement=True),
    Column("alert_id", String(64), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("note", Text, nullable=False),
    Index("ix_alert_notes_alert", "alert_id", "seq"),
    sqlite_autoincrement=True,
)
"""What became of an alert: each change of its state, by whom (id of a key, or `cli`), with a note."""

alert_memory = Table(
    "alert_memory",
    metadata,
    Column("shop_id", String(64), primary_key=True),
    Column("user_id", String(256), primary_key=True),
    Column("state", Text, nullable=False),
)
"""What the rules must remember of a user, as JSON; no row where there is nothing."""

alert_counts = Table(
    "alert_counts",
    metadata,
    Column("shop_id", String(64), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("rule", String(64), primary_key=True),
    Column("count", Integer, nullable=False),
)
"""Alerts raised in a day of the shop (days since 1970), by rule; `rule` is empty for all together."""

timers = Table(
    "timers",
    metadata,
    Column("shop_id", String(64), primary_key=True),
    Column("rule", String(64), primary_key=True),
    Column("user_id", String(256), primary_key=True),
    Column("since_us", BigInteger, primary_key=True),
    Column("due_us", BigInteger, nullable=False),
    Index("ix_timers_due", "shop_id", "due_us"),
)
"""Users of whom a rule must look again at `due_us`, because they did something at `since_us`."""

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _BIG, primary_key=True, autoincrement=True),
    Column("shop_id", String(64), nullable=False),
    Column("channel", String(64), nullable=False),
    Column("message_id", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("user_id", String(256), nullable=False),
    Column("consent", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("message_id", "channel"),
    Index("ix_outbox_due", "shop_id", "channel", "state", "due_us"),
    sqlite_autoincrement=True,
)
"""Messages on their way out, stored by the transaction that raised the alert. `state`: waiting, sent, dead, dropped;
`due_us`: not before then, while waiting; `since_us`: when trying began; `reason`: of the last failure."""

destinations = Table(
    "destinations",
    metadata,
    Column("shop_id", String(64), primary_key=True),
    Column("channel", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("closed_until_us", BigInteger, nullable=False),
)
"""How a channel fares: failures in a row, and until when nothing is sent to it."""

challenges = Table(
    "challenges",
    metadata,
    Column("shop_id", String(64), primary_key=True),
    Column("serving", String(256), primary_key=True),
    Column("challenger", String(256), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("figures", Text, nullable=False),
)
"""How a challenger compares with the model in service, as JSON of counts and means."""
