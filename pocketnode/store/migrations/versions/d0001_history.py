"""What the dashboard's charts show of the last weeks. A branch of its own, for gateways and suppliers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "d0001"
down_revision: str | None = None
branch_labels = ("dashboard",)


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("start_s", sa.BigInteger, nullable=False),
        sa.Column("service", sa.String(32), nullable=False),
        sa.Column("peer", sa.String(64), nullable=False),
        sa.Column("relays", sa.BigInteger, nullable=False),
        sa.Column("good", sa.BigInteger, nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.Float, nullable=False),
        sa.Column("p50_ms", sa.Float),
        sa.Column("p95_ms", sa.Float),
        sa.Column("p99_ms", sa.Float),
        sa.PrimaryKeyConstraint("start_s", "service", "peer", name="pk_history"),
    )


def downgrade() -> None:
    op.drop_table("history")
