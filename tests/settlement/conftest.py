"""anvil runs once; each test gets the chain as it was before."""

from __future__ import annotations

from tests.chain.conftest import anvil_url, rpc

__all__ = ["anvil_url", "rpc"]
