"""What each pot waits for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pocketnode.store.tables import Uint

revision = "r0004"
down_revision: str | None = "r0003"


def upgrade() -> None:
    op.create_table(
        "pots",
        sa.Column("party", sa.LargeBinary(20), nullable=False),
        sa.Column("pot", sa.LargeBinary(32), nullable=False),
        sa.Column("application", sa.LargeBinary(20), nullable=False),
        sa.Column("service", sa.LargeBinary(32), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("session", sa.LargeBinary(32), nullable=False),
        sa.Column("gateway", sa.LargeBinary(20), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("earned", Uint(12), nullable=False),
        sa.Column("stated", Uint(12), nullable=False),
        sa.Column("claimed", Uint(12), nullable=False),
        sa.Column("paid", Uint(12), nullable=False),
        sa.Column("note", sa.String(500), nullable=False),
        sa.PrimaryKeyConstraint("party", "pot", name="pk_pots"),
    )
    op.create_index("ix_pots_party_stage", "pots", ["party", "stage"])


def downgrade() -> None:
    op.drop_table("pots")
