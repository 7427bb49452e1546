"""A customer may have several timers of one rule: one whose time is up stays until it was looked at."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "timers_next",
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("rule", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String(256), primary_key=True),
        sa.Column("since_us", sa.BigInteger, primary_key=True),
        sa.Column("due_us", sa.BigInteger, nullable=False),
    )
    op.execute("insert into timers_next select shop_id, rule, user_id, since_us, due_us from timers")
    op.drop_table("timers")
    op.rename_table("timers_next", "timers")
    op.create_index("ix_timers_due", "timers", ["shop_id", "due_us"])
