"""Values that tests of the protocol share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pocketnode.protocol.types import Params

LOCALNET = Params(
    anchor=0,
    length=20,
    suppliers=24,
    grace=2,
    statement_window=5,
    claim_window=10,
    thaw=60,
    fee=200,
    quality_share=2000,
    w_min=5000,
)


def params(**changes: Any) -> Params:
    """Return a localnet's params with some changed."""
    return replace(LOCALNET, **changes)
