"""Where a supplier stands in a pot: a session's seed is not known for ever, and its pay outlives it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision: str | None = "r0004"


def upgrade() -> None:
    op.add_column("pots", sa.Column("registration", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("pots", sa.Column("rank", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("pots", "rank")
    op.drop_column("pots", "registration")
