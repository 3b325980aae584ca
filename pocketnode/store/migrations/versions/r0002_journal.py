"""The transaction sender's journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pocketnode.store.tables import Uint

revision = "r0002"
down_revision: str | None = "r0001"


def upgrade() -> None:
    op.create_table(
        "intents",
        sa.Column("sender", sa.LargeBinary(20), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("target", sa.LargeBinary(20)),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("value", Uint(32), nullable=False),
        sa.Column("deadline", sa.BigInteger),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("nonce", sa.BigInteger),
        sa.Column("block", sa.BigInteger),
        sa.Column("block_hash", sa.LargeBinary(32)),
        sa.Column("mined", sa.LargeBinary(32)),
        sa.Column("error", sa.String(1000)),
        sa.PrimaryKeyConstraint("sender", "key", name="pk_intents"),
    )
    op.create_index("ix_intents_sender_stage", "intents", ["sender", "stage"])
    op.create_table(
        "attempts",
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("sender", sa.LargeBinary(20), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("nonce", sa.BigInteger, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("fee_wei", Uint(32), nullable=False),
        sa.Column("tip_wei", Uint(32), nullable=False),
        sa.Column("gas", sa.BigInteger, nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("cancels", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_attempts"),
    )
    op.create_index("ix_attempts_sender_key", "attempts", ["sender", "key"])


def downgrade() -> None:
    op.drop_table("attempts")
    op.drop_table("intents")
