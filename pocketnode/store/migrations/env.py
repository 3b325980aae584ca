"""What alembic runs: the revisions, inside the transaction that `open_store` began."""

from __future__ import annotations

from alembic import context


def run() -> None:
    """Run what is missing."""
    context.configure(connection=context.config.attributes["connection"])
    context.run_migrations()


if __name__ == "env_py":  # the name that alembic loads this file under; a test that imports it runs nothing
    run()
