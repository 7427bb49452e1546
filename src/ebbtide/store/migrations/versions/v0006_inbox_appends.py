"""The inbox in one order only, that of its numbers: what is written is written at its end."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_ALL = "seq, shop_id, event_key, user_id, ingested_us, body"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild()
    else:
        op.drop_index("ix_inbox_user", "inbox")
        op.drop_index("ix_inbox_seq", "inbox")
        op.drop_constraint("uq_inbox_event_key", "inbox")
    op.create_index("ix_inbox_order", "inbox", ["shop_id", "seq", "user_id", "event_key"])


def _rebuild() -> None:
    """SQLite drops a constraint only with its table. Numbers go on where they were."""
    op.create_table(
        "inbox_next",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("shop_id", sa.String(64), nullable=False),
        sa.Column("event_key", sa.LargeBinary(16), nullable=False),
        sa.Column("user_id", sa.String(256), nullable=False),
        sa.Column("ingested_us", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.execute(f"insert into inbox_next ({_ALL}) select {_ALL} from inbox order by seq")
    op.execute("delete from sqlite_sequence where name = 'inbox_next'")
    op.execute("insert into sqlite_sequence select 'inbox_next', seq from sqlite_sequence where name = 'inbox'")
    op.drop_table("inbox")
    op.rename_table("inbox_next", "inbox")
