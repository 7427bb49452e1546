"""How a challenger compares with the model in service."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "challenges",
        sa.Column("shop_id", sa.String(64), primary_key=True),
        sa.Column("serving", sa.String(256), primary_key=True),
        sa.Column("challenger", sa.String(256), primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
    )
