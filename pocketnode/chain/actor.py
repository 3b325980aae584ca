"""A key that acts on a deployment: what commands and the localnet hold to change something on chain."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import contract
from pocketnode.chain.deployment import Deployment
from pocketnode.chain.heads import Heads
from pocketnode.chain.reader import Reader
from pocketnode.chain.sender import Mined, Sender
from pocketnode.crypto.keys import Key
from pocketnode.store.engine import open_store
from pocketnode.store.journal import Intent, Journal


@dataclass(frozen=True, slots=True)
class Actor:
    """Reads a deployment and sends to it."""

    reader: Reader
    sender: Sender

    @property
    def address(self) -> bytes:
        """Whose key this is."""
        return self.sender.address

    @property
    def deployment(self) -> Deployment:
        """What it acts on."""
        return self.reader.deployment

    async def do(self, name: str, function: str, *args: Any) -> Mined:
        """Call a function of a contract and return once that is mined.

        Raises
        ------
        TransactionFailed
            the contract refuses; the message names its error and the values it compared.
        """
        key = f"{name}.{function}:{secrets.token_hex(8)}"
        data = contract(name).call_data(function, *args)
        return await self.sender.send(Intent(key, self.reader.address(name), data))


@asynccontextmanager
async def acting(
    rpc: Rpc, deployment: Deployment, key: Key, store: Engine | None = None, confirmations: int = 0
) -> AsyncIterator[Actor]:
    """Give an actor whose sender runs inside the `async with`.

    Parameters
    ----------
    store : keeps its journal; one in memory where None, for commands that wait for what they do.
    """
    async with sending(rpc, key, store, confirmations) as sender:
        reader = Reader(rpc, deployment)
        await reader.check_chain()
        yield Actor(reader, sender)


@asynccontextmanager
async def sending(rpc: Rpc, key: Key, store: Engine | None = None, confirmations: int = 0) -> AsyncIterator[Sender]:
    """Give a sender that runs inside the `async with`; what fails in it ends the block."""
    engine = store if store is not None else await asyncio.to_thread(open_store, "sqlite://")
    heads = Heads(rpc, poll_interval_s=0.1)
    await heads.refresh()
    chain_id = int(await rpc.ask("eth_chainId"), 16)
    sender = Sender(rpc, heads, key, Journal(engine, key.address), chain_id, confirmations)
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(heads.run()), group.create_task(sender.run())]
        try:
            yield sender
        finally:
            for job in jobs:
                job.cancel()
