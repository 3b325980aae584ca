"""Charts of what users see: answers from the cache, refusals, errors by class, first byte and whole answer apart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "d0002"
down_revision: str | None = "d0001"

_COUNTS = ("kept", "refused")
_LATENCIES = ("first_p50_ms", "first_p95_ms")


def upgrade() -> None:
    for name in _COUNTS:
        op.add_column("history", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    for name in _LATENCIES:
        op.add_column("history", sa.Column(name, sa.Float))
    op.add_column("history", sa.Column("errors", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    for name in (*_COUNTS, *_LATENCIES, "errors"):
        op.drop_column("history", name)
