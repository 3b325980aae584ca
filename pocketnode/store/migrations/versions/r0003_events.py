"""The chain's events as followed, and the blocks they were read from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision: str | None = "r0002"


def upgrade() -> None:
    op.create_table(
        "followed_blocks",
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_followed_blocks"),
    )
    op.create_table(
        "events",
        sa.Column("block", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("transaction", sa.LargeBinary(32), nullable=False),
        sa.Column("address", sa.LargeBinary(20), nullable=False),
        sa.Column("topic", sa.LargeBinary(32), nullable=False),
        sa.Column("subject", sa.LargeBinary(32)),
        sa.Column("topics", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("block", "position", name="pk_events"),
    )
    op.create_index("ix_events_topic_subject", "events", ["topic", "subject"])


def downgrade() -> None:
    op.drop_table("events")
    op.drop_table("followed_blocks")
