"""The Receipt of each lane that is worth most."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pocketnode.store.tables import Uint

revision = "r0001"
down_revision: str | None = None


def upgrade() -> None:
    op.create_table(
        "receipts",
        sa.Column("pot", sa.LargeBinary(32), nullable=False),
        sa.Column("supplier", sa.LargeBinary(20), nullable=False),
        sa.Column("lane", sa.LargeBinary(32), nullable=False),
        sa.Column("session", sa.LargeBinary(32), nullable=False),
        sa.Column("gateway", sa.LargeBinary(20), nullable=False),
        sa.Column("application", sa.LargeBinary(20), nullable=False),
        sa.Column("service", sa.LargeBinary(32), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("seq", Uint(8), nullable=False),
        sa.Column("total", Uint(16), nullable=False),
        sa.Column("hold", Uint(16), nullable=False),
        sa.Column("request", sa.LargeBinary(32), nullable=False),
        sa.Column("signature", sa.LargeBinary(65), nullable=False),
        sa.Column("worth", Uint(17), nullable=False),
        sa.Column("answered", sa.LargeBinary(32)),
        sa.Column("payload", sa.LargeBinary(32)),
        sa.Column("units", Uint(16)),
        sa.Column("first_byte_ms", sa.BigInteger),
        sa.Column("done_ms", sa.BigInteger),
        sa.Column("backend", sa.LargeBinary(32)),
        sa.Column("response_signature", sa.LargeBinary(65)),
        sa.PrimaryKeyConstraint("pot", "supplier", "lane", name="pk_receipts"),
    )
    op.create_index("ix_receipts_session_gateway", "receipts", ["session", "gateway"])


def downgrade() -> None:
    op.drop_table("receipts")
