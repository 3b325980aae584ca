"""What a contract was called with, also where another contract called it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import Function
from pocketnode.chain.errors import Refused
from pocketnode.chain.reader import hex_bytes
from pocketnode.errors import NotFound, Unavailable

DEPTH_MOST: Final = 64


async def calls_in(rpc: Rpc, transaction: bytes, target: bytes, function: Function) -> list[tuple[Any, ...]]:
    """Return the arguments of every call of `target`'s function in a transaction.

    Calls that other contracts made are found where a node traces transactions; empty where none does.

    Raises
    ------
    NotFound
        the node does not know the transaction.
    Unavailable
        no node answers.
    """
    name = "0x" + transaction.hex()
    raw = await rpc.ask("eth_getTransactionByHash", name)
    if not isinstance(raw, dict):
        raise NotFound(f"the chain node does not know transaction {name}")
    direct = list(_calls(raw, target, function, 0))
    if direct:
        return direct
    try:
        trace = await rpc.ask("debug_traceTransaction", name, {"tracer": "callTracer"})
    except Refused:
        return []
    return list(_calls(trace, target, function, 0)) if isinstance(trace, dict) else []


def _calls(call: dict[str, Any], target: bytes, function: Function, depth: int) -> Iterator[tuple[Any, ...]]:
    """Yield the calls in a trace that did not fail, outer ones first."""
    if call.get("error") or depth > DEPTH_MOST:
        return
    to, given = call.get("to"), call.get("input")
    if isinstance(to, str) and isinstance(given, str) and to.lower() == "0x" + target.hex():
        data = hex_bytes(given)
        if data[:4] == function.selector:
            yield _arguments(function, data)
    inner = call.get("calls")
    for each in inner if isinstance(inner, list) else ():
        if isinstance(each, dict):
            yield from _calls(each, target, function, depth + 1)


def _arguments(function: Function, data: bytes) -> tuple[Any, ...]:
    try:
        return function.arguments(data)
    except Unavailable as error:
        raise NotFound(f"the call data cannot be read: {error}") from error
