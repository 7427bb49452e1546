"""The inbox by shop and number: whoever follows it reads what is new and nothing else."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index("ix_inbox_seq", "inbox", ["shop_id", "seq"])
