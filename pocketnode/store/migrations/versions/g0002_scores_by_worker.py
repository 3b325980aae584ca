"""Scores of each gateway worker apart, so that several add up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "g0002"
down_revision: str | None = "g0001"
branch_labels = None

_COUNTS = ("passes", "tries", "traffic", "latency_ms", "at_s")
_PLACE = "service, kind, operator"


def upgrade() -> None:
    _copied("worker, ", "'0', ", [sa.Column("worker", sa.String(32), nullable=False)], ("worker",))


def downgrade() -> None:
    op.execute("DELETE FROM scores WHERE worker <> '0'")
    _copied("", "", [], ())


def _copied(into: str, values: str, columns: list[sa.Column[str]], key: tuple[str, ...]) -> None:
    """Make the table anew: SQLite cannot change a primary key."""
    op.execute("CREATE TABLE scores_before AS SELECT * FROM scores")
    op.drop_table("scores")
    op.create_table(
        "scores",
        *columns,
        sa.Column("service", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(128), nullable=False),
        sa.Column("operator", sa.LargeBinary(20), nullable=False),
        *(sa.Column(name, sa.Float, nullable=False) for name in _COUNTS),
        sa.PrimaryKeyConstraint(*key, "service", "kind", "operator", name="pk_scores"),
    )
    counts = ", ".join(_COUNTS)
    op.execute(f"INSERT INTO scores ({into}{_PLACE}, {counts}) SELECT {values}{_PLACE}, {counts} FROM scores_before")
    op.drop_table("scores_before")
