"""A real chain, for what follows one."""

from __future__ import annotations

from tests.chain.conftest import anvil_url, rpc

__all__ = ["anvil_url", "rpc"]
