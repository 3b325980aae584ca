"""Calls of the deployment's contracts that read."""

from __future__ import annotations

from typing import Any

from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import contract, explain
from pocketnode.chain.deployment import Deployment
from pocketnode.chain.errors import Refused, Reverted
from pocketnode.errors import ConfigError, Unavailable


class Reader:
    """Reads one deployment.

    `call` names a contract as the package does ("Escrow"), which stands where the deployment says ("escrow").
    """

    def __init__(self, rpc: Rpc, deployment: Deployment) -> None:
        self.rpc = rpc
        self.deployment = deployment

    async def call(self, name: str, function: str, *args: Any, block: int | str = "latest") -> tuple[Any, ...]:
        """Return what a view returns: structs as tuples in their order, addresses as 20 bytes.

        Raises
        ------
        Reverted
            the view refuses.
        Unavailable
            no node answers.
        """
        known = contract(name)
        raw = await view(self.rpc, self.address(name), known.call_data(function, *args), block)
        return known.result(function, raw)

    def address(self, name: str) -> bytes:
        """Return where a contract stands."""
        place = "token" if name == "TestToken" else name.lower()
        found: bytes = getattr(self.deployment.contracts, place)
        return found

    async def check_chain(self) -> None:
        """Refuse a node of another chain than the deployment's, and a chain without its contracts.

        Raises
        ------
        ConfigError
            it is another chain, or has been started anew.
        """
        chain_id = int(await self.rpc.ask("eth_chainId"), 16)
        if chain_id != self.deployment.chain_id:
            raise ConfigError(f"the chain node is of chain {chain_id}, the deployment of {self.deployment.chain_id}")
        if await code_at(self.rpc, self.deployment.contracts.settlement) == b"":
            raise ConfigError("the chain has no Settlement contract at the deployment's address: deploy again")


async def view(rpc: Rpc, target: bytes, data: bytes, block: int | str = "latest") -> bytes:
    """Return the bytes that a call returns.

    Raises
    ------
    Reverted
        the contract refuses.
    Unavailable
        no node answers, or one refuses for a reason of its own.
    """
    tag = hex(block) if isinstance(block, int) else block
    try:
        raw = await rpc.ask("eth_call", {"to": f"0x{target.hex()}", "data": f"0x{data.hex()}"}, tag)
    except Refused as error:
        explained = explain(error)
        if isinstance(explained, Reverted):
            raise explained from error
        raise Unavailable(f"a call of 0x{target.hex()}: {error}", 1.0) from error
    return hex_bytes(raw)


async def code_at(rpc: Rpc, address: bytes) -> bytes:
    """Return the code at an address; empty if there is none."""
    return hex_bytes(await rpc.ask("eth_getCode", f"0x{address.hex()}", "latest"))


def hex_bytes(raw: Any) -> bytes:
    """Return the bytes in a node's `0x..`."""
    try:
        return bytes.fromhex(raw[2:])
    except (TypeError, ValueError) as error:
        raise Unavailable(f"the chain node answers with {str(raw)[:80]!r} in place of bytes", 1.0) from error
