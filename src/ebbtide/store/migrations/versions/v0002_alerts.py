"""Alerts with their notes, what rules remember, counts of days, timers, the outbox and how its destinations fare."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _alerts()
    _memory()
    _outbox()


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("alert_id", sa.String(64), primary_key=True),
        sa.Column("shop_id", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(256), nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("suppressed", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("expires_us", sa.BigInteger, nullable=False),
        sa.Column("changed_us", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("ix_alerts_newest", "alerts", ["shop_id", "at_us", "alert_id"])
    op.create_index("ix_alerts_state", "alerts", ["shop_id", "state", "at_us", "alert_id"])
    op.create_index("ix_alerts_user", "alerts", ["shop_id", "user_id", "at_us"])
    op.create_table(
        "alert_notes",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
        sa.Column("alert_id", sa.String(64), nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alert_notes_alert", "alert_notes", ["alert_id", "seq"])


def _memory() -> None:
    op.create_table(
        "alert_memory",
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String(256), primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_table(
        "alert_counts",
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("rule", sa.String(64), primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_table(
        "timers",
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("rule", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String(256), primary_key=True),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Column("due_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_timers_due", "timers", ["shop_id", "due_us"])


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
        sa.Column("shop_id", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(64), nullable=False),
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_us", sa.BigInteger, nullable=False),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(256), nullable=False),
        sa.Column("consent", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("message_id", "channel", name="uq_outbox_message_id_channel"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_due", "outbox", ["shop_id", "channel", "state", "due_us"])
    op.create_table(
        "destinations",
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("channel", sa.String(64), primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("closed_until_us", sa.BigInteger, nullable=False),
    )
