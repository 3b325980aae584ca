"""What an explorer made of a deployment's logs. A branch of its own, for whoever shows an explorer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "x0001"
down_revision: str | None = None
branch_labels = ("explorer",)


def upgrade() -> None:
    op.create_table(
        "explored",
        sa.Column("id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("deployment", sa.LargeBinary(20), nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_explored"),
    )
    op.create_table(
        "explored_lines",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name="pk_explored_lines"),
    )
    op.create_table(
        "explored_pots",
        sa.Column("id", sa.LargeBinary(32), nullable=False),
        sa.Column("session", sa.BigInteger, nullable=False),
        sa.Column("gateway", sa.LargeBinary(20), nullable=False),
        sa.Column("service", sa.LargeBinary(32), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_explored_pots"),
    )
    op.create_index("ix_explored_pots_session", "explored_pots", ["session"])
    op.create_index("ix_explored_pots_gateway_session", "explored_pots", ["gateway", "session"])


def downgrade() -> None:
    op.drop_table("explored_pots")
    op.drop_table("explored_lines")
    op.drop_table("explored")
