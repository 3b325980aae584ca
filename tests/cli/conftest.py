"""anvil runs once for the commands that need a chain."""

from __future__ import annotations

from tests.chain.conftest import anvil_url

__all__ = ["anvil_url"]
