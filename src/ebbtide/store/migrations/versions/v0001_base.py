"""The inbox, cursors, scores, keys, audit, answers by idempotency key, shops."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "inbox",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
        sa.Column("shop_id", sa.String(64), nullable=False),
        sa.Column("event_key", sa.LargeBinary(16), nullable=False),
        sa.Column("user_id", sa.String(256), nullable=False),
        sa.Column("ingested_us", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("event_key", name="uq_inbox_event_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_inbox_user", "inbox", ["shop_id", "user_id", "seq"])
    op.create_table(
        "cursors",
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "scores",
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String(256), primary_key=True),
        sa.Column("as_of_us", sa.BigInteger, nullable=False),
        sa.Column("churn_probability", sa.Float, nullable=False),
        sa.Column("percentile", sa.Float),
        sa.Column("band", sa.String(16), nullable=False),
        sa.Column("expected_orders", sa.Float),
        sa.Column("value_at_risk", sa.Float),
        sa.Column("reasons", sa.Text),
        sa.Column("model", sa.String(128), nullable=False),
    )
    op.create_index("ix_scores_risk", "scores", ["shop_id", "churn_probability", "user_id"])
    op.create_table(
        "keys",
        sa.Column("key_id", sa.String(32), primary_key=True),
        sa.Column("shop_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("expires_us", sa.BigInteger),
        sa.Column("revoked_us", sa.BigInteger),
    )
    op.create_index("ix_keys_shop", "keys", ["shop_id"])
    op.create_table(
        "audit",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=True),
        sa.Column("shop_id", sa.String(64), nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_shop", "audit", ["shop_id", "seq"])
    op.create_table(
        "idempotency",
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(256), primary_key=True),
        sa.Column("request", sa.LargeBinary(32), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "shops",
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("salt", sa.LargeBinary(32), nullable=False),
        sa.Column("clock_us", sa.BigInteger, nullable=False),
    )
