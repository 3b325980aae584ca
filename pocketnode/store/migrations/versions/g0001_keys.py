"""API keys of a gateway, what they used, and what it measured of suppliers. A branch of its own beside the receipts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pocketnode.store.tables import Uint

revision = "g0001"
down_revision: str | None = None
branch_labels = ("gateway",)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_s", sa.BigInteger, nullable=False),
        sa.Column("expires_s", sa.BigInteger),
        sa.Column("revoked_s", sa.BigInteger),
        sa.Column("rules", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_hash", "api_keys", ["hash"], unique=True)
    op.create_table(
        "usage",
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("service", sa.String(32), nullable=False),
        sa.Column("what", sa.String(128), nullable=False),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.String(32), nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("worth", Uint(32), nullable=False),
        sa.PrimaryKeyConstraint("key", "service", "what", "day", "worker", name="pk_usage"),
    )
    op.create_table(
        "scores",
        sa.Column("service", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(128), nullable=False),
        sa.Column("operator", sa.LargeBinary(20), nullable=False),
        sa.Column("passes", sa.Float, nullable=False),
        sa.Column("tries", sa.Float, nullable=False),
        sa.Column("traffic", sa.Float, nullable=False),
        sa.Column("latency_ms", sa.Float, nullable=False),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("service", "kind", "operator", name="pk_scores"),
    )


def downgrade() -> None:
    for table in ("scores", "usage", "api_keys"):
        op.drop_table(table)
