"""What suppliers found when they recomputed statements."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pocketnode.store.tables import Uint

revision = "r0006"
down_revision: str | None = "r0005"


def upgrade() -> None:
    op.create_table(
        "audits",
        sa.Column("party", sa.LargeBinary(20), nullable=False),
        sa.Column("pot", sa.LargeBinary(32), nullable=False),
        sa.Column("application", sa.LargeBinary(20), nullable=False),
        sa.Column("service", sa.LargeBinary(32), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("gateway", sa.LargeBinary(20), nullable=False),
        sa.Column("url", sa.String(300), nullable=False),
        sa.Column("served", Uint(16), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("relays", sa.BigInteger, nullable=False),
        sa.Column("stated_units", Uint(16), nullable=False),
        sa.Column("units", Uint(16), nullable=False),
        sa.Column("stated_quality", sa.BigInteger, nullable=False),
        sa.Column("quality", sa.BigInteger, nullable=False),
        sa.Column("note", sa.String(500), nullable=False),
        sa.PrimaryKeyConstraint("party", "pot", name="pk_audits"),
    )


def downgrade() -> None:
    op.drop_table("audits")
