"""What running daemons tell of money, as people read it: `/status` says base units, and so does `--json`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pocketnode.chain import deployment as deployments
from pocketnode.chain.client import Rpc
from pocketnode.chain.reader import Reader
from pocketnode.cli.coin import Amount, Coin, coin_of, price
from pocketnode.errors import PocketError

NODE_S: Final = 3.0
NAMES: Final = frozenset(
    {"amount", "cap", "earned", "missed", "owed_amount", "paid", "pending", "reserved", "saved", "spent"}
)
UNKNOWN: Final = Coin("base units", 0)


async def coin_at(deployment: Path, rpc: Sequence[str]) -> Coin:
    """Return the token of a daemon's deployment; base units where no node answers soon: its status matters more."""
    try:
        async with asyncio.timeout(NODE_S), Rpc(list(rpc)) as client:
            return await coin_of(Reader(client, deployments.read(deployment)))
    except (PocketError, TimeoutError):
        return UNKNOWN


def with_amounts(facts: Any, coin: Coin) -> Any:
    """Return JSON values with what is money as amounts, by its name.

    >>> str(with_amounts({"units": 5, "suppliers": [{"amount": 1_500_000}]}, Coin("TOK", 6))["suppliers"][0]["amount"])
    '1.5 TOK'
    """
    if isinstance(facts, Mapping):
        return {name: _named(name, value, coin) for name, value in facts.items()}
    if isinstance(facts, list):
        return [with_amounts(value, coin) for value in facts]
    return facts


def _named(name: str, value: Any, coin: Coin) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if name in NAMES:
            return Amount(value, coin)
        return price(value, coin) if name == "price" else value
    return with_amounts(value, coin)
